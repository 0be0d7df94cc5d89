"""Keep-masks of many images, one bit per pixel, and the changes that make controls of them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import keep_centre, keep_most

_BATCH = 256  # masks that are unpacked at a time


@dataclass(frozen=True)
class PackedMasks:
    """Keep-masks of many images, which are unpacked where they are needed.

    It is indexed as an array of shape (n, height, width) would be: a number gives the mask of one
    image, an array or a slice those of several, as bools, True = kept.

    Attributes:
        bits: uint8, (n, bytes); the masks, each packed as `pack_mask` does, row by row.
        height: Of each mask, in pixels.
        width: Of each mask, in pixels.

    Example:
        >>> masks = PackedMasks.pack([np.eye(2, dtype=bool), np.ones((2, 2), bool)])
        >>> masks[0].tolist(), masks.areas_px.tolist()
        ([[True, False], [False, True]], [2, 4])
    """

    bits: np.ndarray
    height: int
    width: int

    @classmethod
    def pack(cls, keep_masks: Iterable[np.ndarray]) -> "PackedMasks":
        """Pack masks: one or more, each bool, (height, width)."""
        masks = iter(keep_masks)
        first = next(masks)
        rows = [np.packbits(first), *(np.packbits(mask) for mask in masks)]
        return cls(np.stack(rows), *first.shape)

    @classmethod
    def whole(cls, n: int, image_size: ImageSize) -> "PackedMasks":
        """Make masks that keep everything, of n images."""
        row = np.packbits(np.ones(image_size.area_px, bool))
        return cls(np.tile(row, (n, 1)), *image_size.shape)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the array of bools: (n, height, width)."""
        return len(self.bits), self.height, self.width

    @property
    def areas_px(self) -> np.ndarray:
        """How many pixels each mask keeps: int64, (n,)."""
        areas = np.empty(len(self), np.int64)
        for start in range(0, len(self), _BATCH):  # counts take as much memory as the bits
            part = slice(start, start + _BATCH)
            areas[part] = np.bitwise_count(self.bits[part]).sum(1, dtype=np.int64)
        return areas

    def __len__(self) -> int:
        return len(self.bits)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Unpack the masks of some rows: bool, (k, height, width), or (height, width) of one."""
        chosen = self.bits[rows]
        flat = np.unpackbits(chosen, axis=-1, count=self.height * self.width)
        found: np.ndarray = flat.view(bool)
        return found.reshape(*chosen.shape[:-1], self.height, self.width)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def select(self, rows: np.ndarray) -> "PackedMasks":
        """Return the masks of some rows, still packed."""
        return replace(self, bits=self.bits[rows])

    def put(self, rows: np.ndarray, keep_masks: Iterable[np.ndarray]) -> "PackedMasks":
        """Return the masks with others in some rows.

        Args:
            rows: int, (k,).
            keep_masks: k masks, each bool, (height, width).
        """
        bits = self.bits.copy()
        for row, mask in zip(rows, keep_masks, strict=True):
            bits[row] = np.packbits(mask)
        return replace(self, bits=bits)

    def sum_pixels(self, rows: np.ndarray) -> np.ndarray:
        """Count how many masks of some rows keep each pixel: int64, (height, width)."""
        total = np.zeros((self.height, self.width), np.int64)
        for start in range(0, len(rows), _BATCH):
            total += self[rows[start : start + _BATCH]].sum(0)
        return total


def change_masks(
    keep_masks: PackedMasks, change: str, split: np.ndarray, rng: np.random.Generator
) -> PackedMasks:
    """Make the masks of a control from the masks of the images themselves.

    Args:
        keep_masks: Those of n images.
        change: `none`; `complement` keeps what the mask removes; `other_image` takes the mask of
            another image in the same part of the split; `mean` keeps, in all images, the pixels
            that the masks of training images keep most often; `centre` keeps, in all images, a
            square in the middle, where the area of the last two is the mean area of the masks of
            training images; `box` keeps the bounding box of the mask; `dilated` keeps the mask and
            what lies within 5 % of the longer side of the image around it.
        split: str, (n,); the part of the split that each image is in, or empty for images that are
            set aside, whose masks do not change.
        rng: Pairs the images for `other_image`.

    Raises:
        ValueError: There is no such change.
    """
    if change == "none":
        return keep_masks
    used = np.flatnonzero(split != "")
    if change == "other_image":
        donors = np.arange(len(split))
        for part in np.unique(split[used]):
            rows = rng.permutation(np.flatnonzero(split == part))
            donors[rows] = np.roll(rows, 1)  # so that no image keeps its own
        return keep_masks.select(donors)
    if change in ("mean", "centre"):
        learned = np.flatnonzero(split == "train")
        share = keep_masks.sum_pixels(learned) / len(learned)
        area_px = round(float(share.sum()))
        square = change == "centre"
        one = keep_centre(share.shape, area_px) if square else keep_most(share, area_px)
        same = keep_masks.put(used[:0], ())
        same.bits[used] = np.packbits(one)
        return same
    if change not in _CHANGES:
        raise ValueError(f"Expected a known change of masks, but got `{change}`.")
    return keep_masks.put(used, (_CHANGES[change](keep_masks[row]) for row in used))


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


_CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "complement": np.logical_not,
    "box": _box,
    "dilated": _dilate,
}


def borrow_masks(
    keep_masks: PackedMasks,
    failed: np.ndarray,
    split: np.ndarray,
    image_ids: Sequence[str],
    seed: int,
) -> np.ndarray:
    """Give each image without a usable mask the mask of another image, in place.

    Whether an image can be explained may depend on its class. If such an image were shown whole, or
    all black, a classifier could read the class from that alone. Here its mask is one of the usual
    masks, and neither its shape nor its area says anything about the image.

    A mask is usable if the image was explained and the mask keeps some pixels, but not all. An
    image without a usable mask gets that of another image, from the same part of the split. The
    draw depends on the seed and on the id of the image, and never on the class. If no image of the
    part has a usable mask, these images all get the same square in the middle, of the mean area of
    all usable masks. If there are no usable masks at all, they are all kept whole.

    Args:
        keep_masks: Those of n images; they are changed, as a copy of many takes much memory.
        failed: bool, (n,); images that could not be explained, whose masks are ignored.
        split: str, (n,); the part of the split that each image is in, or empty for images that are
            set aside, whose masks do not change.
        image_ids: The ids of the images.
        seed: Decides, with the id of an image, whose mask it gets.

    Returns:
        For each image the row of the image whose mask it now has, int, (n,): its own row if nothing
        was changed, and -1 for a square in the middle or an image that is kept whole for want of
        any mask.
    """
    areas_px = keep_masks.areas_px
    used = split != ""
    whole_px = keep_masks.height * keep_masks.width
    usable = used & ~failed & (areas_px > 0) & (areas_px < whole_px)
    donors = np.arange(len(split))
    area_px = round(float(areas_px[usable].mean())) if usable.any() else whole_px
    for part in np.unique(split[used]):
        rows = np.flatnonzero(split == part)
        wanting = rows[~usable[rows]]
        if not usable[rows].any():
            donors[wanting] = -1
            continue
        for row in wanting:
            # All are put in order, so that two kinds of mask agree on the image they take.
            drawn = _seed_by_id(image_ids[row], seed).permutation(rows)
            donors[row] = drawn[usable[drawn]][0]
    lent = np.flatnonzero((donors != np.arange(len(split))) & (donors >= 0))
    keep_masks.bits[lent] = keep_masks.bits[donors[lent]]
    square = keep_centre((keep_masks.height, keep_masks.width), area_px)
    keep_masks.bits[donors < 0] = np.packbits(square)
    return donors


def _seed_by_id(image_id: str, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(image_id.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8])])
