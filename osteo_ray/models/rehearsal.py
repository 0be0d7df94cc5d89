"""Try whether a classifier can be trained as its trainings will be, before anything is read."""

from contextlib import suppress

import numpy as np
import torch

from osteo_ray.base.errors import InputError
from osteo_ray.base.networks import read_reference
from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.batches import ImageSet
from osteo_ray.models.classifier import Classifier
from osteo_ray.models.own_code import guard
from osteo_ray.models.settings import TrainingSettings
from osteo_ray.models.training import (
    DivergedError,
    Recipe,
    TrainingData,
    Worker,
    train_classifier,
)


def rehearse_training(
    classifier: Classifier, name: str, settings: TrainingSettings, image_size: ImageSize
) -> None:
    """Train a classifier for one step on an image of noise per class, as its settings say.

    Args:
        classifier: On the CPU; trained in place.
        name: Of the model, for messages.
        settings: Those of the trainings to come; epochs and batch size are left aside.
        image_size: Height and width of the images.

    Raises:
        InputError: Nothing in it learns, or the step cannot be taken.
    """
    _check_learning(classifier, name)
    rng, n = np.random.default_rng(0), classifier.n_classes
    images = ImageSet(rng.integers(0, 256, (n, *image_size.shape), np.uint8), np.arange(n))
    short = settings.model_copy(update={"epochs": 1, "per_worker_batch_size": n})

    def take_step() -> None:
        with suppress(DivergedError):  # noise tells nothing of the loss on images
            worker = Worker(torch.device("cpu"))
            train_classifier(classifier, TrainingData(images, images), Recipe(short, 0), worker)

    reference = read_reference(name)
    if reference:
        guard(reference, "take a step of training", take_step)
        return
    try:
        take_step()
    except InputError:
        raise
    except Exception as error:  # each family complains in its own way, some without a word
        said = [type(error).__name__, *str(error).splitlines()[:1]]
        raise InputError(
            f"Expected `{name}` to take a step of training on images of {image_size} px, but it "
            f"raises {': '.join(said)}. Choose another network or --image-size."
        ) from None


def _check_learning(classifier: Classifier, name: str) -> None:
    learns = [one.requires_grad for one in classifier.parameters()]
    if any(learns):
        return
    found = "it has none. Choose another network."
    if learns:
        found = (
            f"all of its {len(learns)} are frozen. Leave requires_grad True where it is to learn."
        )
    raise InputError(f"Expected `{name}` to have parameters that learn, but {found}")
