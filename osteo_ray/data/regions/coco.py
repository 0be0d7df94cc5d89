"""Regions as annotations of a COCO file: polygons, or run lengths, compressed or not."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from osteo_ray.data.decoding.refusals import check_size


@dataclass(frozen=True)
class CocoImage:
    """An image of a COCO file with what is marked in it.

    Attributes:
        width: In pixels.
        height: In pixels.
        marks: The `segmentation` of each of its annotations, of whatever category.
    """

    width: int
    height: int
    marks: tuple[Any, ...]

    def draw(self) -> np.ndarray:
        """Draw the union of all marks: bool, (height, width); True = inside.

        Raises:
            ValueError: A mark is neither polygons nor run lengths of the size of the image.
            UnreadableImageError: No radiograph has such a size.
        """
        check_size(self.width, self.height)
        inside = np.zeros((self.height, self.width), bool)
        for mark in self.marks:
            if isinstance(mark, dict):
                inside |= _draw_runs(mark, inside.shape)
            elif isinstance(mark, list):
                inside |= _fill(mark, inside)
            else:
                raise ValueError("a mark is neither polygons nor run lengths")
        return inside


def parse_coco(content: bytes) -> dict[str, CocoImage]:
    """Read a COCO file; return its images by file name.

    Exports that were merged may list an image more than once, each time with some of its marks.

    Raises:
        ValueError: It is no JSON, or not in COCO's form; an image has two sizes, or two images have
            one `id`.
    """
    try:
        read = json.loads(content)
        marks: dict[Any, list[Any]] = defaultdict(list)
        for one in read["annotations"]:
            marks[one["image_id"]].append(one["segmentation"])
        return _join_images(read["images"], marks)
    except KeyError as error:
        raise ValueError(f"{error} is missing") from None
    except TypeError:
        raise ValueError("its lists `images` and `annotations` are not in COCO's form") from None


def _join_images(
    listed: Sequence[Mapping[str, Any]], marks: Mapping[Any, Sequence[Any]]
) -> dict[str, CocoImage]:
    """Return the images of a file by name, each with the marks of all entries of its name."""
    found: dict[str, CocoImage] = {}
    name_of: dict[Any, str] = {}
    for entry in listed:
        name, number = str(entry["file_name"]), entry["id"]
        one = CocoImage(int(entry["width"]), int(entry["height"]), tuple(marks.get(number, ())))
        if name_of.setdefault(number, name) != name:
            raise ValueError(f"{name_of[number]} and {name} have the same `id`, {number}")
        known = found.get(name, one)
        if (known.width, known.height) != (one.width, one.height):
            raise ValueError(
                f"{name} is listed with {known.width} × {known.height} px and with "
                f"{one.width} × {one.height} px"
            )
        found[name] = one if known is one else replace(known, marks=known.marks + one.marks)
    return found


def _fill(polygons: Sequence[Any], canvas: np.ndarray) -> np.ndarray:
    """Fill polygons, lists of x, y, x, y …; a pixel is inside if its centre is."""
    # Imported here, as it takes a while and most runs have no polygons.
    from skimage.draw import polygon2mask

    inside = np.zeros_like(canvas)
    for polygon in polygons:
        if not isinstance(polygon, list) or not all(isinstance(at, int | float) for at in polygon):
            raise ValueError("a polygon is not a list of numbers")
        if len(polygon) < 6 or len(polygon) % 2 or not np.isfinite(polygon).all():
            raise ValueError("a polygon is not a list of x and y of three corners or more")
        corners = np.array(polygon, float).reshape(-1, 2)
        # COCO counts from the edge of the first pixel, scikit-image from its centre.
        inside |= polygon2mask(canvas.shape, corners[:, ::-1] - 0.5)
    return inside


def _draw_runs(mark: Mapping[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """Draw run lengths, which go down the columns and begin with pixels that are outside."""
    counts = mark.get("counts")
    if mark.get("size") != list(shape) or not isinstance(counts, str | list):
        raise ValueError("run lengths lack `counts`, or their `size` is not that of the image")
    runs = np.asarray(_unpack_counts(counts) if isinstance(counts, str) else counts)
    if runs.dtype.kind != "i" or (runs < 0).any() or runs.sum() != shape[0] * shape[1]:
        raise ValueError("run lengths do not add up to the pixels of the image")
    values = np.arange(len(runs)) % 2 == 1
    return np.asarray(np.repeat(values, runs).reshape(shape[::-1]).T)


def _unpack_counts(text: str) -> list[int]:
    """Undo COCO's compression: five bits a character, and differences to the run before last."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError("compressed run lengths hold a character that they cannot")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:  # more characters follow
            continue
        if code & 16:  # a negative number
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
