"""Data lists in JSON: MONAI's, which list image files by part, a plain list of them, or a map."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from osteo_ray.data.sources.columns import choose_columns
from osteo_ray.data.sources.layouts import is_image_name
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.parts import tell_parts
from osteo_ray.data.sources.readers import open_input
from osteo_ray.data.sources.rows import use_rows
from osteo_ray.data.sources.unreadable import expecting


def open_data_list(uri: str, options: SourceOptions) -> Source:
    """Open a data list: {"training": [{"image": …, "label": …}, …], "test": […]}.

    It may also be the list of one part alone, or map each image file to its class, or to an object
    that holds it, of all parts or in each: {"1.png": "worn", …}.

    Raises:
        InputError: The file cannot be read, or is no such list.
    """
    with (
        expecting(
            "a MONAI data list, with lists such as training whose entries have image and label",
            uri,
            "Correct the file, or give another --data.",
            (OSError, ValueError, RecursionError),
        ),
        open_input(uri) as file,
    ):
        content = json.loads(file.read().decode("utf-8-sig"))
        path = options.columns.get("path") or "image"
        rows = list(_list_entries(content, path, options))
    options = replace(options, columns={**options.columns, "path": path})
    names = list(dict.fromkeys([path, *(name for row in rows for name in row)]))
    if "label" not in choose_columns(names, {}, uri).names.keys() | options.columns.keys():
        names.append("label")  # so that each entry is refused for what it lacks
    cells = [[row.get(name) for name in names] for row in rows]
    return use_rows(uri, "list", pd.DataFrame(cells, columns=names, dtype=object), options)


def _list_entries(content: Any, column: str, options: SourceOptions) -> Iterator[dict[str, Any]]:
    """Go through the lists that hold images, and pass over those that only describe the set.

    Args:
        content: What the file holds.
        column: The name under which each entry is to have its path.
        options: What the user says.
    """
    if isinstance(content, list) and any(isinstance(entry, dict) for entry in content):
        content = {"the list": content}
    if not isinstance(content, dict):
        raise ValueError(f"found a {type(content).__name__}, not an object of lists")
    if _maps_images(content):
        content = {"the map": content}
    splits = tell_parts(content)
    for part, entries in content.items():
        split = splits[part]
        if _maps_images(entries):
            entries = [_unfold(path, about, column) for path, about in entries.items()]
        holds_images = isinstance(entries, list) and any(isinstance(e, dict) for e in entries)
        for number, entry in enumerate(entries if holds_images or split else ()):
            if isinstance(entry, str):  # a test set without labels, which its rows will show
                entry = {column: entry}
            own = _find_path(entry, column, options)
            if own is None or not isinstance(entry[own], str):
                raise ValueError(f"entry {number} of {part} has no image")
            others = {name: value for name, value in entry.items() if name != own}
            if split or "split" not in others:
                others["split"] = split
            yield {**others, column: entry[own]}


def _maps_images(content: Any) -> bool:
    """Tell whether this is an object most of whose names are those of images."""
    return isinstance(content, dict) and 2 * sum(map(is_image_name, content)) > len(content)


def _unfold(path: str, about: Any, column: str) -> dict[str, Any]:
    """Return the entry of an image in a map; what the entry says of its path, a flag must name."""
    row = about if isinstance(about, dict) else {"label": about}
    is_named = column != "image" and column in row
    return row if is_named else {**row, column: path}


def _find_path(entry: Any, column: str, options: SourceOptions) -> str | None:
    if not isinstance(entry, dict):
        return None
    if column in entry:
        return column
    if options.columns.get("path") and not options.lenient:
        return None
    return choose_columns(list(entry), {}, "").names.get("path")
