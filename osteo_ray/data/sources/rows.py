"""Make a source of the rows of a table or list, and refuse the rows that cannot be used."""

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import is_local, split_uri
from osteo_ray.data.slices import name_slices
from osteo_ray.data.sources.classes import join_spellings
from osteo_ray.data.sources.columns import (
    TOLD,
    Columns,
    choose_columns,
    find_column,
    is_bare_identifier,
    may_name_splits,
)
from osteo_ray.data.sources.listing import Source, list_refused, tabulate_items, write_cell
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.parts import tell_parts
from osteo_ray.data.sources.readers import FileReader, Reader
from osteo_ray.data.sources.row_paths import locate_files, locate_path
from osteo_ray.data.sources.sides import name_halves, require_sides
from osteo_ray.data.sources.words import read_split_within

_FILES = re.compile(
    r"(?i).*\.(?:png|jpe?g|tiff?|bmp|gif|nii|nii\.gz|nrrd|mha|mhd|npy|npz|dcm|gz|json|xml|txt)"
)
_FEWEST_CLASSES_TO_DOUBT = 10
_INSIDE = "/inside"  # stands for the uppermost folder of a packed source
_OUTSIDE_SOURCE = "lies outside the source; give paths relative to the folder of the table"
_RELATIVE = "give paths relative to it, or the folder that holds all images by --root"
_OUTSIDE_FOLDER = f"lies outside the folder of the manifest; {_RELATIVE}"
_OUTSIDE_ROOT = f"lies outside --root; {_RELATIVE}"
_HINT = "hint "  # before the name of a column that may name patients


def read_roles(
    table: pd.DataFrame, uri: str, options: SourceOptions, needed: Sequence[str]
) -> tuple[dict[str, list[str]], Columns]:
    """Return the cells of each column that is read, as text, by role.

    Args:
        table: The table as it was read.
        uri: Its source, for messages.
        options: What the user says.
        needed: The roles that must be there.

    Returns:
        The cells by role; and the columns.

    Raises:
        InputError: A column is missing or holds something else than expected.
    """
    repeated = table.columns.duplicated()
    twice = tuple(dict.fromkeys(str(name) for name in table.columns[repeated]))
    table = table.loc[:, ~repeated]
    table.columns = [str(name) for name in table.columns]
    given = options.columns
    if options.lenient:
        there = list(table.columns)
        given = {role: name for role, name in given.items() if not name or find_column(name, there)}
    columns = replace(choose_columns(list(table.columns), given, uri), twice=twice)
    missing = [role for role in needed if role not in columns.names]
    if missing and not len(table.columns):
        raise InputError(
            f"Expected the columns {' and '.join(needed)} in {uri}, but it is empty. Write the "
            "table again."
        )
    if missing:
        found = ", ".join(table.columns)
        alone = columns.unread[0] if len(columns.unread) == len(missing) == 1 else "COLUMN"
        flags = " ".join(f"{role}={shlex.quote(alone)}" for role in missing)
        raise InputError(
            f"Expected the columns {' and '.join(needed)} in {uri}, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; the columns found are: {found}. "
            f"Say which of them hold what by --columns {flags}, or rename them."
        )
    cells = {
        role: [write_cell(value) for value in table[name]] for role, name in columns.names.items()
    }
    if "label" in columns.names:
        _check_plain(table[columns.names["label"]], columns.names["label"], uri)
    if "split" not in cells and "split" not in given:
        alias = next((n for n in columns.unread if may_name_splits(n, table[n])), None)
        if alias is not None:
            names = {**columns.names, "split": alias}
            unread = [name for name in columns.unread if name != alias]
            columns = replace(columns, names=names, unread=unread)
            cells["split"] = [write_cell(value) for value in table[alias]]
    for name in columns.unread:
        if is_bare_identifier(name) and "patient" not in given:
            cells[f"{_HINT}{name}"] = [write_cell(value) for value in table[name]]
    rows = cells.get("path") or [f"row {row + 1}" for row in range(len(table))]
    cells["split"] = _read_parts(cells.get("split", [""] * len(table)), rows, uri)
    return cells, columns


def _check_plain(values: Iterable[Any], column: str, uri: str) -> None:
    if any(isinstance(value, list | dict | np.ndarray) for value in values):
        raise InputError(
            f"Expected one class per image in the column `{column}` of {uri}, but found lists or "
            "objects. Give a column that holds one value each, by --columns label=COLUMN."
        )


def _read_parts(cells: Sequence[str], names: Sequence[str], uri: str) -> list[str]:
    """Return train, validation, test or "" for each cell of a column that tells the split."""
    splits = tell_parts(set(cells))
    for name, cell in zip(names, cells, strict=True):
        if cell and not splits[cell]:
            raise InputError(
                f"Expected the column split of {uri} to hold train, validation or test, but found "
                f"`{cell}` for {name}. Use these words, leave the column empty, or write "
                "--columns split= to leave it unread."
            )
    return [splits[cell] for cell in cells]


def check_label_values(labels: Sequence[str], uri: str) -> None:
    """Refuse labels that are no classes: names of files, or a value of its own for each image.

    Raises:
        InputError: They are.
    """
    distinct = {label for label in labels if label}
    files = [label for label in distinct if _FILES.fullmatch(label)]
    if files and 2 * len(files) > len(distinct):
        raise InputError(
            f"Expected the labels in {uri} to name classes, but they name files, such as "
            f"`{min(files)}`: masks, as for segmentation. Give the class of each image, by "
            "--columns label=COLUMN or in a manifest."
        )
    n_labelled = sum(map(bool, labels))
    if len(distinct) >= _FEWEST_CLASSES_TO_DOUBT and 2 * len(distinct) > n_labelled:
        raise InputError(
            f"Expected the labels in {uri} to name classes, but {n_labelled} images have "
            f"{len(distinct)} different labels, such as `{min(distinct)}`. Give a column that "
            "holds classes by --columns label=COLUMN, or divide the values into classes first."
        )


def use_rows(
    uri: str,
    kind: str,
    table: pd.DataFrame,
    options: SourceOptions,
    *,
    notes: Sequence[str] = (),
    reader: Reader | None = None,
    folder: str | None = None,
) -> Source:
    """Make a source of rows that name image files.

    Args:
        uri: Source of the rows.
        kind: See `Source`.
        table: Rows as they were read.
        options: What the user says.
        notes: What is to be told already.
        reader: Fetches the images by their path in the source, if they are not files in the folder
            that the table lies in, or in that which the user names.
        folder: The folder that paths are relative to, within what the reader reads.

    Raises:
        InputError: The paths or the labels are missing, or a split is unknown.
    """
    cells, columns = read_roles(table, uri, options, ("path", "label"))
    labels = cells["label"]
    check_label_values(labels, uri)
    names, said = join_spellings(labels, uri)
    cells["label"] = [names[label] for label in labels]
    place, query = split_uri(uri)
    root = here = place.rpartition("/")[0] or "/"
    is_second = options.lenient and reader is None
    if is_second and options.root and _lead_to_files(cells["path"], here):
        options = replace(options, root=None)
        said = ["Paths are relative to the folder of the table; --root is that of --data.", *said]
    outside = _OUTSIDE_SOURCE if reader else _OUTSIDE_ROOT if options.root else _OUTSIDE_FOLDER
    if reader is None:
        root = split_uri(options.root)[0].rstrip("/") if options.root else root
        reader = FileReader(root + query)
    elif folder is not None:
        root = split_uri(reader.root)[0] if isinstance(reader, FileReader) else _INSIDE
        root = root.rstrip("/")
        here = f"{root}/{folder}".rstrip("/")
    start = root if options.root else here
    doubtful: dict[int, str] = {}
    if isinstance(reader, FileReader) and is_local(root):
        part = read_split_within(PurePosixPath(place).stem)
        found, doubtful, told = locate_files(cells["path"], start, here, root, part)
        said = [*told, *said]
    else:
        found = [locate_path(path, start, here, root) for path in cells["path"]]
    if "slice" in cells:
        found = name_slices(found, cells["slice"], uri)
    if options.laterality == "split" and "side" in cells:
        cells["side"] = require_sides(cells["side"], uri)
        found = name_halves(found, cells["side"])
    reasons = _refuse_rows(found, cells["path"], cells["label"], outside)
    reasons = [doubtful.get(row, why) for row, why in enumerate(reasons)]
    shown = [path or given for path, given in zip(found, cells["path"], strict=True)]
    refused = [(path, why) for path, why in zip(shown, reasons, strict=True) if why]
    kept = [
        {
            "path": shown[row],
            "label": cells["label"][row],
            "patient_id": cells["patient"][row] if "patient" in cells else "",
            **{name: cells[name][row] for name in ("side", "site", "split") if name in cells},
        }
        for row, why in enumerate(reasons)
        if not why
    ]
    of_row = [(row, shown[row]) for row, why in enumerate(reasons) if not why]
    return Source(
        uri,
        kind,
        tabulate_items(kept),
        list_refused(refused),
        reader,
        _name_regions(cells.get("region", []), of_row, here, root),
        notes=(*notes, *columns.describe(), *said),
        hints=list_hints(cells, columns, of_row),
        attributes=list_attributes(cells, of_row),
    )


def _lead_to_files(paths: Iterable[str], folder: str) -> bool:
    """Tell whether some path leads to a file in a folder of this machine."""
    if not is_local(folder):
        return False
    inside = (locate_path(path, folder, folder, folder) for path in paths)
    return any(path and os.path.lexists(f"{folder}/{path}") for path in inside)


def _name_regions(
    cells: Sequence[str], of_row: Sequence[tuple[int, str]], here: str, root: str
) -> dict[str, str]:
    # A column of other values, such as parts of the body, is none of masks.
    if not any(name.lower().endswith(".png") for name in cells):
        return {}
    named = {path: cells[row] for row, path in of_row if cells[row]}
    return {path: locate_path(name, here, here, root) or name for path, name in named.items()}


def list_hints(
    cells: Mapping[str, Sequence[str]], columns: Columns, of_row: Iterable[tuple[int, str]]
) -> dict[str, dict[str, str]]:
    """Return the columns that may name patients: by their names, the value of each path.

    Args:
        cells: Cells by role, as `read_roles` returns them.
        columns: The columns.
        of_row: Number of the row and path of each image.
    """
    rows = list(of_row)
    hints = {role.removeprefix(_HINT): role for role in cells if role.startswith(_HINT)}
    if "study" in cells:
        hints[columns.names["study"]] = "study"
    return {name: {path: cells[role][row] for row, path in rows} for name, role in hints.items()}


def list_attributes(
    cells: Mapping[str, Sequence[str]], of_row: Iterable[tuple[int, str]]
) -> dict[str, dict[str, str]]:
    """Return the attributes that columns hold, by name: the value of each path."""
    rows = list(of_row)
    return {name: {path: cells[name][row] for row, path in rows} for name in TOLD if name in cells}


def _refuse_rows(
    found: Sequence[str], given: Sequence[str], labels: Sequence[str], outside: str
) -> list[str]:
    """Return the reason why each row cannot be used, or an empty string."""
    of_path: dict[str, set[str]] = {}
    for path, label in zip(found, labels, strict=True):
        of_path.setdefault(path, set()).update({label} - {""})
    seen: set[str] = set()
    reasons = []
    for path, raw, label in zip(found, given, labels, strict=True):
        several = len(of_path[path]) > 1
        if not path:
            reasons.append(outside if raw else "no path")
        elif not label:
            reasons.append("no label")
        elif several:
            reasons.append(f"listed with several labels: {', '.join(sorted(of_path[path]))}")
        else:
            reasons.append("listed twice" if path in seen else "")
        seen.update({path} if label else ())
    return reasons
