"""Keep-masks, and the one place that defines their polarity.

A *keep-mask* is True (1) where the image is kept and False (0) where it is blacked out.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from osteo_ray.data.imputation import impute
from osteo_ray.data.settings import View

if TYPE_CHECKING:
    import torch


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
        ValueError: The bytes hold no mask of that size.
    """
    expected = -(-size_px * size_px // 8)
    if len(packed) != expected:
        raise ValueError(
            f"Expected {expected} bytes for a mask of {size_px}×{size_px}, but got {len(packed)}."
        )
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=size_px * size_px)
    return bits.reshape(size_px, size_px).astype(bool)


def measure_overlap(one: bytes, other: bytes) -> float:
    """Return the intersection over union of two packed masks; 1 if both are empty.

    Example:
        >>> measure_overlap(bytes([0b1100]), bytes([0b0110]))
        0.3333333333333333
    """
    if one == other:
        return 1.0
    if len(one) != len(other):
        return 0.0
    bits, more = np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8)
    joint, either = (int(np.bitwise_count(both).sum()) for both in (bits & more, bits | more))
    return joint / either


def apply_view(
    images: "torch.Tensor",
    keep_masks: "torch.Tensor | None",
    view: View,
    background: "torch.Tensor | None" = None,
) -> "torch.Tensor":
    """Turn images into what an arm shows to its classifier.

    Args:
        images: float32, (batch, 1, height, width), in [0, 1].
        keep_masks: bool, the shape of `images`, True = kept; the view `image` needs none.
        view: `image` shows the image as it is; `masked`, mask × image; `silhouette`, the keep-mask
            itself, white where kept.
        background: float32, the shape of `images`, in [0, 1]; shown by a masked image where nothing
            is kept. Black (0) by default.

    Returns:
        float32, the shape of `images`, in [0, 1].

    Raises:
        ValueError: The view needs masks, but there are none or their shape differs.
    """
    if view == "image":
        return images
    if keep_masks is None or keep_masks.shape != images.shape:
        found = "none" if keep_masks is None else tuple(keep_masks.shape)
        raise ValueError(f"Expected keep-masks of shape {tuple(images.shape)}, but got {found}.")
    if view == "silhouette":
        return keep_masks.to(images.dtype)
    if background is None:
        return images * keep_masks
    return images * keep_masks + background * ~keep_masks


_BLUR = 0.05  # sigma, as a share of the longer side


def blur_image(image: np.ndarray) -> np.ndarray:
    """Blur an image until it has lost its structure.

    Args:
        image: uint8, (height, width).

    Returns:
        uint8, (height, width).
    """
    sigma = _BLUR * max(image.shape)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))


def make_background(image: np.ndarray, background: str, keep_mask: np.ndarray) -> np.ndarray:
    """Make what a masked image shows where nothing is kept.

    Args:
        image: uint8, (height, width).
        background: `black`; `mean`, the mean gray of the image; `blur`, the image blurred; or
            `imputed`, what `data.imputation` makes of the pixels that are kept.
        keep_mask: bool, the shape of `image`, True = kept; matters to `imputed` alone.

    Returns:
        uint8, (height, width).
    """
    if background == "blur":
        return blur_image(image)
    if background == "imputed":
        return impute(image, keep_mask)
    return np.full_like(image, round(float(image.mean())) if background == "mean" else 0)


def change_masks(
    keep_masks: np.ndarray, change: str, split: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Make the masks of a control from the masks of the images themselves.

    Args:
        keep_masks: bool, (n, height, width), True = kept.
        change: `none`; `complement` keeps what the mask removes; `other_image` takes the mask of
            another image in the same part of the split; `mean` keeps, in all images, the pixels
            that the masks of training images keep most often; `centre` keeps, in all images, a
            square in the middle, where the area of the last two is the mean area of the masks of
            training images; `box` keeps the bounding box of the mask; `dilated` keeps the mask and
            what lies within 5 % of the side of the image around it.
        split: str, (n,); the part of the split that each image is in, or empty for images that are
            set aside, whose masks do not change.
        rng: Pairs the images for `other_image`.

    Returns:
        bool, (n, height, width), True = kept.

    Raises:
        ValueError: There is no such change.
    """
    if change == "none":
        return keep_masks
    used = split != ""
    changed = keep_masks.copy()
    if change == "complement":
        changed[used] = ~keep_masks[used]
    elif change == "other_image":
        for part in np.unique(split[used]):
            rows = rng.permutation(np.flatnonzero(split == part))
            changed[rows] = keep_masks[np.roll(rows, 1)]  # so that no image keeps its own
    elif change == "box":
        changed[used] = [_box(mask) for mask in keep_masks[used]]
    elif change == "dilated":
        changed[used] = [_dilate(mask) for mask in keep_masks[used]]
    elif change in ("mean", "centre"):
        share = keep_masks[split == "train"].mean(0)
        area_px = round(float(share.sum()))
        square = change == "centre"
        changed[used] = keep_centre(share.shape, area_px) if square else keep_most(share, area_px)
    else:
        raise ValueError(f"Expected a known change of masks, but got `{change}`.")
    return changed


_DILATION = 0.05  # radius, as a share of the longer side


def _box(keep_mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(keep_mask.any(1)), np.flatnonzero(keep_mask.any(0))
    box = np.zeros_like(keep_mask)
    if len(rows):
        box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box


def _dilate(keep_mask: np.ndarray) -> np.ndarray:
    radius_px = max(1, round(_DILATION * max(keep_mask.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return cv2.dilate(keep_mask.astype(np.uint8), disc).astype(bool)


def borrow_masks(
    keep_masks: np.ndarray,
    failed: np.ndarray,
    split: np.ndarray,
    image_ids: Sequence[str],
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Give each image without a usable mask the mask of another image.

    Whether an image can be explained may depend on its class. If such an image were shown whole, or
    all black, a classifier could read the class from that alone. Here its mask is one of the usual
    masks, and neither its shape nor its area says anything about the image.

    A mask is usable if the image was explained and the mask keeps some pixels, but not all. An
    image without a usable mask gets that of another image, from the same part of the split. The
    draw depends on the seed and on the id of the image, and never on the class. If no image of the
    part has a usable mask, these images all get the same square in the middle, of the mean area of
    all usable masks. If there are no usable masks at all, they are all kept whole.

    Args:
        keep_masks: bool, (n, height, width), True = kept.
        failed: bool, (n,); images that could not be explained, whose masks are ignored.
        split: str, (n,); the part of the split that each image is in, or empty for images that are
            set aside, whose masks do not change.
        image_ids: The ids of the images.
        seed: Decides, with the id of an image, whose mask it gets.

    Returns:
        The masks, bool, (n, height, width), True = kept; and for each image the row of the image
        whose mask it now has, int, (n,): its own row if nothing was changed, and -1 for a square
        in the middle or an image that is kept whole for want of any mask.
    """
    areas_px = keep_masks.sum((1, 2))
    used = split != ""
    usable = used & ~failed & (areas_px > 0) & (areas_px < keep_masks[0].size)
    masks, donors = keep_masks.copy(), np.arange(len(split))
    for part in np.unique(split[used]):
        rows = np.flatnonzero(split == part)
        wanting = rows[~usable[rows]]
        if usable[rows].any():
            for row in wanting:
                # All are put in order, so that two kinds of mask agree on the image they take.
                drawn = _seed_by_id(image_ids[row], seed).permutation(rows)
                donors[row] = drawn[usable[drawn]][0]
            masks[wanting] = keep_masks[donors[wanting]]
        else:
            donors[wanting] = -1
            whole = keep_masks[0].size
            area_px = round(float(areas_px[usable].mean())) if usable.any() else whole
            masks[wanting] = keep_centre(keep_masks.shape[1:], area_px)
    return masks, donors


def _seed_by_id(image_id: str, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(image_id.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8])])


def keep_centre(shape: tuple[int, ...], area_px: int) -> np.ndarray:
    """Keep a square in the middle, of exactly a wanted area.

    Args:
        shape: Height and width, in pixels.
        area_px: Number of pixels to keep, in 0 .. height·width.

    Returns:
        Keep-mask, bool, (height, width); True = kept.
    """
    rows_px, columns_px = (np.abs(np.arange(n) - (n - 1) / 2) for n in shape)
    return keep_most(-np.maximum(rows_px[:, None], columns_px), area_px)


def cover_area(segments: np.ndarray, area_px: int, rng: np.random.Generator) -> np.ndarray:
    """Draw random superpixels until they cover exactly a wanted area.

    The last superpixel drawn is cut along a row, so that the area is exact to the pixel. A control
    that kept more or less of an image than the mask it is compared with would control for nothing.

    Args:
        segments: int, (height, width); the superpixel of each pixel, numbered from 0.
        area_px: Number of pixels to keep, in 0 .. height·width.
        rng: Draws the order of the superpixels.

    Returns:
        Keep-mask, bool, (height, width); True = kept.

    Raises:
        ValueError: The area is not in 0 .. height·width.
    """
    if not 0 <= area_px <= segments.size:
        raise ValueError(f"Expected an area in 0 .. {segments.size} pixels, but got {area_px}.")
    labels = segments.ravel()
    sizes_px = np.bincount(labels)
    order = rng.permutation(len(sizes_px))
    covered_px = np.cumsum(sizes_px[order])
    n_whole = int(np.searchsorted(covered_px, area_px, side="right"))
    kept = np.zeros(len(sizes_px), bool)
    kept[order[:n_whole]] = True
    keep_mask = kept[labels]
    missing_px = area_px - (covered_px[n_whole - 1] if n_whole else 0)
    if missing_px:
        keep_mask[np.flatnonzero(labels == order[n_whole])[:missing_px]] = True
    return np.asarray(keep_mask.reshape(segments.shape))


def order_pixels(importance: np.ndarray) -> np.ndarray:
    """Order pixels from the most to the least important; ties are broken in row-major order.

    Args:
        importance: (height, width); larger = more important.

    Returns:
        int64, (height·width,); indices into the flattened image, the most important first.

    Raises:
        ValueError: An importance is NaN.
    """
    values = importance.astype(np.float64).ravel()
    if np.isnan(values).any():
        raise ValueError("Expected importances that can be ordered, but got NaN.")
    return np.argsort(-values, kind="stable")


def keep_most(importance: np.ndarray, area_px: int) -> np.ndarray:
    """Keep the most important pixels, so that the mask has exactly a wanted area.

    Args:
        importance: (height, width); larger = more important. Ties are broken in row-major order.
        area_px: Number of pixels to keep, in 0 .. height·width.

    Returns:
        Keep-mask, bool, (height, width); True = kept.

    Raises:
        ValueError: The area is not in 0 .. height·width, or an importance is NaN.

    Example:
        >>> keep_most(np.array([[0.1, 0.7], [0.7, 0.9]]), 2)
        array([[False,  True],
               [False,  True]])
    """
    if not 0 <= area_px <= importance.size:
        raise ValueError(f"Expected an area in 0 .. {importance.size} pixels, but got {area_px}.")
    keep_mask = np.zeros(importance.size, bool)
    keep_mask[order_pixels(importance)[:area_px]] = True
    return keep_mask.reshape(importance.shape)
