"""A net of a thousand weights, sets that it learns in a second, and a call that trains it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from osteo_ray.models.batches import ImageSet
from osteo_ray.models.classifier import Classifier
from osteo_ray.models.epochs import Epoch, TrainingListener
from osteo_ray.models.settings import TrainingSettings
from osteo_ray.models.training import Recipe, TrainingData, Worker, train_classifier

CPU = torch.device("cpu")
SIZE_PX = 16


class TinyBackbone(nn.Module):
    """What `Classifier` needs of a timm model; with state and randomness if wanted."""

    num_features = 8

    def __init__(self, *, steady: bool, dropout: float) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU()]
        if not steady:
            layers += [nn.BatchNorm2d(8), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def make_classifier(seed: int = 0, *, steady: bool = False, dropout: float = 0.3) -> Classifier:
    """Make a net of a thousand weights; a steady one has no batch statistics and no dropout."""
    torch.manual_seed(seed)
    backbone = TinyBackbone(steady=steady, dropout=dropout)
    half = (0.5, 0.5, 0.5)
    return Classifier(backbone, hidden_units=0, n_classes=2, mean=half, std=half)


def make_set(n: int, seed: int) -> ImageSet:
    """Draw noise, with a bright square in the middle for class 1."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    pixels = rng.integers(0, 120, (n, SIZE_PX, SIZE_PX), np.uint8)
    pixels[labels == 1, 5:11, 5:11] += 110
    return ImageSet(pixels, labels.astype(np.int64))


def make_settings(**changes: Any) -> TrainingSettings:
    return TrainingSettings(
        **{"epochs": 4, "per_worker_batch_size": 10, "learning_rate": 3e-3, **changes}
    )


TRAINING, VALIDATION = make_set(40, 1), make_set(12, 2)


class Told(TrainingListener):
    """Hands each epoch to a function and counts the steps."""

    def __init__(self, on_epoch: Callable[[Epoch], object] = lambda epoch: None) -> None:
        self.on_epoch = on_epoch
        self.n_steps = 0

    def step_ended(self) -> None:
        self.n_steps += 1

    def epoch_ended(self, epoch: Epoch) -> None:
        self.on_epoch(epoch)


def train(classifier: Classifier, **changes: Any) -> list[Epoch]:
    named = {
        name: changes.pop(name)
        for name in ("checkpoint", "checkpoint_interval_s", "listener")
        if name in changes
    }
    if "on_epoch" in changes:
        named["listener"] = Told(changes.pop("on_epoch"))
    data = TrainingData(changes.pop("training", TRAINING), changes.pop("validation", VALIDATION))
    worker = Worker(CPU, 1, *changes.pop("ranks", (0, 1)))
    seeds = changes.pop("seed", 0), changes.pop("augmentation_seed", None)
    recipe = Recipe(make_settings(**changes), *seeds)
    return train_classifier(classifier, data, recipe, worker, **named)


def flatten(classifier: nn.Module) -> torch.Tensor:
    """Return every parameter and buffer in one vector."""
    return torch.cat([value.flatten().double() for value in classifier.state_dict().values()])
