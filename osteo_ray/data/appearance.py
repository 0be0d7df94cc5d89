"""Describe what an image shows apart from its anatomy: its frame, its exposure, a tiny preview."""

import cv2
import numpy as np

PREVIEW_SIDE = 16
FRAME_SIZE = 8
HISTOGRAM_BINS = 16


def describe_look(image: np.ndarray) -> np.ndarray:
    """Describe the frame and the exposure of an image.

    Args:
        image: uint8 (H, W).

    Returns:
        float32 (24,): the mean gray of the top, bottom, left and right edge (each a fiftieth of the
        side wide), then its standard deviation there, all in 0..1; then the shares of 16 equal bins
        of gray.

    Example:
        >>> describe_look(np.full((50, 50), 255, np.uint8))[[0, 4, 8, 23]].tolist()
        [1.0, 0.0, 0.0, 1.0]
    """
    tall, wide = (max(1, side // 50) for side in image.shape)
    edges = (image[:tall], image[-tall:], image[:, :wide], image[:, -wide:])
    # OpenCV, because for so few pixels NumPy spends more time starting than adding.
    frame = np.concatenate([cv2.meanStdDev(edge) for edge in edges], axis=1).ravel() / 255
    counts = cv2.calcHist([image], [0], None, [HISTOGRAM_BINS], [0, 256]).ravel()
    return np.concatenate([frame, counts / image.size]).astype(np.float32)


def measure_contrast(image: np.ndarray) -> float:
    """Return the standard deviation of the gray, in 0..255.

    Example:
        >>> measure_contrast(np.array([[10, 30], [10, 30]], np.uint8))
        10.0
    """
    return float(cv2.meanStdDev(image)[1].item())


def shrink_to_preview(image: np.ndarray) -> np.ndarray:
    """Shrink a whole image, margins included, to uint8 (16, 16)."""
    size = (PREVIEW_SIDE, PREVIEW_SIDE)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
