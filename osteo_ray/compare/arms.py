"""The arms of a comparison: what each shows its classifier, and what it rules out."""

from dataclasses import dataclass

from osteo_ray.data.masks import View


@dataclass(frozen=True)
class Arm:
    """One way of showing the images.

    Attributes:
        name: As in tables and on the command line.
        mask_kind: Kind of mask in the masks table, or None where none is needed.
        view: What a batch shows.
        meaning: In words, for the report.
    """

    name: str
    mask_kind: str | None
    view: View
    meaning: str


ARMS = {
    arm.name: arm
    for arm in (
        Arm("original", None, "image", "the images as they are"),
        Arm("lime", "lime", "masked", "the first model's LIME mask × image, as in the paper"),
        Arm(
            "random_mask",
            "random",
            "masked",
            "random superpixels of the same area × image: rules out that any cropping helps",
        ),
        Arm(
            "silhouette",
            "lime",
            "silhouette",
            "the LIME mask alone, without the image: rules out that its outline gives the label",
        ),
    )
}
