"""Parts of the configuration of a comparison that its stages are handed in place of the whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.tuning import Choice
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.pixels import Bits
from osteo_ray.data.settings import Background, SplitKind, UnexplainedRule
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.models.settings import TrainingSettings as TrainingSettings


@dataclass(frozen=True)
class Devices:
    """Classes of devices, as PyTorch names them (`cpu`, `cuda`), which compute different digits."""

    training: str = "cpu"
    explaining: str = "cpu"


ON_CPU = Devices()


@dataclass(frozen=True)
class TrialSettings:
    """What determines the result of a trial, apart from its images, seeds and first weights.

    Attributes:
        image_size: Height and width of the images.
        bits: Of their gray values.
        training: How a classifier is trained.
        workers: Number of workers that share a training; the global batch size grows with it.
        split: How images are assigned to training, validation and test.
        split_ratio: Parts for training, validation and test.
        protocol: `paper` takes masks from a model that was trained on another split.
        second_start: From which weights the arms other than `original` start.
        background: What replaces the pixels that a mask removes.
        unexplained: How masked arms show an image that could not be explained.
        crossfit_folds: Parts of the training images that cross-fitting explains in turn.
        lime: How LIME explains.
        guidance_weight: Weight of the penalty of guided arms.
        choices: The training settings that were searched for models and arms.
        devices: On what the run computes.
    """

    image_size: ImageSize
    training: TrainingSettings
    workers: int
    split: SplitKind
    split_ratio: tuple[int, int, int]
    protocol: Literal["clean", "paper"]
    second_start: Literal["backbone", "first"]
    background: Background
    unexplained: UnexplainedRule
    crossfit_folds: int
    lime: LimeSettings
    guidance_weight: float = 1.0
    choices: tuple[Choice, ...] = ()
    devices: Devices = ON_CPU
    bits: Bits = 8

    def training_of(self, model: str, arm: str) -> TrainingSettings:
        """Return the training settings of an arm: those that were chosen for it, if any were."""
        chosen = (one.training for one in self.choices if (one.model, one.arm) == (model, arm))
        return next(chosen, self.training)

    @classmethod
    def of(
        cls, config: CompareConfig, devices: Devices, choices: tuple[Choice, ...] = ()
    ) -> "TrialSettings":
        """Return the settings that the trials of a comparison share."""
        return cls(
            image_size=config.image_size,
            training=config.training,
            workers=config.resources.workers,
            split=config.split,
            split_ratio=config.split_ratio,
            protocol=config.protocol,
            second_start=config.second_start,
            background=config.background,
            unexplained=config.unexplained_rule,
            crossfit_folds=config.crossfit_folds,
            lime=config.lime.scale_to(config.image_size),
            guidance_weight=config.guidance_weight,
            choices=choices,
            devices=devices,
            bits=config.bits,
        )

    def describe_images(self) -> dict[str, Any]:
        """Return what determines the images beside their sources, by name."""
        bits = {} if self.bits == 8 else {"bits": self.bits}
        return {"image_size": self.image_size.written, **bits}

    def describe_workers(self) -> dict[str, Any]:
        """Return what determines a training beside its recipe, by name: who computes it."""
        device = self.devices.training
        return {"workers": self.workers} | ({"device": device} if device != "cpu" else {})

    def describe_explaining(self) -> dict[str, Any]:
        """Return what determines the masks of a classifier beside the seed, by name."""
        device = self.devices.explaining
        return {"lime": self.lime.describe_masks()} | (
            {"device": device} if device != "cpu" else {}
        )


@dataclass(frozen=True)
class SplitSettings:
    """How images are divided into training, validation and test.

    Attributes:
        kind: `grouped` keeps groups together, `random` does not, `given` is that of the source,
            `site` tests each site in turn.
        ratio: Parts for training, validation and test.
        folds: Number of folds for cross-validation; None for single splits.
        seeds: For each repeat, by its number, the random seed of its split.
    """

    kind: SplitKind
    ratio: tuple[int, int, int]
    folds: int | None
    seeds: dict[int, int]

    @classmethod
    def of(cls, config: CompareConfig, numbers: Sequence[int] | None = None) -> "SplitSettings":
        """Return how a comparison divides its images, for some repeats or by default for all."""
        numbers = config.seed_numbers if numbers is None else numbers
        seeds = {number: config.seeds_of(number).split for number in numbers}
        return cls(config.split, config.split_ratio, config.folds, seeds)
