"""What a user may point `--data` at, turned into one listing of images and a way to read them.

| source | is recognised by |
|---|---|
| class folders, perhaps below train/, val/, test/ | a folder |
| manifest | `.csv`, `.parquet`, or a folder that holds `manifest.csv` or `manifest.parquet` |
| Hugging Face table | `.parquet` with images inside |
| MedMNIST-style archive | `.npz` |
| MONAI data list | `.json` |

Files may be DICOM in each of them. All may lie on this machine or at a URI.
"""

from collections.abc import Callable
from pathlib import PurePosixPath

import pyarrow.fs

from osteo_ray.base.errors import InputError
from osteo_ray.base.paths import locate_data
from osteo_ray.base.remote import first_line, open_filesystem, split_uri
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_json
from osteo_ray.data.sources.archives import open_archive
from osteo_ray.data.sources.folders import open_folder
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.manifests import open_list, open_manifest

_MANIFEST_NAMES = ("manifest.csv", "manifest.parquet", "data.parquet", "data.npz")
_OPENERS: dict[str, Callable[[str], Source]] = {
    ".csv": open_manifest,
    ".parquet": open_manifest,
    ".npz": open_archive,
    ".json": open_list,
}


def open_source(data: str, *, labels_needed: bool = True) -> Source:
    """List the images of a source.

    Args:
        data: Path, relative or absolute, or URI; see the top of this module.
        labels_needed: False where a single class will do, and a folder without class folders.

    Raises:
        InputError: There is nothing there, or not what was expected.
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
        what = "file" if kind == pyarrow.fs.FileType.File else "pipe or device"
        raise InputError(
            f"Expected --data to be a folder, or a file ending in {', '.join(_OPENERS)}, but "
            f"{uri} is a {what} of another kind. Give the folder or file that lists the images."
        )
    if labels_needed:
        _check_labels(source)
    elif source.items.empty:
        raise InputError(
            f"Expected images in {source.uri}, but found none.{_tell_refused(source)} Check that "
            "it is the right place."
        )
    return source


def _inspect(uri: str) -> tuple[pyarrow.fs.FileType, str | None]:
    """Say what is there and, of a folder, which file in it lists the images, if any."""
    try:
        filesystem, path = open_filesystem(uri)
        kind = filesystem.get_file_info(path).type
        names = _MANIFEST_NAMES if kind == pyarrow.fs.FileType.Directory else ()
        held = [
            name
            for name in names
            if filesystem.get_file_info(f"{path}/{name}").type == pyarrow.fs.FileType.File
        ]
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            f"Expected --data to be a path or URI that can be opened, but {uri}: "
            f"{first_line(error)}. Check its spelling, and that this machine may reach it."
        ) from None
    if kind == pyarrow.fs.FileType.NotFound:
        raise InputError(
            "Expected --data to be a folder with a subfolder per class, or a file that lists the "
            f"images, but {uri} does not exist. Check its spelling."
        )
    place, options = split_uri(uri)
    return kind, f"{place.rstrip('/')}/{held[0]}{options}" if held else None


def check_unchanged(source: Source, run: Run) -> None:
    """Refuse a source that is not what it was when a run began, if the run has begun.

    Raises:
        InputError: Names, labels or sizes have changed.
    """
    if not run.config.exists():
        return
    if read_json(run.environment)["source_fingerprint"] != source.fingerprint:
        raise InputError(
            f"Expected the files of {source.uri} to be those that the run {run.root} began with, "
            "but names, labels or sizes have changed. Choose another --out."
        )


def _check_labels(source: Source) -> None:
    classes = sorted(source.items["label"].unique())
    if len(classes) >= 2:
        return
    if source.kind == "folders":
        expected = "at least two class folders with images"
        advice = "Put each image into a folder named after its class, or give a manifest."
    else:
        expected = "images of at least two classes"
        advice = "Give each image its class."
    refused = _tell_refused(source)
    found = f"one: {classes[0]}" if classes else "none"
    raise InputError(f"Expected {expected} in {source.uri}, but found {found}.{refused} {advice}")


def _tell_refused(source: Source) -> str:
    if source.refused.empty:
        return ""
    path, reason = source.refused.iloc[0]
    return f" Refused: {len(source.refused)}; the first: {path} ({reason})."
