"""Data lists in JSON: MONAI's, which list image files by part, a plain list of them, or a map."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from osteo_ray.data.sources.columns import choose_columns
from osteo_ray.data.sources.layouts import is_image_name
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.readers import open_input
from osteo_ray.data.sources.rows import use_rows
from osteo_ray.data.sources.unreadable import expecting
from osteo_ray.data.sources.words import read_split


def open_data_list(uri: str, options: SourceOptions) -> Source:
    """Open a data list: {"training": [{"image": …, "label": …}, …], "test": […]}.

    It may also be the list of one part alone, or map each image file to its class, or to an object
    that holds it: {"1.png": "worn", …}.

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
        rows = list(_list_entries(content, options.columns))
    names = list(dict.fromkeys(["image", *(name for row in rows for name in row)]))
    if "label" not in choose_columns(names, {}, uri).names.keys() | options.columns.keys():
        names.append("label")  # so that each entry is refused for what it lacks
    cells = [[row.get(name) for name in names] for row in rows]
    return use_rows(uri, "list", pd.DataFrame(cells, columns=names, dtype=object), options)


def _list_entries(content: Any, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Go through the lists that hold images, and pass over those that only describe the set."""
    if isinstance(content, list) and any(isinstance(entry, dict) for entry in content):
        content = {"the list": content}
    if not isinstance(content, dict):
        raise ValueError(f"found a {type(content).__name__}, not an object of lists")
    if 2 * sum(map(is_image_name, content)) > len(content):
        for path, about in content.items():
            yield {**(about if isinstance(about, dict) else {"label": about}), "image": path}
        return
    for part, entries in content.items():
        split = read_split(part)
        holds_images = isinstance(entries, list) and any(isinstance(e, dict) for e in entries)
        for number, entry in enumerate(entries if holds_images or split else ()):
            if isinstance(entry, str):  # a test set without labels, which its rows will show
                entry = {"image": entry}
            column = _find_path(entry, columns)
            if column is None or not isinstance(entry[column], str):
                raise ValueError(f"entry {number} of {part} has no image")
            others = {name: value for name, value in entry.items() if name != column}
            if split or "split" not in others:
                others["split"] = split
            yield {"image": entry[column], **others}


def _find_path(entry: Any, columns: Mapping[str, str]) -> str | None:
    if not isinstance(entry, dict):
        return None
    names = {**choose_columns(list(entry), {}, "").names, **columns}
    return names["path"] if names.get("path") in entry else None
