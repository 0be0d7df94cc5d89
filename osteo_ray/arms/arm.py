"""An arm of a comparison: what it shows its classifier, how that starts, and what it is for.

An arm is pure data, and stands in a file of its own in this folder. It shows an image seen through
a keep-mask. The mask belongs to a *teacher*, the classifier that was explained, or is the region
that was given with the image, and may be *changed* before it is used. `registry` lists all arms;
everything else is derived from them.
"""

from dataclasses import dataclass
from typing import Literal

from osteo_ray.arms.roles import Role
from osteo_ray.data.settings import Guidance, View

TeacherName = Literal["original", "fold", "untrained", "shuffled", "resplit", "given"]
Target = Literal["predicted", "true"]
MaskChange = Literal[
    "none",
    "other_image",
    "centre",
    "mean",
    "complement",
    "box",
    "dilated",
    "redrawn",
    "scattered",
]
TrainingMasks = Literal["own", "random in each epoch"]
Preset = Literal["paper", "controls", "demo", "full", "guidance", "regions"]

ORIGINAL = "original"
"""Name of the baseline, and of the first model, which is trained on it."""


@dataclass(frozen=True)
class Teacher:
    """A classifier whose explanations an arm uses.

    Attributes:
        meaning: How it is trained, in words.
        trainings: What it costs beside the arms: nothing, one training, or one per fold.
    """

    meaning: str
    trainings: Literal["none", "one", "one per fold"] = "none"


TEACHERS: dict[TeacherName, Teacher] = {
    "original": Teacher("trained on the unmasked training images of this split"),
    "fold": Teacher(
        "trained without one part of the training images, which it explains", "one per fold"
    ),
    "untrained": Teacher("a classifier with its initial weights, before the first training step"),
    "shuffled": Teacher("trained on images whose labels were shuffled", "one"),
    "resplit": Teacher(
        "trained on another random split of the same images, as in the paper's protocol", "one"
    ),
    "given": Teacher("none: the regions were given with the images"),
}

CHANGES: dict[MaskChange, str] = {
    "none": "the mask is used unchanged",
    "other_image": "each image got the mask of another image from the same part of the split",
    "centre": "every image got the same central square, of the mean area in training images",
    "mean": "every image got the pixels that are kept most often in training images",
    "complement": "the mask was inverted: removed pixels are kept, and kept pixels removed",
    "box": "the mask was replaced by its bounding box",
    "dilated": "the mask was widened on all sides by 5 % of the longer side of the image",
    "redrawn": "the mask was replaced by random superpixels with the area of another image's mask",
    "scattered": "the mask was replaced by random superpixels of exactly the same area",
}


@dataclass(frozen=True)
class MaskSource:
    """Where the masks of an arm come from.

    Attributes:
        teacher: The classifier that is explained. With `fold`, each training image is explained by
            the model that did not train on it, and the other images by `original`. With `given`,
            nothing is explained: the masks are the regions of the run.
        kind: Kind of mask, as in the masks table: `lime`, `random`, `gradcam` …; `region` for given
            regions.
        target: Which class is explained: the predicted or the true one.
        change: What is done to the mask before it is used.
    """

    teacher: TeacherName = "original"
    kind: str = "lime"
    target: Target = "predicted"
    change: MaskChange = "none"


@dataclass(frozen=True)
class Arm:
    """One way of showing the images.

    Attributes:
        name: As in tables and on the command line; a folder is named after it.
        label: Short name for figures and for tables of the report.
        shows: What its classifier is trained and tested on, in words.
        purpose: What it is for, in words.
        role: Its part in contrasts and verdict.
        masks: Where its masks come from; None if it needs none.
        view: What a batch shows.
        training_masks: What masks the classifier learns from: those of `masks`, or random
            superpixels of the same area, drawn anew in each epoch. The latter also choose its best
            epoch, in one draw.
        guidance: How the loss keeps its classifier to the region of its masks. Its images are then
            shown whole (`view` is `image`).
        tested_whole: Whether validation and test images are kept whole.
        in_grid: Whether what it shows of the test images is shown to the classifiers of all other
            arms as well, for the table of what is trained on and what is tested on.
        goes_on: Whether training always starts from the weights of the first model.
        shuffled: Whether its labels are shuffled.
        presets: Names on the command line that stand for this arm and others.
        literature: Where the idea comes from: authors and year.
    """

    name: str
    label: str
    shows: str
    purpose: str
    role: Role
    masks: MaskSource | None = None
    view: View = "masked"
    training_masks: TrainingMasks = "own"
    guidance: Guidance | None = None
    tested_whole: bool = False
    in_grid: bool = False
    goes_on: bool = False
    shuffled: bool = False
    presets: tuple[Preset, ...] = ("full",)
    literature: str | None = None

    @property
    def needs_superpixels(self) -> bool:
        """Whether its masks are drawn from the superpixels of the images while it is trained."""
        drawn = self.masks is not None and self.masks.change in ("redrawn", "scattered")
        return drawn or self.training_masks != "own"

    @property
    def shows_regions(self) -> bool:
        """Whether its masks are made of the regions that were given with the images."""
        return self.masks is not None and self.masks.teacher == "given"

    def is_akin(self, other: "Arm") -> bool:
        """Tell whether a gain of one of them can be explained by the other.

        Their classifiers then learn in the same way, and their masks, if both have any, are made
        of the same thing: of explanations or of given regions.
        """
        masked = self.masks is not None and other.masks is not None
        same_masks = not masked or self.shows_regions == other.shows_regions
        return self.guidance == other.guidance and same_masks

    @property
    def meaning(self) -> str:
        """What it shows and what for, with the source of the idea, in words."""
        source = f" ({self.literature})" if self.literature else ""
        return f"{self.shows}; {self.purpose}{source}"

    @property
    def is_clean_only(self) -> bool:
        """Whether the paper's protocol cannot have this arm.

        There, one model trained on another split explains all images. An arm whose masks must come
        from models that did not train on the images they explain would contradict that.
        """
        return self.masks is not None and self.masks.teacher == "fold"
