"""Take from tables beside class folders who is on an image, where only folders tell the classes."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from osteo_ray.base.errors import InputError
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.sources.columns import choose_columns, find_column
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.manifests import parse_table
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.patients import fold_patient
from osteo_ray.data.sources.rows import use_rows
from osteo_ray.data.sources.words import is_sentinel, tidy

_CLASS = "the class by its folder"  # stands for a column of classes, which is not read
_TAKEN = ("patient_id", "side", "site")


def add_patients(source: Source, tables: Sequence[str], options: SourceOptions) -> Source:
    """Return a source of class folders with the patients, sides and sites that tables name.

    Tables that do not name both images and patients are passed over; where no other is read, those
    of patients are asked about. Of tables that name different patients, the first counts.

    Args:
        source: The source.
        tables: Paths of the tables in it.
        options: What the user says.
    """
    items, notes, doubts = source.items.set_index("path"), [*source.notes], [*source.doubts]
    taken = [name for name in _TAKEN if name != "side" or options.laterality == "whole"]
    n_read, asked = 0, list[str]()
    for path in tables:
        try:
            part = _read_patients(source, path, options)
        except (InputError, UnreadableImageError):
            notes.append(f"`{path}` cannot be read as a table, so nobody it may name is known.")
            continue
        if isinstance(part, str):
            asked += [_ask_for_paths(path, part)] if part else []
            continue
        told = part.items.set_index("path")[taken]
        told = told[told.index.isin(items.index)]
        if told.empty:
            doubts.append(
                f"`{path}` names patients, but its paths lead to none of the images, so it is not "
                "read; correct the paths, or give a table with the columns path, label and patient "
                "as --data."
            )
            continue
        known = items.loc[told.index, taken]
        named = known != ""
        named["patient_id"] = ~known["patient_id"].map(is_sentinel)
        if n_others := _count_others(known, told):
            doubts.append(
                f"`{path}` names other patients than another table on {n_others} images, for which "
                "the other counts; remove the table that is wrong, or give one with the columns "
                "path, label and patient as --data."
            )
        items.loc[told.index, taken] = known.where(named | (told == ""), told)
        n_read += 1
        notes.append(
            f"`{path}` names the patients of {len(told)} of {len(items)} images. The classes are "
            "those of the folders."
        )
        notes += [f"{path}: {note}" for note in part.notes if _CLASS not in note]
        if not part.refused.empty:
            first, reason = part.refused.iloc[0]
            rows = f"Rows not used: {len(part.refused)}; the first: {first} ({reason})."
            notes.append(f"{path}: {rows}")
    return replace(
        source,
        items=items.reset_index()[source.items.columns],
        notes=tuple(notes),
        doubts=tuple(doubts if n_read else [*doubts, *asked]),
        has_table=n_read > 0,
    )


def _ask_for_paths(path: str, column: str) -> str:
    return (
        f"`{path}` names patients in its column `{tidy(column)}`, but no column of it is called "
        "like one of images, so it is not read; if one holds the names of their files, say which "
        "by --columns path=COLUMN."
    )


def _count_others(known: pd.DataFrame, told: pd.DataFrame) -> int:
    """Count the images for which both name a patient, but not the same."""
    pairs = zip(known["patient_id"], told["patient_id"], strict=True)
    return sum(
        fold_patient(one) != fold_patient(other)
        for one, other in pairs
        if not (is_sentinel(one) or is_sentinel(other))
    )


def _read_patients(source: Source, path: str, options: SourceOptions) -> Source | str:
    """Return what a table says of images, but for their classes.

    If it does not name images, return the name of its column of patients; "" if it has none.
    """
    content = source.reader.read(path, -1)
    table, _ = parse_table(bytes(content), path, options.columns)
    names = [str(name) for name in table.columns]
    columns = {
        role: name for role, name in options.columns.items() if not name or find_column(name, names)
    }
    columns |= {"label": _CLASS, "split": "", "slice": ""}
    table = pd.concat([table, pd.Series("any", table.index, name=_CLASS)], axis=1)
    chosen = choose_columns(list(table.columns), columns, path).names
    if not {"path", "patient"} <= chosen.keys():
        return chosen.get("patient", "")
    options = SourceOptions(columns)
    where = f"{source.uri.rstrip('/')}/{path}"
    folder = path.rpartition("/")[0]
    return use_rows(where, source.kind, table, options, reader=source.reader, folder=folder)
