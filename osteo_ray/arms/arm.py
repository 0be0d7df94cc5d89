"""The arms of a comparison: what each shows its classifier, and what it rules out.

An arm is pure data. What it shows is an image seen through a keep-mask; the mask belongs to a
*teacher*, the classifier that was explained, and may be *changed* before it is used. Sources of the
controls: ROAR (Hooker et al. 2019), ROAD (Rong et al. 2022), sanity checks (Adebayo et al. 2018),
"Have We Learned to Explain?" (Jethani et al. 2021).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from osteo_ray.data.settings import View

Teacher = Literal["original", "fold", "untrained", "shuffled", "resplit"]
Target = Literal["predicted", "true"]
MaskChange = Literal["none", "other_image", "centre", "mean", "complement"]

ORIGINAL = "original"
TEACHERS: dict[Teacher, str] = {
    "original": "trained on the unmasked training images of this split",
    "fold": "trained without one part of the training images, which it explains",
    "untrained": "the classifier as it is drawn, before its first step",
    "shuffled": "trained on the images with labels shuffled",
    "resplit": "trained on another random split of the same images: the paper's protocol",
}


CHANGES: dict[MaskChange, str] = {
    "none": "the mask as it is",
    "other_image": "each image got the mask of another image of its part of the split",
    "centre": "all images got one square in the middle, of the mean area in training images",
    "mean": "all images got the pixels that are kept most often in training images",
    "complement": "what was removed is kept, and the other way round",
}


@dataclass(frozen=True)
class MaskSource:
    """Where the masks of an arm come from.

    Attributes:
        teacher: Whose explanations they are. With `fold`, training images are explained by the
            model that did not train on them, the others by `original`.
        kind: In the masks table: `lime`, `random` or `gradcam`.
        target: Class that is explained: the predicted or the true one.
        change: What is done to the mask before it is used.
    """

    teacher: Teacher = "original"
    kind: str = "lime"
    target: Target = "predicted"
    change: MaskChange = "none"


@dataclass(frozen=True)
class Arm:
    """One way of showing the images.

    Attributes:
        name: As in tables and on the command line.
        meaning: In words, for the report.
        masks: Where its masks come from; None where it needs none.
        view: What a batch shows.
        goes_on: Whether it always starts from the weights of the first model.
        shuffled: Whether its labels are shuffled.
    """

    name: str
    meaning: str
    masks: MaskSource | None = None
    view: View = "masked"
    goes_on: bool = False
    shuffled: bool = False


ARMS = {
    arm.name: arm
    for arm in (
        Arm(ORIGINAL, "the images as they are", view="image"),
        Arm(
            "original_retrained",
            "the images, trained on from the first model's weights: rules out that a second "
            "training helps",
            view="image",
            goes_on=True,
        ),
        Arm("lime", "the first model's LIME mask × image, as in the paper", MaskSource()),
        Arm(
            "lime_crossfit",
            "as lime, but no training image is explained by a model that trained on it: rules out "
            "masks that encode memorised labels",
            MaskSource("fold"),
        ),
        Arm(
            "lime_true_label",
            "LIME mask of the true class, in the test too: shows what leakage looks like, never a "
            "result",
            MaskSource(target="true"),
        ),
        Arm(
            "random_mask",
            "random superpixels of the same area × image: rules out that any cropping helps",
            MaskSource(kind="random"),
        ),
        Arm(
            "other_image_mask",
            "the LIME mask of another image × image: tells shape from content",
            MaskSource(change="other_image"),
        ),
        Arm(
            "silhouette",
            "the LIME mask alone, without the image: rules out that its outline gives the label",
            MaskSource(),
            view="silhouette",
        ),
        Arm(
            "centre_mask",
            "one square in the middle, of the mean area: rules out that a fixed crop does as well",
            MaskSource(change="centre"),
        ),
        Arm(
            "mean_mask",
            "the pixels that LIME keeps most often in training images, for all: rules out that the "
            "place alone matters",
            MaskSource(change="mean"),
        ),
        Arm(
            "complement",
            "what LIME removes: shows whether the label can be read outside the region",
            MaskSource(change="complement"),
        ),
        Arm(
            "gradcam",
            "the Grad-CAM region of the same area × image: tells whether it is LIME's doing",
            MaskSource(kind="gradcam"),
        ),
        Arm(
            "untrained_lime",
            "LIME mask of an untrained model × image: tells whether it is the model's doing",
            MaskSource("untrained"),
        ),
        Arm(
            "permuted_labels",
            "the whole pipeline on shuffled labels: must be at chance, or the pipeline leaks",
            MaskSource("shuffled"),
            shuffled=True,
        ),
    )
}

CROP_CONTROLS = ("random_mask", "other_image_mask", "centre_mask", "mean_mask")
"""Masks that know nothing of what is in the image."""
CONTROLS = ("silhouette", "original_retrained", *CROP_CONTROLS, "complement")
"""Arms that the judged one must beat before its gain counts as real."""


def choose_judged(arms: Sequence[str]) -> str:
    """Return the arm whose gain over `original` is judged: out-of-fold LIME masks if planned."""
    return "lime_crossfit" if "lime_crossfit" in arms else "lime"


def list_primary(arms: Sequence[str]) -> list[tuple[str, str]]:
    """List the contrasts (arm, baseline) that the verdict rests on, the primary one first.

    Example:
        >>> list_primary(["original", "lime", "silhouette"])
        [('lime', 'original'), ('silhouette', 'original'), ('lime', 'silhouette')]
    """
    judged = choose_judged(arms)
    if judged not in arms:
        return []
    pairs = [(judged, ORIGINAL)]
    if judged != "lime" and "lime" in arms:
        pairs += [("lime", ORIGINAL), ("lime", judged)]
    if "silhouette" in arms:
        pairs.append(("silhouette", ORIGINAL))
    pairs += [(judged, control) for control in CONTROLS if control in arms]
    if "complement" in arms:
        pairs.append(("complement", ORIGINAL))
    if "lime_true_label" in arms:
        pairs += [("lime_true_label", ORIGINAL), (judged, "lime_true_label")]
    return pairs


def list_secondary(arms: Sequence[str]) -> list[tuple[str, str]]:
    """List the contrasts that are shown beside them: every other arm against `original`.

    Shuffled labels are no contrast: they are held against chance.
    """
    primary = set(list_primary(arms))
    pairs = [(arm, ORIGINAL) for arm in arms if arm != ORIGINAL and not ARMS[arm].shuffled]
    return [pair for pair in pairs if pair not in primary]


ARM_NAMES = (
    *("original", "original_retrained", "lime", "lime_crossfit", "lime_true_label"),
    *("random_mask", "other_image_mask", "silhouette", "centre_mask", "mean_mask", "complement"),
    *("gradcam", "untrained_lime", "permuted_labels"),
)
ARM_PRESETS = {
    "paper": ("original", "lime"),
    "controls": (
        *("original", "original_retrained", "lime", "lime_crossfit"),
        *("random_mask", "silhouette"),
    ),
    "full": ARM_NAMES,
}
CLEAN = frozenset({"lime_crossfit"})
"""Arms that the paper's protocol cannot have."""
