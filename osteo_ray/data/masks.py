"""Keep-masks: the one place where the polarity of a mask is defined.

A *keep-mask* is True (1) where the image is kept and False (0) where it is blacked out.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

View = Literal["image", "masked", "silhouette"]


def pack_mask(keep_mask: np.ndarray) -> bytes:
    """Pack a keep-mask into bits, row by row, for a table.

    Args:
        keep_mask: bool, (height, width); True = kept.

    Example:
        >>> pack_mask(np.array([[True, False], [False, True]])).hex()
        '90'
    """
    return np.packbits(keep_mask).tobytes()


def unpack_mask(packed: bytes, size_px: int) -> np.ndarray:
    """Undo `pack_mask` for a square mask.

    Returns:
        bool, (size_px, size_px); True = kept.

    Raises:
        ValueError: The bytes do not hold a mask of that size.
    """
    expected = -(-size_px * size_px // 8)
    if len(packed) != expected:
        raise ValueError(
            f"Expected {expected} bytes for a mask of {size_px}×{size_px}, but got {len(packed)}."
        )
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=size_px * size_px)
    return bits.reshape(size_px, size_px).astype(bool)


def apply_view(
    images: "torch.Tensor", keep_masks: "torch.Tensor | None", view: View
) -> "torch.Tensor":
    """Turn images into what an arm shows its classifier.

    Args:
        images: float32, (batch, 1, height, width), in [0, 1].
        keep_masks: bool, the shape of `images`, True = kept; not needed for the view `image`.
        view: `image` as it is; `masked`, mask × image, black (0) where not kept; `silhouette`, the
            keep-mask itself as an image, white where kept.

    Returns:
        float32, the shape of `images`, in [0, 1].

    Raises:
        ValueError: The view needs masks and none were given, or their shape differs.
    """
    if view == "image":
        return images
    if keep_masks is None or keep_masks.shape != images.shape:
        found = "none" if keep_masks is None else tuple(keep_masks.shape)
        raise ValueError(f"Expected keep-masks of shape {tuple(images.shape)}, but got {found}.")
    return images * keep_masks if view == "masked" else keep_masks.to(images.dtype)


def keep_most(importance: np.ndarray, area_px: int) -> np.ndarray:
    """Keep exactly that many of the most important pixels; of equal ones, the first row by row.

    Args:
        importance: float, (height, width); larger = more important.
        area_px: Pixels to keep, in 0 .. height·width.

    Returns:
        Keep-mask, bool, (height, width).

    Raises:
        ValueError: The area is not in 0 .. height·width.
    """
    if not 0 <= area_px <= importance.size:
        raise ValueError(f"Expected an area in 0 .. {importance.size} pixels, but got {area_px}.")
    keep_mask = np.zeros(importance.size, bool)
    keep_mask[np.argsort(-importance, axis=None, kind="stable")[:area_px]] = True
    return keep_mask.reshape(importance.shape)


def cover_area(segments: np.ndarray, area_px: int, rng: np.random.Generator) -> np.ndarray:
    """Draw random superpixels until they cover exactly a wanted area.

    The last superpixel drawn is cut along a row, so that the area is met to the pixel: a control
    that kept more or less of an image than the mask it is held against would control for nothing.

    Args:
        segments: int, (height, width); the superpixel of each pixel, numbered from 0.
        area_px: Pixels to keep, in 0 .. height·width.
        rng: Where the order of superpixels comes from.

    Returns:
        Keep-mask, bool, (height, width).

    Raises:
        ValueError: The area is not in 0 .. height·width.
    """
    if not 0 <= area_px <= segments.size:
        raise ValueError(f"Expected an area in 0 .. {segments.size} pixels, but got {area_px}.")
    order = rng.permutation(int(segments.max()) + 1)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    # Stable: within a superpixel, pixels stay in row-major order, so the cut runs along a row.
    first = np.argsort(rank[segments].ravel(), kind="stable")[:area_px]
    keep_mask = np.zeros(segments.size, bool)
    keep_mask[first] = True
    return keep_mask.reshape(segments.shape)
