"""NPZ archives in the manner of MedMNIST: train_images, train_labels and so on."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from osteo_ray.data.listing import SPLIT_SYNONYMS, Source, list_refused, tabulate_items
from osteo_ray.data.readers import ArchiveReader, open_array, open_filesystem
from osteo_ray.errors import InputError


def open_archive(uri: str) -> Source:
    """List the images of an archive; `classes` and `…_patients` are read where they are there.

    Raises:
        InputError: It cannot be read, or lacks images or labels.
    """
    filesystem, path = open_filesystem(uri)
    try:
        with filesystem.open_input_file(path) as file:
            archive = np.load(file, allow_pickle=False)
            small = {
                name: archive[name]
                for name in archive.files
                if not name.endswith(("images", "masks"))
            }
            members = [name for name in archive.files if name.endswith("images")]
        shapes = {name: open_array(uri, name).shape for name in members}
    except (OSError, ValueError, KeyError, EOFError, AttributeError) as error:
        raise InputError(
            f"Expected an NPZ archive of plain arrays in {uri}, but: {str(error).splitlines()[0]}."
        ) from None
    except Exception as error:  # zipfile's errors share no base but Exception
        raise InputError(f"Expected an NPZ archive in {uri}, but: {error}.") from None
    if not members:
        raise InputError(
            f"Expected arrays named train_images, val_images, test_images or images in {uri}, but "
            f"found {', '.join(small) or 'none'}."
        )
    rows: list[dict[str, Any]] = []
    for name in members:
        rows += _list_array(uri, name, shapes[name], small)
    reader = ArchiveReader(uri)
    return Source(uri, "archive", tabulate_items(rows), list_refused([]), reader)


def _list_array(
    uri: str, name: str, shape: tuple[int, ...], small: dict[str, np.ndarray]
) -> Iterator[dict[str, Any]]:
    prefix = name.removesuffix("images")
    labels = small.get(f"{prefix}labels")
    if labels is None or len(labels) != shape[0] or labels.size != shape[0]:
        found = "none" if labels is None else f"shape {labels.shape}"
        raise InputError(
            f"Expected {prefix}labels in {uri} with one label for each of the {shape[0]} images, "
            f"but found {found}. Of several labels per image choose one."
        )
    classes = small.get("classes")
    patients = small.get(f"{prefix}patients")
    split = SPLIT_SYNONYMS.get(prefix.rstrip("_").lower(), "")
    for row, label in enumerate(labels.ravel().tolist()):
        named = classes is not None and isinstance(label, int) and 0 <= label < len(classes)
        yield {
            "path": f"{name}/{row:07d}",
            "position": row,
            "label": str(classes[label]) if named and classes is not None else str(label),
            "patient_id": "" if patients is None else str(patients[row]),
            "split": split,
        }
