"""Groups of settings that commands share."""

import itertools
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from tyro.conf import arg

from osteo_ray.config.names import USUAL_COPY_KINDS, CopyKind, Metric, Spending, Superpixels


class Settings(BaseModel):
    """A frozen group of settings; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PhantomSettings(Settings):
    """Synthetic knees, used where --data is phantom."""

    n_images: int = Field(160, ge=4, description="Images, copies included.")
    size_px: int = Field(96, ge=32, description="Width and height in pixels.")
    positive_share: float = Field(0.5, gt=0, lt=1, description="Share with osteoporosis.")
    duplicate_share: float = Field(0.2, ge=0, le=0.5, description="Share that copies another.")
    copy_kinds: tuple[CopyKind, ...] = Field(
        USUAL_COPY_KINDS, min_length=1, description="Ways in which copies are made, evenly."
    )
    conflict_share: float = Field(
        0.0, ge=0, le=1, description="Share of the copies that stand in the other class."
    )
    difficulty: float = Field(
        0.3, ge=0, le=1, description="0: seen by eye; 1: the classes do not differ."
    )
    nuisance: float = Field(
        0.5, ge=0, le=1, description="Strength of markers, letterboxes, exposure and noise."
    )
    seed: int = Field(0, ge=0, description="Which set of phantoms.")


class AugmentationSettings(Settings):
    """Random changes of each training image; the defaults are the paper's."""

    rotation_deg: float = Field(20.0, ge=0, le=180, description="Largest rotation, degrees.")
    shift: float = Field(0.2, ge=0, le=1, description="Largest shift, share of the size.")
    shear: float = Field(0.2, ge=0, le=1, description="Largest shear factor.")
    zoom: float = Field(0.2, ge=0, lt=1, description="Largest zoom, share of the size.")
    flip: bool = Field(True, description="Flip half of the images left to right.")


NO_AUGMENTATION = AugmentationSettings(rotation_deg=0, shift=0, shear=0, zoom=0, flip=False)


class TrainingSettings(Settings):
    """One training run; the same for every arm."""

    epochs: Annotated[int, arg(aliases=["--epochs"])] = Field(
        30, ge=1, description="Passes over the training images."
    )
    per_worker_batch_size: int = Field(32, ge=1, description="Images per step and worker.")
    learning_rate: float = Field(1e-4, gt=0, description="Adam's, constant.")
    augmentation: AugmentationSettings = AugmentationSettings()


class LimeSettings(Settings):
    """LIME masks; the defaults are those of the `lime` package, but for the mode."""

    mode: Literal["adaptive", "exact"] = Field(
        "adaptive",
        description="adaptive samples an image until its mask is stable; exact draws all samples, "
        "as the lime package does.",
    )
    samples: Annotated[int, arg(aliases=["--lime-samples"])] = Field(
        1000, ge=2, description="Perturbed images per explanation; in adaptive mode, at most."
    )
    stability: float = Field(
        0.92,
        gt=0,
        le=1,
        description="Expected overlap with another mask of the same image from which it is stable.",
    )
    top_k: int = Field(5, ge=1, description="Positive superpixels that a mask keeps.")
    batch_size: int = Field(16, ge=1, description="Perturbed images per forward pass.")
    fill: Literal["mean", "blur", "black"] = Field(
        "mean", description="What stands in for a superpixel that is switched off."
    )
    superpixels: Superpixels = Field(
        "quickshift", description="How an image is divided into superpixels."
    )
    n_superpixels: int = Field(
        50, ge=2, description="Superpixels, about; quickshift finds their number itself."
    )
    kernel_size: float = Field(4.0, gt=0, description="Quickshift's kernel width, pixels.")
    max_dist: float = Field(200.0, gt=0, description="Quickshift's cut-off.")
    ratio: float = Field(0.2, ge=0, le=1, description="Quickshift's weight of colour.")
    kernel_width: float = Field(0.25, gt=0, description="Width of the distance kernel.")
    alpha: float = Field(1.0, ge=0, description="Ridge penalty of the local model.")


class StatisticsSettings(Settings):
    """The plan of the analysis, fixed before the run."""

    metric: Metric = Field("accuracy", description="Primary endpoint.")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="Error rate after Holm's correction.")
    margin: float = Field(
        0.03, gt=0, lt=1, description="Differences inside ± margin count as equivalent."
    )
    prevalence: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of the positive class at which predictive values are given; by default "
        "that of the test images.",
    )

    power: float = Field(
        0.8, gt=0.5, lt=1, description="Wanted probability to find a true difference of the margin."
    )
    looks: tuple[int, ...] = Field(
        (), description="Numbers of seeds after which the primary contrast is looked at."
    )
    spending: Spending = Field(
        "obrien_fleming", description="How looks spend the error rate (Lan and DeMets)."
    )
    disagreement: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Assumed share of test images that two arms classify differently; only the "
        "plan needs it, where no earlier run tells.",
    )

    @field_validator("looks")
    @classmethod
    def _check_looks(cls, looks: tuple[int, ...]) -> tuple[int, ...]:
        if (looks and looks[0] < 2) or any(a >= b for a, b in itertools.pairwise(looks)):
            raise ValueError(f"Expected increasing looks of at least 2 seeds, but got {looks}.")
        return looks


class SlotSettings(Settings):
    """What each worker gets. Nothing here changes what is measured."""

    gpus_per_worker: float | None = Field(
        None, ge=0, description="GPUs per worker; by default 1 if the cluster has GPUs, else 0."
    )
    cpus_per_worker: int = Field(1, ge=1, description="CPUs, and threads, per worker.")
    wait_for_nodes: float | None = Field(
        None,
        ge=0,
        description="Seconds to wait for nodes where the cluster has too few; by default 900 if an "
        "autoscaler may add enough, else 0.",
    )
    stall_timeout: float = Field(
        1800,
        gt=0,
        description="Seconds in which a stage must compute something, if only one batch.",
    )

    @field_validator("gpus_per_worker", "gpus_per_explainer", check_fields=False)
    @classmethod
    def _check_gpus(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"Expected whole GPUs, or less than one, but got {gpus:g}.")
        return gpus


class ResourceSettings(SlotSettings):
    """Where the work runs. Nothing here changes what is measured, except the number of workers."""

    workers: Annotated[int, arg(aliases=["--workers"])] = Field(
        1, ge=1, description="Devices per training; more than one trains data-parallel."
    )
    gpus_per_explainer: float | None = Field(
        None, ge=0, le=1, description="GPUs per explaining actor; by default as per worker."
    )
    max_retries: int = Field(3, ge=0, description="Restarts of a training whose process died.")
