"""MONAI data lists: JSON files that list image files by part."""

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from osteo_ray.data.sources.listing import SPLIT_SYNONYMS, Source
from osteo_ray.data.sources.readers import open_input
from osteo_ray.data.sources.rows import COLUMNS, name_column, use_rows
from osteo_ray.data.sources.unreadable import expecting


def open_data_list(uri: str) -> Source:
    """Open a data list: {"training": [{"image": …, "label": …}, …], "test": […]}.

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
        rows = list(_list_entries(json.loads(file.read())))
    return use_rows(uri, "list", pd.DataFrame(rows, columns=list(COLUMNS), dtype=object))


def _list_entries(content: Any) -> Iterator[dict[str, Any]]:
    """Go through the lists that hold images, and pass over those that only describe the set."""
    if not isinstance(content, dict):
        raise ValueError(f"found a {type(content).__name__}, not an object of lists")
    for part, entries in content.items():
        split = SPLIT_SYNONYMS.get(part.lower(), "")
        holds_images = isinstance(entries, list) and any(isinstance(e, dict) for e in entries)
        for number, entry in enumerate(entries if holds_images or split else ()):
            if isinstance(entry, str):  # a test set without labels, which its rows will show
                entry = {"image": entry}
            if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
                raise ValueError(f"entry {number} of {part} has no image")
            known = {name_column(name): value for name, value in entry.items()}
            yield {**known, "path": entry["image"], "split": split}
