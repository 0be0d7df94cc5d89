"""Settings of a training."""

from typing import Annotated

from pydantic import Field
from tyro.conf import arg

from osteo_ray.base.settings import Settings


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
