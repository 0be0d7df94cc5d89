"""Perturbed images: an image in which a fill replaces some of the pieces."""

from collections.abc import Sequence

import numpy as np
import torch

from osteo_ray.data.masks import blur_image
from osteo_ray.data.pixels import find_white, scale_pixels
from osteo_ray.explain.settings import Fill
from osteo_ray.models.forward import Predict


class Perturbable:
    """An image whose superpixels can be switched off, on the device of the classifier.

    Args:
        image: uint8 or uint16, (height, width).
        fill: The type and shape of the image; what replaces superpixels that are off.
        segments: int, (height, width), numbered from 0.
        device: The device on which the perturbed images are assembled.
    """

    def __init__(
        self, image: np.ndarray, fill: np.ndarray, segments: np.ndarray, device: torch.device
    ) -> None:
        self._shape = image.shape
        self._on = scale_pixels(torch.from_numpy(image).to(device))
        self._off = scale_pixels(torch.from_numpy(fill).to(device))
        self._index = torch.from_numpy(segments.ravel()).to(device)

    def render(self, rows: np.ndarray) -> torch.Tensor:
        """Assemble perturbed images.

        Args:
            rows: uint8, (n, n_superpixels); 1 = kept.

        Returns:
            float32, (n, 1, height, width), in [0, 1].
        """
        # At weights of 0 and 1, `lerp` is exact; with floats, both steps use vector instructions.
        keep = torch.from_numpy(rows).to(self._index.device).float()
        shown = keep.index_select(1, self._index).view(-1, 1, *self._shape)
        return torch.lerp(self._off, self._on, shown)


def fill_superpixels(image: np.ndarray, segments: np.ndarray, fill: Fill) -> np.ndarray:
    """Return what replaces superpixels that are switched off.

    Args:
        image: uint8 or uint16, (height, width).
        segments: int, (height, width), numbered from 0.
        fill: `mean` for the mean of each superpixel, the default of `lime`; `blur` for the image
            without its structure; `black`; or a gray value, 0 .. 255 whatever the bits of the
            image, its `hide_color`.

    Returns:
        The type and shape of the image.
    """
    if not isinstance(fill, str):
        return np.full_like(image, fill * (find_white(image) // 255))
    if fill == "black":
        return np.zeros_like(image)
    if fill == "blur":
        return blur_image(image)
    labels = segments.ravel()
    sums = np.bincount(labels, weights=image.ravel())
    means = sums / np.maximum(np.bincount(labels), 1)
    filled: np.ndarray = means.astype(image.dtype)[segments]
    return filled  # means are truncated, as `lime` does when it assigns them to an image


def predict_rows(
    predict: Predict, requests: Sequence[tuple[Perturbable, np.ndarray]], batch_size: int
) -> list[np.ndarray]:
    """Classify perturbed images of several explanations.

    Each batch holds rows of a single explanation. The last digits of what a network computes for a
    row vary with the number of rows in the batch, and an explanation must not depend on the images
    that happen to be explained beside it.

    Args:
        predict: The classifier.
        requests: Images, and the rows to classify of each: uint8 (n_rows, n_superpixels), 1 = kept.
        batch_size: Images per forward pass.

    Returns:
        Per request, logits, float64 (n_rows, n_classes).
    """
    found = []
    for perturbable, rows in requests:
        batches = [
            predict(perturbable.render(rows[start : start + batch_size]))
            for start in range(0, len(rows), batch_size)
        ]
        found.append(torch.cat(batches).double().cpu().numpy())
    return found
