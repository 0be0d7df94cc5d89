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

from osteo_ray.data.archives import open_archive
from osteo_ray.data.folders import open_folder
from osteo_ray.data.listing import Source
from osteo_ray.data.manifests import open_list, open_manifest
from osteo_ray.data.readers import open_filesystem
from osteo_ray.errors import InputError

_MANIFEST_NAMES = ("manifest.csv", "manifest.parquet", "data.parquet", "data.npz")
_OPENERS: dict[str, Callable[[str], Source]] = {
    ".csv": open_manifest,
    ".parquet": open_manifest,
    ".npz": open_archive,
    ".json": open_list,
}


def open_source(data: str) -> Source:
    """List the images of a source.

    Args:
        data: Path or URI; see the top of this module.

    Raises:
        InputError: There is nothing there, or not what was expected.
    """
    uri = data.removeprefix("file://") if data.startswith("file://") else data
    suffix = PurePosixPath(uri.partition("?")[0]).suffix.lower()
    found = _inspect(uri)
    if found == pyarrow.fs.FileType.Directory:
        manifest = _find_manifest(uri)
        source = open_source(manifest) if manifest else open_folder(uri)
    elif suffix in _OPENERS:
        source = _OPENERS[suffix](uri)
    else:
        raise InputError(
            f"Expected --data to be a folder, or a file ending in {', '.join(_OPENERS)}, but got "
            f"{data}."
        )
    _check_labels(source)
    return source


def _find_manifest(uri: str) -> str | None:
    """Return the file in a folder that lists its images, or holds them, if there is one."""
    filesystem, root = open_filesystem(uri)
    for name in _MANIFEST_NAMES:
        if filesystem.get_file_info(f"{root}/{name}").type == pyarrow.fs.FileType.File:
            place, mark, query = uri.partition("?")
            return f"{place.rstrip('/')}/{name}{mark}{query}"
    return None


def _inspect(uri: str) -> pyarrow.fs.FileType:
    try:
        filesystem, path = open_filesystem(uri)
        info = filesystem.get_file_info(path)
    except (OSError, ValueError, ImportError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"Expected --data to be a path or URI that can be opened, but {uri}: {reason}. Check "
            "its spelling, and that this machine may reach it."
        ) from None
    if info.type == pyarrow.fs.FileType.NotFound:
        raise InputError(
            "Expected --data to be a folder with a subfolder per class, or a file that lists the "
            f"images, but {uri} does not exist."
        )
    return info.type


def _check_labels(source: Source) -> None:
    classes = sorted(source.items["label"].unique())
    if not classes:
        raise InputError(
            f"Expected images in subfolders of {source.uri}, one subfolder per class, but found "
            "none. Put each image into a folder named after its class."
            if source.kind == "folders"
            else f"Expected a row per image in {source.uri}, but not one of "
            f"{len(source.refused)} can be used"
            + (f"; the first: {source.refused['reason'].iloc[0]}." if len(source.refused) else ".")
        )
    if len(classes) < 2:
        where = "class folders with images" if source.kind == "folders" else "classes"
        raise InputError(
            f"Expected at least two {where} in {source.uri}, but found one: {classes[0]}."
        )
