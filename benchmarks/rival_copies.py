"""A published detector of copies, imagededup, by the features of a network.

imagededup is no dependency: `uv run --with imagededup python -m benchmarks copies …` brings it.
Its CNN is meant for torchvision's MobileNetV3 with ImageNet weights; any network can take its
place, here one of timm.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from osteo_ray.base.errors import InputError

USUAL_THRESHOLD = 0.9
_NEEDED_PRECISION = 0.99
_LEAST = 0.5  # less alike pairs are none


def choose_threshold(likeness: np.ndarray, right: np.ndarray) -> float:
    """Choose the lowest threshold at which hardly any pair is wrong.

    Args:
        likeness: float, (n,), in [-1, 1].
        right: bool, (n,); whether the pair shows one radiograph.

    Returns:
        The lowest likeness such that at least .99 of the pairs with it or more are right; 1 if
        there is none.

    Example:
        >>> choose_threshold(np.array([0.7, 0.8, 0.9]), np.array([False, True, True]))
        0.8
    """
    order = np.argsort(-likeness, kind="stable")
    falling, rights = likeness[order], np.cumsum(right[order])
    last = np.append(falling[1:] != falling[:-1], True)  # of those that are alike
    good = (rights / np.arange(1, len(falling) + 1) >= _NEEDED_PRECISION) & last[: len(falling)]
    return float(falling[good].min()) if good.any() else 1.0


class Rival:
    """imagededup's CNN, with a network of timm."""

    def __init__(self, model: str, weights: str) -> None:
        """Load the network.

        Args:
            model: A timm name.
            weights: File with its ImageNet weights.

        Raises:
            InputError: imagededup is not installed.
        """
        import timm
        from timm.data.config import resolve_data_config
        from timm.data.transforms_factory import create_transform

        try:
            from imagededup.methods import CNN
            from imagededup.utils import CustomModel
        except ModuleNotFoundError as error:
            raise InputError(
                f"Expected the package imagededup, but {error.name} is not installed. Run the "
                "benchmark with it: uv run --with imagededup python -m benchmarks copies …"
            ) from None
        # As if they had been fetched, which drops the head.
        network = timm.create_model(
            model, pretrained=True, num_classes=0, pretrained_cfg_overlay={"file": weights}
        ).eval()
        transform = create_transform(**resolve_data_config({}, model=network))
        self._cnn: Any = CNN(verbose=False, model_config=CustomModel(model, network, transform))

    def search(self, folder: Path) -> tuple[pd.DataFrame, float]:
        """Compare all images of a folder.

        Args:
            folder: Image files, numbered from 0 by their order.

        Returns:
            A row per pair that is at all alike (first, second, likeness), and the time that
            reading and comparing took, in seconds.
        """
        started = time.perf_counter()
        encodings = self._cnn.encode_images(image_dir=folder)
        self._cnn.find_duplicates(
            encoding_map=encodings, min_similarity_threshold=USUAL_THRESHOLD, scores=True
        )
        seconds = time.perf_counter() - started
        found = self._cnn.find_duplicates(
            encoding_map=encodings, min_similarity_threshold=_LEAST, scores=True
        )
        number = {name: row for row, name in enumerate(sorted(encodings))}
        rows = [
            (number[name], number[other], float(likeness))
            for name, others in found.items()
            for other, likeness in others
            if number[name] < number[other]
        ]
        return pd.DataFrame(rows, columns=["first", "second", "likeness"]), seconds
