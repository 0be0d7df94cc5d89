"""Find, read and check the regions of a set of images."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow.fs

from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import open_filesystem, split_uri
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.laterality import HALVES, name_half, read_half
from osteo_ray.data.regions.coco import parse_coco
from osteo_ray.data.regions.names import match_films, match_names
from osteo_ray.data.regions.png import decode_mask
from osteo_ray.data.regions.region import Region, shrink_region
from osteo_ray.data.sources.folders import open_folder
from osteo_ray.data.sources.readers import FileReader, Reader
from osteo_ray.data.sources.unreadable import expecting

_TOLD = 3  # images that a message names
_FORMS = "a folder of PNG masks that are named like the images, or a COCO file (.json)"


@dataclass(frozen=True)
class GivenRegions:
    """The regions of a set of images.

    Attributes:
        uri: Where they come from.
        regions: By path of the image in its source.
        image_size: Height and width that the images are resized to.
        drawn: By the same paths, what reads the mask at its own size.
    """

    uri: str
    regions: Mapping[str, Region]
    image_size: ImageSize
    drawn: Mapping[str, Callable[[], np.ndarray]]

    def cut_halves(self, sizes: Mapping[str, tuple[int, int]]) -> "GivenRegions":
        """Return the regions of images some of which are halves of films of both knees.

        A mask of the whole film is cut where the film was. One of half its width says by its name
        which half it is of.

        Args:
            sizes: Width and height of each image, in pixels, by its path.

        Raises:
            InputError: A mask has another size than its film, or holds nothing of a half; or an
                image that was not cut has masks of halves only.
        """
        drawn = {}
        for path in sizes:
            film, half = read_half(path)
            name = path if path in self.drawn else film
            if half is not None and name in self.drawn:
                drawn[path] = partial(_draw_half, self.drawn[name], name, path, sizes)
        found = _read_all(self.uri, drawn, self.image_size)
        regions = {**self.regions, **found.regions}
        advice = "Draw one mask for an image that is not cut, even if it has one for each half"
        _check_complete(self.uri, list(sizes), regions, advice)
        return replace(self, regions=regions)

    def check_sizes(self, sizes: Mapping[str, tuple[int, int]]) -> None:
        """Refuse regions of another size than their image.

        Args:
            sizes: Width and height of each image, in pixels, by its path.

        Raises:
            InputError: A size differs.
        """
        wrong = []
        for path, (width, height) in sizes.items():
            one = self.regions[path]
            if (one.width, one.height) != (width, height):
                of_region = f"its region {one.width} × {one.height} px"
                wrong.append(f"{path} has {width} × {height} px and {of_region}")
        if wrong:
            raise InputError(
                f"Expected the regions in {self.uri} to have the sizes of their images, but "
                f"{len(wrong)} of {len(sizes)} do not: {_tell(wrong, '; ')}. Draw them on the "
                "images as they are in --data, without resizing or cropping."
            )


def read_regions(
    uri: str, paths: Sequence[str], image_size: ImageSize, *, cut: bool = False
) -> GivenRegions:
    """Read the region of each image from a folder of masks or a COCO file.

    That every image has one is checked before any mask is decoded.

    Args:
        uri: The folder or the file, as a path or URI.
        paths: The paths of the images in their source.
        image_size: Height and width that the images are resized to.
        cut: See `find_regions`.

    Raises:
        InputError: There is no such place, an image has no region, or a region is unreadable or
            empty.
    """
    return _read_all(uri, find_regions(uri, paths, cut=cut), image_size)


def find_regions(
    uri: str, paths: Sequence[str], *, cut: bool = False
) -> dict[str, Callable[[], np.ndarray]]:
    """Find the region of each image by its name, and return what draws it; decode none.

    Args:
        uri: The folder or the file, as a path or URI.
        paths: The paths of the images in their source.
        cut: Whether films of both knees are cut. A region of each half then does for the film.

    Returns:
        By path of the image; if films are cut, by that of the film, or those of its halves.

    Raises:
        InputError: There is no such place, or an image has no region.
    """
    advice = "Check its spelling, and that this machine may read it."
    with expecting(f"--regions to be {_FORMS}", uri, advice, (OSError, ValueError, ImportError)):
        filesystem, path = open_filesystem(uri)
        kind = filesystem.get_file_info(path).type
    if kind == pyarrow.fs.FileType.Directory:
        return _find_masks(uri, paths, cut)
    if kind == pyarrow.fs.FileType.File and split_uri(uri)[0].lower().endswith(".json"):
        return _find_marks(uri, paths, cut)
    found = "does not exist" if kind == pyarrow.fs.FileType.NotFound else "is neither"
    raise InputError(f"Expected --regions to be {_FORMS}, but {uri} {found}. Check its spelling.")


def read_named_regions(
    uri: str, reader: Reader, named: Mapping[str, str], paths: Sequence[str], image_size: ImageSize
) -> GivenRegions:
    """Read the region of each image from the PNG mask that a manifest names.

    Args:
        uri: The manifest, for messages.
        reader: Fetches files by the paths that the manifest holds.
        named: By path of the image, the path of its mask.
        paths: The paths of the images.
        image_size: Height and width that the images are resized to.

    Raises:
        InputError: An image has no region, or a region is unreadable or empty.
    """
    advice = "Fill in the column region of every row, or remove the column"
    _check_complete(f"the column region of {uri}", paths, named, advice)
    drawn = {path: partial(_fetch, reader, named[path]) for path in paths}
    return _read_all(uri, drawn, image_size)


def _find_masks(uri: str, paths: Sequence[str], cut: bool) -> dict[str, Callable[[], np.ndarray]]:
    listed = open_folder(uri, labels_needed=False, flag="--regions").items["path"].tolist()
    names = [name for name in listed if name.lower().endswith(".png")]
    if not names:
        raise InputError(
            f"Expected --regions to be {_FORMS}, but the folder {uri} holds no PNG file. Put a "
            "mask for each image into it."
        )
    advice = "Name each mask as its image, with its folder where file names repeat"
    found = _match_all(uri, paths, names, cut, advice)
    reader = FileReader(uri)
    return {path: partial(_fetch, reader, name) for path, name in found.items()}


def _find_marks(uri: str, paths: Sequence[str], cut: bool) -> dict[str, Callable[[], np.ndarray]]:
    place, options = split_uri(uri)
    folder, _, name = place.rpartition("/")
    with expecting(
        "--regions to be a COCO file", uri, "Export it again.", (UnreadableImageError, ValueError)
    ):
        images = parse_coco(FileReader((folder or "/") + options).read(name, -1))
    marked = {name: image for name, image in images.items() if image.marks}
    advice = "Mark the region of each image, with the image's name as its `file_name`"
    found = _match_all(uri, paths, marked, cut, advice)
    return {path: marked[name].draw for path, name in found.items()}


def _match_all(
    uri: str, paths: Sequence[str], names: Iterable[str], cut: bool, advice: str
) -> dict[str, str]:
    """Return the name that belongs to each path; refuse images without one."""
    if not cut:
        found = match_names(paths, names)
        _check_complete(uri, paths, found, advice)
        return {path: found[path] for path in paths}
    of_films = match_films(paths, names)
    _check_complete(uri, list(of_films), [film for film in of_films if of_films[film]], advice)
    return {path: name for of_film in of_films.values() for path, name in of_film.items()}


def _check_complete(where: str, paths: Sequence[str], found: Collection[str], advice: str) -> None:
    missing = [path for path in paths if path not in found]
    if missing:
        raise InputError(
            f"Expected a region for every image in {where}, but {len(missing)} of {len(paths)} "
            f"images have none: {_tell(missing)}. {advice}; or leave these images out of --data. "
            "Whether an image has a region might give its class away."
        )


def _fetch(reader: Reader, name: str) -> np.ndarray:
    content = reader.read(name, -1)
    assert isinstance(content, bytes)  # as readers of files give
    return decode_mask(content)


def _read_all(
    uri: str, drawn: Mapping[str, Callable[[], np.ndarray]], image_size: ImageSize
) -> GivenRegions:
    regions, wrong = {}, []
    for path, draw in drawn.items():
        try:
            regions[path] = shrink_region(draw(), image_size)
        except (UnreadableImageError, ValueError) as error:
            wrong.append(f"that of {path} {_say(error)}")
    if wrong:
        raise InputError(
            f"Expected every region in {uri} to hold some pixels, but {len(wrong)} of {len(drawn)} "
            f"cannot be used: {_tell(wrong, '; ')}. Correct them, or leave these images out of "
            "--data; a larger --image-size helps those that are too small."
        )
    return GivenRegions(uri, regions, image_size, drawn)


def _draw_half(
    draw: Callable[[], np.ndarray], name: str, path: str, sizes: Mapping[str, tuple[int, int]]
) -> np.ndarray:
    """Draw the mask of a half: its own, or what the mask of the film holds of it.

    Args:
        draw: Reads the mask.
        name: The image that it is given for, the half or its film.
        path: The half.
        sizes: Width and height of the images that are used, by path.
    """
    mask = draw()
    film, half = read_half(path)
    width, height = sizes[path]
    if name == path and mask.shape[1] == width:
        return mask
    widths = [sizes[name][0] for name in (name_half(film, one) for one in HALVES) if name in sizes]
    fits = mask.shape[1] == sum(widths) if len(widths) > 1 else mask.shape[1] > width
    # Under the name of the film, a mask of half its width may be of either knee, and does not fit.
    if mask.shape[0] != height or not fits:
        raise ValueError(f"is {mask.shape[1]} × {mask.shape[0]} px, unlike its film")
    return mask[:, :width] if half == "left" else mask[:, -width:]


def _say(error: Exception) -> str:
    words = str(error)
    return words if words.startswith("is ") else f"cannot be read ({words})"


def _tell(items: Sequence[str], between: str = ", ") -> str:
    more = f"{between}and {len(items) - _TOLD} more" if len(items) > _TOLD else ""
    return between.join(items[:_TOLD]) + more
