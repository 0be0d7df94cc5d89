"""Sets in several files: Parquet tables as Hugging Face's Hub has them, or tars of WebDataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import split_uri
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.sources.layouts import Files, is_no_image
from osteo_ray.data.sources.listing import Source, list_refused, tabulate_items
from osteo_ray.data.sources.manifests import open_manifest
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.packed import open_packed
from osteo_ray.data.sources.parts import tell_parts_of_paths
from osteo_ray.data.sources.readers import Reader

_SUFFIXES = (".parquet", ".tar")


@dataclass(frozen=True)
class ShardsReader:
    """Fetches images from several files, each of which holds many.

    Attributes:
        readers: The reader of each file, by its path in the source.
    """

    readers: Mapping[str, Reader]

    def read(self, path: str, position: int) -> bytes | np.ndarray:
        """Fetch an image, whose path begins with that of its file; see `Reader.read`."""
        end = 0
        while (end := path.find("/", end + 1)) >= 0:
            if path[:end] in self.readers:
                return self.readers[path[:end]].read(path[end + 1 :], position)
        raise UnreadableImageError("lies in none of the files of the source")


def find_shards(files: Files) -> list[str]:
    """Return the Parquet or tar files of a set that consists of nothing else; else none."""
    paths = [path for path, _ in files]
    if not all(map(is_no_image, paths)):
        return []
    for suffix in _SUFFIXES:
        found = [path for path in paths if path.lower().endswith(suffix)]
        if found:
            return sorted(found)
    return []


def open_shards(uri: str, shards: Sequence[str], options: SourceOptions) -> Source:
    """List the images of several files as those of one source.

    The part of a split is what the name of a file, or of a folder that it lies in, says.

    Args:
        uri: The folder of the files.
        shards: Their paths in it.
        options: What the user says.

    Raises:
        InputError: A file cannot be used, or the files are of several sets.
    """
    place, query = split_uri(uri)
    items, refused, readers = [], [], {}
    notes: dict[str, None] = {}
    doubts: dict[str, None] = {}
    regions: dict[str, str] = {}
    hints: dict[str, dict[str, str]] = {}
    attributes: dict[str, dict[str, str]] = {}
    parts = tell_parts_of_paths(shards)
    for path in shards:
        where = f"{place.rstrip('/')}/{path}{query}"
        packed = path.lower().endswith(".tar")
        part = open_packed(where, options) if packed else open_manifest(where, options)
        if part.kind == "manifest":
            raise InputError(
                f"Expected the Parquet files in {uri} to hold the images, but {path} names image "
                f"files. Give that table as --data: {where}."
            )
        readers[path] = part.reader
        split = part.items["split"].where(part.items["split"] != "", parts[path])
        items.append(part.items.assign(path=path + "/" + part.items["path"], split=split))
        refused += [(f"{path}/{name}", why) for name, why in part.refused.to_numpy().tolist()]
        notes |= dict.fromkeys(part.notes)
        doubts |= dict.fromkeys(part.doubts)
        regions |= {f"{path}/{k}": f"{path}/{mask}" for k, mask in part.regions.items()}
        for joint, own in ((hints, part.hints), (attributes, part.attributes)):
            for name, values in own.items():
                joint.setdefault(name, {}).update({f"{path}/{k}": v for k, v in values.items()})
    joined = pd.concat(items, ignore_index=True)
    told = ", ".join(sorted(set(parts.values()) - {""})) or "none"
    first = f"The images are those of {len(shards)} files; parts of a split by their names: {told}."
    return Source(
        uri,
        "table",
        tabulate_items(joined.to_dict("records")),
        list_refused(refused),
        ShardsReader(readers),
        regions,
        notes=(first, *notes),
        doubts=tuple(doubts),
        hints=hints,
        attributes=attributes,
    )
