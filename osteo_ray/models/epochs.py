"""What a training tells while it runs. Free of PyTorch, so that drivers may import it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """The losses of one pass over the training images, in nats per image.

    Attributes:
        number: From 0.
        training_loss: Mean over the training images, each measured before the step it was part of.
        validation_loss: Mean over the validation images after the epoch.
    """

    number: int
    training_loss: float
    validation_loss: float


class TrainingListener:
    """Hears how a training gets on. This one ignores it; subclasses override what they need.

    Every worker of a training calls its own listener.
    """

    def step_ended(self) -> None:
        """Hear that one batch has been learned."""

    def epoch_ended(self, epoch: Epoch) -> None:
        """Hear that an epoch has ended and, where it was due, been saved."""
