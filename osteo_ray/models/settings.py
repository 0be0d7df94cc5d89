"""Settings of a training, and the recipes that preset them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from osteo_ray.base.mappings import list_differences, merge_settings
from osteo_ray.base.settings import OnCommandLine, Settings

RecipeName = Literal["paper", "modern"]

Precision = Literal["fp32", "bf16", "fp16"]
"""In which numbers a network computes."""


class AugmentationSettings(Settings):
    """Random changes of each training image; the defaults are the paper's."""

    rotation_deg: float = Field(20.0, ge=0, le=180, description="Largest rotation, degrees.")
    shift: float = Field(0.2, ge=0, le=1, description="Largest shift, share of the size.")
    shear: float = Field(0.2, ge=0, lt=90, description="Largest shear, in the unit below.")
    shear_unit: Literal["factor", "degrees"] = Field(
        "factor",
        description="factor: pixels sideways per pixel of height, as the paper's 20 % says; "
        "degrees: as Keras reads its shear_range.",
    )
    zoom: float = Field(0.2, ge=0, lt=1, description="Largest zoom, share of the size.")
    flip: bool = Field(True, description="Flip half of the images left to right.")

    @model_validator(mode="after")
    def _check_shear(self) -> "AugmentationSettings":
        if self.shear_unit == "factor" and self.shear > 1:
            raise ValueError(
                f"Expected a shear factor of at most 1, but got {self.shear:g}. For degrees, set "
                "shear_unit (--training.augmentation.shear-unit degrees)."
            )
        return self


NO_AUGMENTATION = AugmentationSettings(rotation_deg=0, shift=0, shear=0, zoom=0, flip=False)


class OptimizerSettings(Settings):
    """How a step changes the weights."""

    name: Literal["adam", "adamw"] = Field(
        "adam", description="AdamW decays weights apart from the gradient, Adam with it."
    )
    epsilon: float = Field(
        1e-8, gt=0, description="Added to Adam's denominator: PyTorch's 1e-8; Keras has 1e-7."
    )
    weight_decay: float = Field(
        0.0, ge=0, le=1, description="Weight decay; biases and normalization have none."
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Learning rate of each layer of the backbone, as a share of the next one's.",
    )
    clip_norm: float | None = Field(
        None, gt=0, description="Largest norm of the gradient; by default, it is not clipped."
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Per step, the share that a moving average of the weights keeps; the average "
        "is what is validated and kept. By default there is none.",
    )


class ScheduleSettings(Settings):
    """How the learning rate changes, and what learns when."""

    name: Literal["constant", "cosine"] = Field(
        "constant", description="Course of the learning rate after the warm-up."
    )
    warmup: float = Field(
        0.0, ge=0, lt=1, description="Share of all steps in which the rate rises from near 0."
    )
    head_first: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the epochs, at the start, in which the head alone learns.",
    )


class LossSettings(Settings):
    """What a training makes small; epochs are compared by plain cross-entropy in any case."""

    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Probability that is spread over all classes."
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: all classes count alike, however many images they have."
    )


class NetworkSettings(Settings):
    """What a training changes in a network besides its weights."""

    batch_norm_momentum: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of each batch in the running statistics; by default the network's own "
        "(0.1 in timm's; Keras's momentum of 0.99 is 0.01 here).",
    )
    drop_connect: float = Field(
        0.0, ge=0, lt=1, description="Chance that the last residual block is skipped for an image."
    )
    sync_batch_norm: bool = Field(
        True, description="From two workers on, normalize over the images of all of them."
    )


RECIPES: dict[RecipeName, dict[str, Any]] = {
    "paper": {},
    "modern": {
        "learning_rate": 1e-3,
        "patience": 10,
        "precision": "auto",
        "optimizer": {
            "name": "adamw",
            "weight_decay": 0.02,
            "layer_decay": 0.9,
            "clip_norm": 1.0,
            "ema_decay": 0.98,
        },
        "schedule": {"name": "cosine", "warmup": 0.1, "head_first": 0.1},
        "loss": {"label_smoothing": 0.1, "class_weights": "balanced"},
    },
}
"""For each recipe, the settings in which it differs from the defaults, which are the paper's."""

_ALWAYS = frozenset({"epochs", "per_worker_batch_size", "learning_rate", "augmentation"})


class TrainingSettings(Settings):
    """One training run; the same for every arm."""

    recipe: Annotated[RecipeName, OnCommandLine("--recipe")] = Field(
        "paper",
        description="Presets all settings of training; those that you give yourself win. "
        "docs/recipes.md lists what each recipe sets.",
    )
    epochs: Annotated[int, OnCommandLine("--epochs")] = Field(
        30, ge=1, description="Passes over the training images."
    )
    per_worker_batch_size: int = Field(
        32, ge=1, description="Images per step and worker; 32 is a limit where a set is smaller."
    )
    learning_rate: float = Field(1e-4, gt=0, description="The highest, that of the head.")
    keep: Literal["best", "last"] = Field(
        "best", description="Which epoch is kept: best by validation loss, or the last."
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop after so many epochs without a lower validation loss; by default never.",
    )
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "float32",
        description="Of the forward pass in training; auto: bfloat16 on GPUs that compute in it.",
    )
    augmentation: AugmentationSettings = AugmentationSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    loss: LossSettings = LossSettings()
    network: NetworkSettings = NetworkSettings()

    @model_validator(mode="before")
    @classmethod
    def _open_recipe(cls, settings: Any) -> Any:
        """Lay what is given over what the recipe presets."""
        if not isinstance(settings, Mapping) or settings.get("recipe") not in get_args(RecipeName):
            return settings
        given = {
            name: value.model_dump(exclude_unset=True) if isinstance(value, Settings) else value
            for name, value in settings.items()
        }
        return merge_settings(RECIPES[settings["recipe"]], given)

    @property
    def head_epochs(self) -> int:
        """Return the number of epochs, at the start, in which the head alone learns."""
        return round(self.schedule.head_first * self.epochs)

    def list_changes(self) -> list[str]:
        """Say which settings are not those of the recipe, one text per setting."""
        preset = TrainingSettings(recipe=self.recipe).model_dump(mode="json")
        words = ("recipe", "here")
        return list_differences(preset, self.model_dump(mode="json"), words=words)

    def describe(self) -> dict[str, Any]:
        """Return what determines the result of a training, by which runs and trials are named.

        Choices at their defaults are left out, so that a choice that is added changes no name.
        """
        plain = self.model_dump(mode="json", include=set(_ALWAYS))
        if self.augmentation.shear_unit == "factor":
            del plain["augmentation"]["shear_unit"]
        chosen = self.model_dump(mode="json", exclude={"recipe", *_ALWAYS}, exclude_defaults=True)
        return {**plain, **chosen}
