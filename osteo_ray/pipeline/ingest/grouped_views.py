"""Read the images of a block group by group, and each group step by step.

A step that is done for some dozens of images in turn takes a quarter less time than all steps for
one image after the other, since its instructions and tables stay in the caches of the processor.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from osteo_ray.data.decoding.content import decode
from osteo_ray.data.decoding.result import Decoded, UnreadableImageError
from osteo_ray.data.laterality import Laterality
from osteo_ray.data.pixels import Bits
from osteo_ray.data.sources.readers import Reader
from osteo_ray.pipeline.ingest.films import View, find_file, find_views, show_square

_MOST_IMAGES = 64  # twice as many save another hundredth
_MOST_BYTES = 16 * 2**20  # of files and, again, of decoded pixels; the last one may exceed it

Row = dict[str, Any]
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class ViewGroup:
    """Some images of a block.

    Attributes:
        views: The images.
        items: The row of the source that each of them comes from.
        refused: A row for each item that could not be read, with the reason.
    """

    views: list[View]
    items: list[Row]
    refused: list[Row]


def read_groups(
    items: Sequence[Row], reader: Reader, laterality: Laterality, bits: Bits = 8
) -> Iterator[ViewGroup]:
    """Read images in groups that are small enough for memory, however large the images are.

    Args:
        items: Rows of a source.
        reader: Fetches the images.
        laterality: Whether films of both knees are cut in two.
        bits: Of the gray values.
    """

    def fetch(item: Row, _: object) -> bytes | np.ndarray:
        return reader.read(find_file(item["path"], laterality)[0], item["position"])

    def show(item: Row, content: bytes | np.ndarray) -> Decoded:
        return decode(content, bits, find_file(item["path"], laterality)[1])

    def find(item: Row, seen: tuple[Decoded, np.ndarray]) -> list[View]:
        return find_views(item["path"], *seen, item["side"], laterality)

    refused: list[Row] = []
    fetched = _try(fetch, ((item, None) for item in items), refused)
    for contents in _gather(fetched, _count_bytes):
        decoded = _try(show, contents, refused)
        for group in _gather(decoded, lambda one: one.pixels.nbytes):
            seen = [(item, (one, show_square(one.pixels))) for item, one in group]
            found = list(_try(find, seen, refused))
            views = [view for _, of_item in found for view in of_item]
            of_views = [item for item, of_item in found for _ in of_item]
            yield ViewGroup(views, of_views, refused.copy())
            refused.clear()
    if refused:
        yield ViewGroup([], [], refused)


def _count_bytes(content: bytes | np.ndarray) -> int:
    return content.nbytes if isinstance(content, np.ndarray) else len(content)


def _try(
    step: Callable[[Row, _In], _Out], pairs: Iterable[tuple[Row, _In]], refused: list[Row]
) -> Iterator[tuple[Row, _Out]]:
    """Do a step for each item, and note in `refused` those for which it cannot be done."""
    for item, value in pairs:
        try:
            done = step(item, value)
        except UnreadableImageError as error:
            path, label = item["path"], item["label"]
            refused.append({"item": path, "path": path, "label": label, "reason": str(error)})
        else:
            yield item, done


def _gather(
    pairs: Iterable[tuple[Row, _In]], measure: Callable[[_In], int]
) -> Iterator[list[tuple[Row, _In]]]:
    """Gather values until they are too many, or too large together."""
    group: list[tuple[Row, _In]] = []
    n_bytes = 0
    for item, value in pairs:
        group.append((item, value))
        n_bytes += measure(value)
        if len(group) == _MOST_IMAGES or n_bytes >= _MOST_BYTES:
            yield group
            group, n_bytes = [], 0
    if group:
        yield group
