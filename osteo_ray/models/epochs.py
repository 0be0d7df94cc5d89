"""What a training tells while it runs. Free of PyTorch, so that drivers may import it."""

from collections.abc import Sequence
from dataclasses import dataclass

DIVERGED = "The loss is no longer finite"
"""How the reason begins for which a training that diverged has no result."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images, and what the classifier then makes of validation images.

    Attributes:
        number: From 0.
        training_loss: Mean of what is made small over the training images, each measured before
            the step it was part of; nats per image, with the penalty of guided arms.
        validation_loss: Mean cross-entropy of the validation images, nats per image.
        learning_rate: That of the head at the last step.
        validation_auc: Area under the ROC curve, each class against the rest, mean over classes;
            None if a class or the rest has no validation image.
        predicted_classes: How many classes are predicted for any validation image; 1 if the
            classifier calls everything the same.
    """

    number: int
    training_loss: float
    validation_loss: float
    learning_rate: float
    validation_auc: float | None
    predicted_classes: int


def find_best(epochs: Sequence[Epoch]) -> int:
    """Return the number of the epoch with the lowest validation loss, the first of equals."""
    return min(range(len(epochs)), key=lambda number: epochs[number].validation_loss)


def has_stalled(epochs: Sequence[Epoch], patience: int | None) -> bool:
    """Tell whether so many epochs have gone by without a lower validation loss."""
    if patience is None or not epochs:
        return False
    return len(epochs) - 1 - find_best(epochs) >= patience


class TrainingListener:
    """Hears how a training gets on. This one ignores it; subclasses override what they need.

    Every worker of a training calls its own listener.
    """

    def step_ended(self) -> None:
        """Hear that one batch has been learned."""

    def epoch_ended(self, epoch: Epoch) -> None:
        """Hear that an epoch has ended and, where it was due, been saved."""
