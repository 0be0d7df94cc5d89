"""Recognize the kind of source that `--data` names, and list its images.

| source | recognized by |
|---|---|
| class folders, possibly below train/, val/, test/ | a folder |
| manifest | `.csv`, `.parquet`, or a folder that holds `manifest.csv` or `manifest.parquet` |
| Hugging Face table | `.parquet` with the images inside |
| archive like MedMNIST's | `.npz` |
| MONAI data list | `.json` |

Any of them may hold DICOM files, and lie on this machine or at a URI.
"""

from collections.abc import Callable
from pathlib import PurePosixPath

import pyarrow.fs

from osteo_ray.base.errors import InputError
from osteo_ray.base.paths import locate_data
from osteo_ray.base.remote import open_filesystem, split_uri
from osteo_ray.data.sources.archives import open_archive
from osteo_ray.data.sources.data_lists import open_data_list
from osteo_ray.data.sources.folders import open_folder
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.manifests import open_manifest
from osteo_ray.data.sources.unreadable import expecting

_MANIFEST_NAMES = ("manifest.csv", "manifest.parquet", "data.parquet", "data.npz")
_OPENERS: dict[str, Callable[[str], Source]] = {
    ".csv": open_manifest,
    ".parquet": open_manifest,
    ".npz": open_archive,
    ".json": open_data_list,
}


def open_source(data: str, *, labels_needed: bool = True) -> Source:
    """List the images of a source.

    Args:
        data: Path, relative or absolute, or URI; see the table at the top of this module.
        labels_needed: If False, a single class suffices, and a folder needs no class folders.

    Raises:
        InputError: There is nothing, or something that cannot be used.
    """
    uri = locate_data(data)
    kind, manifest = _inspect(uri)
    suffix = PurePosixPath(split_uri(uri)[0]).suffix.lower()
    if manifest:
        return open_source(manifest, labels_needed=labels_needed)
    if kind == pyarrow.fs.FileType.Directory:
        source = open_folder(uri, labels_needed=labels_needed)
    elif kind == pyarrow.fs.FileType.File and suffix in _OPENERS:
        source = _OPENERS[suffix](uri)
    else:
        what = "file of another kind" if kind == pyarrow.fs.FileType.File else "pipe or device"
        raise InputError(
            f"Expected --data to be a folder, or a file ending in {', '.join(_OPENERS)}, but "
            f"{uri} is a {what}. Give the folder or file that lists the images."
        )
    if labels_needed:
        _check_labels(source)
    elif source.items.empty:
        raise InputError(
            f"Expected images in {source.uri}, but found none.{_tell_refused(source)} Check that "
            "--data names the right place."
        )
    return source


def _inspect(uri: str) -> tuple[pyarrow.fs.FileType, str | None]:
    """Tell what a URI names and, if it is a folder, which file in it lists the images, if any."""
    with expecting(
        "--data to be a path or URI that can be opened",
        uri,
        "Check its spelling, and that this machine may read it.",
        (OSError, ValueError, ImportError),
    ):
        filesystem, path = open_filesystem(uri)
        kind = filesystem.get_file_info(path).type
        names = _MANIFEST_NAMES if kind == pyarrow.fs.FileType.Directory else ()
        held = [
            name
            for name in names
            if filesystem.get_file_info(f"{path}/{name}").type == pyarrow.fs.FileType.File
        ]
    if kind == pyarrow.fs.FileType.NotFound:
        raise InputError(
            "Expected --data to be a folder with a subfolder per class, or a file that lists the "
            f"images, but {uri} does not exist. Check its spelling."
        )
    place, options = split_uri(uri)
    return kind, f"{place.rstrip('/')}/{held[0]}{options}" if held else None


def _check_labels(source: Source) -> None:
    classes = sorted(source.items["label"].unique())
    if len(classes) >= 2:
        return
    if source.kind == "folders":
        expected = "at least two class folders with images"
        advice = "Put each image into a folder named after its class, or give a manifest."
    else:
        expected = "images of at least two classes"
        advice = "Add images of another class, or labels where they are missing."
    refused = _tell_refused(source)
    found = f"one: {classes[0]}" if classes else "none"
    raise InputError(f"Expected {expected} in {source.uri}, but found {found}.{refused} {advice}")


def _tell_refused(source: Source) -> str:
    if source.refused.empty:
        return ""
    path, reason = source.refused.iloc[0]
    what = "Files" if source.kind == "folders" else "Entries"
    return f" {what} refused: {len(source.refused)}; the first: {path} ({reason})."
