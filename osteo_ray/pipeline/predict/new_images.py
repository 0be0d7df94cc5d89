"""Read the images that a trained run is to predict: files, and folders of files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from osteo_ray.base.errors import InputError
from osteo_ray.base.paths import write_path
from osteo_ray.data.decoding.content import decode
from osteo_ray.data.decoding.identity import digest_pixels, identify_image
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.laterality import Laterality
from osteo_ray.data.pixels import Bits
from osteo_ray.data.sources.words import is_of_system
from osteo_ray.pipeline.ingest.films import find_views, show_square


@dataclass(frozen=True)
class NewImage:
    """An image that is to be predicted.

    Attributes:
        path: As the user named it, or below the folder that they named, with escapes for what is
            no UTF-8; of half of a film, with the half.
        image_id: Its id.
        digest: Of its pixels at full size.
        pixels: uint8 or uint16, (height, width); None if it could not be read.
        error: Why it could not be read; empty if it could.
    """

    path: str
    image_id: str
    digest: str
    pixels: np.ndarray | None
    error: str = ""


def list_new_images(places: Sequence[str]) -> list[Path]:
    """List the images to read, each once.

    Args:
        places: Files and folders; all files below a folder are listed, but hidden ones and those
            that systems leave behind.

    Raises:
        InputError: A place does not exist, or a folder holds no file.
    """
    return list(dict.fromkeys(path for place in places for path in _list_files(place)))


def _list_files(place: str) -> Iterator[Path]:
    path = Path(place)
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise InputError(f"Expected an image or a folder, but {place} does not exist.")
    below = sorted(
        one
        for one in path.rglob("*")
        if one.is_file() and not _is_passed_over(one.relative_to(path))
    )
    if not below:
        raise InputError(f"Expected images in {place}, but the folder holds no file.")
    yield from below


def _is_passed_over(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or is_of_system(path.as_posix())


def read_new_images(
    path: Path, image_size: ImageSize, bits: Bits, laterality: Laterality
) -> list[NewImage]:
    """Read a file as those of a run are read; one that cannot be read says why.

    Args:
        path: The file.
        image_size: Height and width that it is resized to.
        bits: Of its gray values.
        laterality: Whether films of both knees are cut in two.

    Returns:
        The image; of a film that is cut, both halves, called `PATH#left` and `PATH#right`.
    """
    name = write_path(str(path))
    try:
        decoded = decode(path.read_bytes(), bits)
        square = show_square(decoded.pixels)
        views = find_views(name, decoded, square, "", laterality)
    except (UnreadableImageError, OSError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        return [NewImage(name, "", "", None, reason)]
    found = []
    for view in views:
        pixels = view.decoded.pixels
        digest = digest_pixels(pixels)
        image_id = identify_image(view.path, digest)
        found.append(NewImage(view.path, image_id, digest, resize_image(pixels, image_size)))
    return found
