"""List a set of files, in a folder or packed: by the tables among them, or by their folders."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import pandas as pd

from osteo_ray.base.errors import InputError
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.sources.classes import fold_label
from osteo_ray.data.sources.columns import choose_columns, find_column
from osteo_ray.data.sources.layouts import (
    Files,
    is_dicom_name,
    is_image_name,
    leave_out_annotations,
    read_folders,
)
from osteo_ray.data.sources.listing import Source, list_refused, tabulate_items
from osteo_ray.data.sources.manifests import TABLE_SUFFIXES, parse_table
from osteo_ray.data.sources.masks_beside import leave_out_masks
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.parts import tell_parts_of_paths
from osteo_ray.data.sources.patient_tables import add_patients
from osteo_ray.data.sources.readers import Reader
from osteo_ray.data.sources.rows import use_rows
from osteo_ray.data.sources.words import is_of_system, read_suffix

_METADATA = ("metadata", "manifest")
"""Names of tables that list images, as Hugging Face's image folders have them."""

Refused = Sequence[tuple[str, str]]


def list_unlabelled(uri: str, files: Files, refused: Refused, reader: Reader) -> Source:
    """List all images of a set of files; the label is the uppermost folder, if there is one.

    Args:
        uri: The source.
        files: The files.
        refused: Path and reason of what is no image.
        reader: Fetches the files.
    """
    files, notes = leave_out_annotations(files)
    rows = [
        {"path": path, "label": path.partition("/")[0] if "/" in path else "", "size": size}
        for path, size in files
        if ("/" in path or _may_be_image(path)) and not is_of_system(path)
    ]
    items = tabulate_items(rows)
    return Source(uri, "folders", items, list_refused(refused), reader, notes=tuple(notes))


def _may_be_image(path: str) -> bool:
    # Files of DICOM without a suffix bear numbers, as `IM0001` does and `README` does not.
    return is_image_name(path) or (is_dicom_name(path) and any(map(str.isdigit, path)))


def list_files(
    uri: str, kind: str, files: Files, refused: Refused, reader: Reader, options: SourceOptions
) -> Source:
    """List the images of a set of files, with their classes.

    Args:
        uri: The source.
        kind: See `Source`.
        files: The files.
        refused: Path and reason of what is no image.
        reader: Fetches the files.
        options: What the user says.

    Raises:
        InputError: The classes are not known, or contradict each other.
    """
    files, notes = leave_out_masks(files)
    tables = [path for path, _ in files if is_table(path)]
    named = [path for path in tables if PurePosixPath(path).stem.lower() in _METADATA]
    read = _read_tables(named, reader, options)
    if not read:
        of_parts = [path for path, part in tell_parts_of_paths(tables).items() if part]
        try:
            layout = read_folders(files, uri)
        except InputError as error:
            read = _read_tables(of_parts, reader, options)
            if not read:
                raise name_tables(error, uri, kind, tables) from None
        else:
            if len({row["label"] for row in layout.rows}) < 2:  # no class folders
                read = _read_tables(of_parts, reader, options)
        if not read:
            strays = list_refused([*refused, *layout.refused])
            unread = [path for path, _ in leave_out_annotations(files)[0] if is_table(path)]
            source = Source(
                uri,
                kind,
                tabulate_items(layout.rows),
                strays,
                reader,
                notes=(*notes, *layout.notes),
                n_levels=layout.n_levels,
                tables=tuple(unread),
            )
            has_classes = source.items["label"].nunique() > 1
            return add_patients(source, unread, options) if has_classes else source
    return _join_tables(uri, kind, files, [*refused], reader, options, read, notes)


def is_table(path: str) -> bool:
    """Tell whether a file is called like a table."""
    return read_suffix(path) in TABLE_SUFFIXES


def _read_tables(
    paths: Iterable[str], reader: Reader, options: SourceOptions
) -> dict[str, tuple[pd.DataFrame, list[str]]]:
    """Read those tables that name images and their classes."""
    found = {}
    for path in paths:
        try:
            content = reader.read(path, -1)
        except UnreadableImageError as error:
            raise InputError(
                f"Expected a table of images in {path}, but reading it failed: {error}. Correct "
                "or remove it."
            ) from None
        table, notes = parse_table(bytes(content), path, options.columns)
        names = [str(name) for name in table.columns]
        chosen = choose_columns(names, {}, path).names.keys() | {
            role for role, name in options.columns.items() if find_column(name, names)
        }
        if {"path", "label"} <= chosen:
            found[path] = (table, notes)
    return found


def _join_tables(
    uri: str,
    kind: str,
    files: Files,
    refused: list[tuple[str, str]],
    reader: Reader,
    options: SourceOptions,
    tables: Mapping[str, tuple[pd.DataFrame, list[str]]],
    notes: list[str],
) -> Source:
    items: list[pd.DataFrame] = []
    hints: dict[str, dict[str, str]] = {}
    attributes: dict[str, dict[str, str]] = {}
    regions: dict[str, str] = {}
    parts = tell_parts_of_paths(tables)
    for path, (table, said) in tables.items():
        folder = path.rpartition("/")[0]
        where = f"{uri.rstrip('/')}/{path}"
        part = use_rows(where, kind, table, options, reader=reader, folder=folder)
        rows = part.items
        rows["split"] = rows["split"].where(rows["split"] != "", parts[path])
        items.append(rows)
        refused += part.refused.itertuples(index=False, name=None)
        notes += [f"{path}: {note}" for note in (*said, *part.notes)]
        regions |= part.regions
        for joint, own in ((hints, part.hints), (attributes, part.attributes)):
            for name, values in own.items():
                joint.setdefault(name, {}).update(values)
    joined, more = _drop_repeated(pd.concat(items, ignore_index=True))
    refused += more
    sizes = dict(files)
    joined = joined.assign(size=[sizes.get(path, 0) for path in joined["path"]])
    listed = {*joined["path"], *(path for path, _ in refused)}
    named = ", ".join(tables)
    refused += [
        (path, f"not listed in {named}")
        for path, _ in files
        if path not in listed and is_image_name(path)
    ]
    rows = tabulate_items(joined.to_dict("records"))
    told = tuple(dict.fromkeys(notes))
    return Source(
        uri,
        kind,
        rows,
        list_refused(refused),
        reader,
        regions,
        notes=told,
        hints=hints,
        attributes=attributes,
        has_table=True,
    )


def _drop_repeated(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Keep the first row of each path, or none if its labels differ; return why others are refused.

    As in one table, nobody but the user can tell which of several labels is right.
    """
    of_path = rows.assign(folded=rows["label"].map(fold_label)).groupby("path")
    torn = of_path["folded"].transform("nunique") > 1
    twice = rows["path"].duplicated() & ~torn
    labels = rows[torn].groupby("path")["label"].agg(lambda own: ", ".join(sorted(set(own))))
    refused = [(path, f"listed with several labels: {labels[path]}") for path in rows["path"][torn]]
    refused += [(path, "listed in two tables") for path in rows["path"][twice]]
    return rows[~torn & ~twice], refused


def name_tables(error: InputError, uri: str, kind: str, tables: Sequence[str]) -> InputError:
    """Add to a message which tables of the source may list the images."""
    if not tables:
        return error
    what = "give it as --data"
    where = uri.rstrip("/") + "/"
    if kind == "packed":
        what, where = "unpack all files and give the table as --data", ""
    shown = ", ".join(where + path for path in tables[:3])
    return InputError(f"{error} If a table lists the images, {what}: {shown}.")
