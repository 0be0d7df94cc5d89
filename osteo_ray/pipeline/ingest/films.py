"""Read an image of a source; of a film of both knees, the halves if they are asked for."""

from dataclasses import dataclass, replace

import numpy as np

from osteo_ray.data.copies.thumbnails import SQUARE
from osteo_ray.data.decoding.content import decode
from osteo_ray.data.decoding.identity import digest_pixels
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.decoding.result import Decoded, UnreadableImageError
from osteo_ray.data.laterality import (
    SIDES,
    Half,
    Laterality,
    cut_film,
    find_gap,
    name_half,
    read_half,
    read_side,
)
from osteo_ray.data.pixels import Bits, show_8_bits
from osteo_ray.data.slices import read_slice
from osteo_ray.data.sources.readers import Reader


@dataclass(frozen=True)
class View:
    """An image as it is used: a whole file, or half of a film.

    Attributes:
        path: Its path in the source; for a half, as `name_half` makes it.
        decoded: Its pixels, and what its file says; for a half, with the side that it shows.
        square: Its pixels in 8 bits, resized to `SQUARE`.
        film: Path of the film of both knees that it is, or is half of; "" for other images.
        person: What is equal for the halves of a film, or for the slices of a volume, and for no
            others, else "". It stands for the patient if nothing else does.
    """

    path: str
    decoded: Decoded
    square: np.ndarray
    film: str = ""
    person: str = ""


def read_views(
    reader: Reader,
    path: str,
    position: int,
    side: str,
    laterality: Laterality,
    bits: Bits = 8,
) -> list[View]:
    """Read what a row of a source stands for: an image, or one or both halves of a film.

    Args:
        reader: Fetches the images.
        path: See `find_views`.
        position: See `Reader.read`.
        side: See `find_views`.
        laterality: Whether films of both knees are cut in two.
        bits: Of the gray values.

    Raises:
        UnreadableImageError: It cannot be read, or is half of an image that shows no two knees.
    """
    file, number = find_file(path, laterality)
    decoded = decode(reader.read(file, position), bits, number)
    square = show_square(decoded.pixels)
    return find_views(path, decoded, square, side, laterality)


def find_file(path: str, laterality: Laterality) -> tuple[str, int | None]:
    """Return the file to read for a row of a source, and the slice of it, if it is a volume."""
    return read_slice(read_half(path)[0] if laterality == "split" else path)


def find_views(
    path: str, decoded: Decoded, square: np.ndarray, side: str, laterality: Laterality
) -> list[View]:
    """Find what a row of a source stands for in what its file shows.

    An image whose header names one side of the body is no film of both.

    Args:
        path: Path of the image in the source, or that of a half of it if it has two rows.
        decoded: What its file holds.
        square: What `show_square` makes of its pixels.
        side: The side that the source names, if any. Only this half of a film is meant then.
        laterality: Whether films of both knees are cut in two.

    Raises:
        UnreadableImageError: It is half of an image that shows no two knees.
    """
    film, wanted = read_half(path) if laterality == "split" else (path, None)
    height, width = decoded.pixels.shape
    gap = None if decoded.side else find_gap(square, width / height)
    volume, number = read_slice(film)
    if number is not None:  # a slice shows less than a film
        return [View(path, decoded, square, person=f"volume {volume}")]
    if gap is None:
        if wanted is not None:
            raise UnreadableImageError(
                "has a row for each side, but shows no gap between two knees at which it could be "
                "cut"
            )
        return [View(path, decoded, square)]
    if laterality == "whole":
        return [View(path, decoded, square, film=path)]
    sides = _name_sides(decoded.left_edge)
    person = f"film {digest_pixels(decoded.pixels)}"
    side = read_side(side)
    views = []
    for half, pixels in cut_film(decoded.pixels, gap).items():
        if side in ("", sides[half]):
            shown = replace(decoded, pixels=np.ascontiguousarray(pixels), side=sides[half])
            squared = show_square(shown.pixels)
            views.append(View(name_half(film, half), shown, squared, film, person))
    return views


def show_square(pixels: np.ndarray) -> np.ndarray:
    """Resize pixels to `SQUARE`, in 8 bits, as copies and films are looked for."""
    return show_8_bits(resize_image(pixels, SQUARE))


def _name_sides(left_edge: str | None) -> dict[Half, str]:
    """Return the side of the body that each half shows."""
    usual = left_edge in (None, SIDES["left"])
    return SIDES if usual else {"left": SIDES["right"], "right": SIDES["left"]}
