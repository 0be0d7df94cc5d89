"""Identify an image by what it shows and where it lies."""

import hashlib

import numpy as np

from osteo_ray.data.pixels import show_8_bits


def digest_pixels(image: np.ndarray) -> str:
    """Digest the pixels of an image: equal pixels give equal digests, whatever the file format.

    Args:
        image: uint8 or uint16 (H, W).

    Returns:
        64 hexadecimal digits: the SHA-256 of shape and pixels.

    Raises:
        ValueError: `image` is no such array, or has no pixel.

    Example:
        >>> digest_pixels(np.zeros((2, 3), np.uint8)) == digest_pixels(np.zeros((3, 2), np.uint8))
        False
    """
    check_image(show_8_bits(image) if image.dtype == np.uint16 else image)
    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def identify_image(path: str, digest: str) -> str:
    """Derive an image's identifier from its path within the source and the digest of its pixels.

    Example:
        >>> len(identify_image("normal/1.png", "ab"))
        16
    """
    return hashlib.sha256(f"{path}\0{digest}".encode()).hexdigest()[:16]


def check_image(image: np.ndarray) -> None:
    """Require a uint8 array (H, W) with at least one pixel.

    Raises:
        ValueError: It is another type or shape, or has no pixel.
    """
    if image.dtype != np.uint8 or image.ndim != 2 or image.size == 0:
        raise ValueError(
            "Expected image to be a uint8 array (H, W) with at least one pixel, "
            f"but got {image.dtype} {image.shape}."
        )
