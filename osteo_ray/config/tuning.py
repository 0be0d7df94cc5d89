"""The search for training settings: how much is spent on it, and from which space it draws."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from osteo_ray.base.settings import Settings
from osteo_ray.models.settings import AugmentationSettings, TrainingSettings

TUNING_SEED = 500_000
"""Number of the seed whose validation images choose the settings; no result is drawn from it."""

_LEARNING_RATE = (0.1, 10.0)  # times the one that was given
_WEIGHT_DECAY = (1e-5, 1e-1)
_EPOCHS = (1 / 3, 2 / 3, 1.0)  # of those that were given
_AUGMENTATION = (0.0, 0.5, 1.0)  # of the amounts that were given


class TuningSettings(Settings):
    """The search for the training settings of each arm, on a seed that is used for nothing else."""

    trials: int = Field(
        0,
        ge=0,
        description="Candidates to try for each model and arm, the given settings among them; 0 "
        "trains all arms with the given settings.",
    )
    max_hours: float = Field(
        24.0, gt=0, description="Refuse a search that may take longer on this cluster."
    )
    seed: int = Field(0, ge=0, description="Draws the candidates.")

    @model_validator(mode="after")
    def _check_trials(self) -> "TuningSettings":
        if self.trials == 1:
            raise ValueError(
                "Expected tuning.trials to be 0, or at least 2 candidates to choose from, but got "
                "1, which would be the given settings."
            )
        return self


@dataclass(frozen=True)
class Choice:
    """The settings that a search chose.

    Attributes:
        model: Name of the model.
        arm: Name of the arm.
        training: The settings with which its classifier is trained.
    """

    model: str
    arm: str
    training: TrainingSettings


def draw_candidates(given: TrainingSettings, tuning: TuningSettings) -> list[TrainingSettings]:
    """Draw the candidates of a search, the same for every arm.

    The first is the given settings. In each other one, learning rate and weight decay are drawn
    log-uniformly (Bergstra and Bengio 2012), and the number of epochs and the amount of
    augmentation from a few shares of what was given.

    Example:
        >>> found = draw_candidates(TrainingSettings(epochs=9), TuningSettings(trials=4))
        >>> len(found), found[0].epochs, {one.epochs for one in found} <= {3, 6, 9}
        (4, 9, True)
    """
    rng = np.random.default_rng(tuning.seed)
    drawn = [_draw(given, rng) for _ in range(tuning.trials - 1)]
    return [given, *drawn]


def _draw(given: TrainingSettings, rng: np.random.Generator) -> TrainingSettings:
    low, high = np.log10(_LEARNING_RATE)
    learning_rate = given.learning_rate * 10 ** rng.uniform(low, high)
    low, high = np.log10(_WEIGHT_DECAY)
    weight_decay = 10 ** rng.uniform(low, high)
    epochs = max(1, round(given.epochs * rng.choice(_EPOCHS)))
    amount = rng.choice(_AUGMENTATION)
    return given.model_copy(
        update={
            "learning_rate": float(f"{learning_rate:.3g}"),
            "epochs": epochs,
            "optimizer": given.optimizer.model_copy(
                update={"weight_decay": float(f"{weight_decay:.3g}")}
            ),
            "augmentation": _scale(given.augmentation, float(amount)),
        }
    )


def _scale(given: AugmentationSettings, amount: float) -> AugmentationSettings:
    names = ("rotation_deg", "shift", "shear", "zoom")
    scaled = {name: amount * getattr(given, name) for name in names}
    return given.model_copy(update={**scaled, "flip": given.flip and amount > 0})


def read_training(stored: Mapping[str, Any]) -> TrainingSettings:
    """Return settings from plain types, as `model_dump` writes them."""
    return TrainingSettings.model_validate(stored)
