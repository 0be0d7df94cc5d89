"""NPZ archives like those of MedMNIST: train_images, train_labels and so on."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import tell_version
from osteo_ray.data.sources.columns import choose_columns
from osteo_ray.data.sources.listing import (
    Source,
    list_refused,
    name_class,
    tabulate_items,
    write_cell,
)
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.parts import tell_parts
from osteo_ray.data.sources.readers import ArchiveReader, open_array, open_input
from osteo_ray.data.sources.unreadable import expecting


def open_archive(uri: str, options: SourceOptions) -> Source:
    """List the images of an archive; the arrays `classes` and `…_patients` are optional.

    Arrays of patients may have any name that a column of patients may have.

    Raises:
        InputError: The archive cannot be read, or lacks images or labels.
    """
    del options  # its arrays have names of their own
    with (
        expecting(
            "an NPZ archive of plain arrays",
            uri,
            "Write it with numpy.savez_compressed, and text as arrays of text, not of objects.",
            (Exception,),  # errors of zipfile, zlib and NumPy share no narrower base
        ),
        open_input(uri) as file,
    ):
        archive = np.load(file, allow_pickle=False)
        members = [name for name in archive.files if name.endswith("images")]
        names = archive.files
        others = [name for name in names if not name.endswith(("images", "masks"))]
        small = {name: archive[name] for name in others}
        version = tell_version(uri)
        shapes = {name: open_array(uri, name, version).shape for name in members}
    if not members:
        raise InputError(
            f"Expected arrays named train_images, val_images, test_images or images in {uri}, but "
            f"found {', '.join(small) or 'none'}. Rename the arrays."
        )
    splits = tell_parts(name.removesuffix("images") for name in members)
    patients = {name: _find_patients(name, shapes[name], small) for name in members}
    rows = [
        row
        for name in members
        for row in _list_array(uri, name, shapes[name], small, patients[name], splits)
    ]
    _check_numbers(uri, members, small)
    refused = [(str(row["path"]), "no label") for row in rows if not row["label"]]
    items = tabulate_items(row for row in rows if row["label"])
    read = {"classes", *members, *patients.values(), *map(_name_labels, members)}
    unread = [f"`{name}`" for name in names if name not in read]
    notes = (f"Arrays not read: {', '.join(unread)}.",) if unread else ()
    return Source(uri, "archive", items, list_refused(refused), ArchiveReader(uri), notes=notes)


def _name_labels(images: str) -> str:
    return f"{images.removesuffix('images')}labels"


def _find_patients(images: str, shape: tuple[int, ...], small: Mapping[str, np.ndarray]) -> str:
    """Return the name of the array of patients beside one of images, or "".

    It is called like a column of patients, and holds a value for each image.
    """
    prefix = images.removesuffix("images")
    ends = [name.removeprefix(prefix) for name in small if name.startswith(prefix)]
    ends = [
        end for end in ends if end == "patients" or small[prefix + end].size == math.prod(shape[:1])
    ]
    found = choose_columns(ends, {}, "").names.get("patient")
    return prefix + found if found else ""


def _list_array(
    uri: str,
    name: str,
    shape: tuple[int, ...],
    small: Mapping[str, np.ndarray],
    patients_name: str,
    splits: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    count = shape[0] if shape else 0
    prefix = name.removesuffix("images")
    labels = _get_column(uri, small, _name_labels(name), count)
    if labels is None:
        raise InputError(
            f"Expected {prefix}labels in {uri} with one label for each of the {count} images of "
            f"{name}, but found {', '.join(small) or 'no other array'}. Rename the array of labels."
        )
    patients = _get_column(uri, small, patients_name, count)
    classes = small["classes"].ravel().tolist() if "classes" in small else None
    for row, label in enumerate(labels):
        yield {
            "path": f"{name}/{row:07d}",
            "position": row,
            "label": name_class(label, classes),
            "patient_id": "" if patients is None else write_cell(patients[row]),
            "split": splits[prefix],
        }


def _check_numbers(uri: str, members: Iterable[str], small: Mapping[str, np.ndarray]) -> None:
    """Refuse labels that count the classes from 1, as MATLAB does: each would have another name."""
    n_classes = small["classes"].size if "classes" in small else 0
    labels = [small[_name_labels(name)].ravel() for name in members]
    values = {value for column in labels for value in column.tolist()}
    numbers = {n for n in values if isinstance(n, int | float) and np.isfinite(n)}
    if n_classes and 0 not in numbers and max(numbers, default=0) == n_classes:
        raise InputError(
            f"Expected the labels in {uri} to count its {n_classes} classes from 0, but they go up "
            f"to {n_classes}, and none is 0. Subtract 1 from the labels, or leave out the array "
            "classes."
        )


def _get_column(
    uri: str, small: Mapping[str, np.ndarray], name: str, count: int
) -> list[Any] | None:
    """Return one value per image, or None if there is no such array."""
    if name not in small:
        return None
    values = small[name]
    if values.ndim == 0 or values.size != count or len(values) != count:
        raise InputError(
            f"Expected {name} in {uri} to hold one value for each of {count} images, but found an "
            f"array of shape {values.shape}. Keep a single value for each image."
        )
    found: list[Any] = values.ravel().tolist()
    return found
