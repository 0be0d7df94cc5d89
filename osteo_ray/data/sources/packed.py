"""Images packed into a zip or tar file: with class folders or tables inside, or as WebDataset."""

import functools
import json
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from osteo_ray.base.remote import first_line, split_uri
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.sources.file_sets import list_files
from osteo_ray.data.sources.layouts import Files, is_image_name
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.readers import LARGEST_FILE, open_input, say_too_large
from osteo_ray.data.sources.rows import use_rows
from osteo_ray.data.sources.unreadable import expecting

PACKED_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
_LABELS = ("cls", "txt", "json")
"""Endings of the files beside an image of a WebDataset that hold its class."""


@dataclass(frozen=True)
class PackedReader:
    """Fetches images from a zip or tar file.

    Attributes:
        uri: The file.
    """

    uri: str

    def read(self, path: str, position: int) -> bytes:
        """Fetch the bytes of an image by its path within the file; see `Reader.read`."""
        try:
            return _open_pack(self.uri).read(path)
        except UnreadableImageError:
            raise
        except KeyError:
            raise UnreadableImageError("is no longer in the archive") from None
        except (
            Exception
        ) as error:  # errors of zipfile, tarfile, zlib and lzma share no narrower base
            _open_pack.cache_clear()
            raise UnreadableImageError(f"cannot be read: {first_line(error)}") from None


class _Zip:
    def __init__(self, uri: str) -> None:
        self._archive = zipfile.ZipFile(open_input(uri))
        self._members = {
            _clean(member.filename): member
            for member in self._archive.infolist()
            if not member.is_dir()
        }
        self.files = [(path, member.file_size) for path, member in self._members.items()]

    def read(self, path: str) -> bytes:
        member = self._members[path]
        if member.flag_bits & 1:
            raise UnreadableImageError("is encrypted")
        _check_size(member.file_size)
        with self._archive.open(member) as file:  # a header may claim less than there is
            return file.read(LARGEST_FILE)


class _Tar:
    def __init__(self, uri: str) -> None:
        self._archive = tarfile.open(  # noqa: SIM115 - it stays open, as long as it is cached
            fileobj=open_input(uri), mode="r:*"
        )
        self._members = {_clean(member.name): member for member in self._archive if member.isfile()}
        self.files = [(path, member.size) for path, member in self._members.items()]

    def read(self, path: str) -> bytes:
        member = self._members[path]
        _check_size(member.size)
        file = self._archive.extractfile(member)
        return file.read() if file else b""


def _clean(path: str) -> str:
    return path.replace("\\", "/").removeprefix("./").lstrip("/")


def _check_size(size: int) -> None:
    if size > LARGEST_FILE:
        raise UnreadableImageError(say_too_large(size))


@functools.lru_cache(maxsize=4)
def _open_pack(uri: str) -> _Zip | _Tar:
    return _Zip(uri) if split_uri(uri)[0].lower().endswith(".zip") else _Tar(uri)


def open_packed(uri: str, options: SourceOptions) -> Source:
    """List the images of a zip or tar file as those of a folder with the same files.

    A tar file whose images have a file of the same name and the ending .cls, .txt or .json beside
    them is one of WebDataset.

    Raises:
        InputError: The file cannot be read, or the classes are not known.
    """
    with expecting(
        "a zip or tar file of images",
        uri,
        "Pack the folder of images again, or give the folder itself.",
        (Exception,),  # errors of zipfile, tarfile, zlib and lzma share no narrower base
    ):
        files = [
            (path, size)
            for path, size in _open_pack(uri).files
            if not any(part.startswith(".") for part in path.split("/"))
        ]
    reader = PackedReader(uri)
    samples = _find_samples(files)
    if samples:
        return _list_samples(uri, samples, reader, options)
    return list_files(uri, "packed", files, [], reader, options)


def _find_samples(files: Files) -> dict[str, Mapping[str, str]]:
    """Return the files of each sample of a WebDataset, by ending; empty if it is none."""
    samples: dict[str, dict[str, str]] = {}
    for path, _ in files:
        folder, slash, name = path.rpartition("/")
        key, _, ending = name.partition(".")
        samples.setdefault(folder + slash + key, {})[ending.lower()] = path
    found = {
        key: of_key
        for key, of_key in samples.items()
        if any(map(is_image_name, of_key.values())) and of_key.keys() & set(_LABELS)
    }
    n_images = sum(is_image_name(path) for path, _ in files)
    return {key: samples[key] for key in found} if 2 * len(found) > n_images else {}


def _list_samples(
    uri: str,
    samples: Mapping[str, Mapping[str, str]],
    reader: PackedReader,
    options: SourceOptions,
) -> Source:
    rows = []
    for of_key in samples.values():
        image = next(path for path in of_key.values() if is_image_name(path))
        label, more = _read_label(of_key, reader)
        rows.append({**more, "path": image, "label": label})
    names = list(dict.fromkeys(["path", "label", *(name for row in rows for name in row)]))
    table = pd.DataFrame(
        [[row.get(name) for name in names] for row in rows], columns=names, dtype=object
    )
    note = f"A WebDataset: {len(samples)} images, each with its class in a file beside it."
    source = use_rows(uri, "packed", table, options, notes=[note], reader=reader, folder="")
    return replace(source, has_table=True)


def _read_label(of_key: Mapping[str, str], reader: PackedReader) -> tuple[Any, dict[str, Any]]:
    """Return the class of a sample, and what a JSON file says beside it."""
    more: dict[str, Any] = {}
    if "json" in of_key:
        try:
            content = json.loads(reader.read(of_key["json"], -1))
        except (ValueError, RecursionError):
            content = None
        more = content if isinstance(content, dict) else {"label": content}
    text = next((of_key[ending] for ending in ("cls", "txt") if ending in of_key), None)
    if text is not None:
        return reader.read(text, -1).decode("utf-8", "replace"), more
    found = next((more[name] for name in ("label", "class", "cls", "target") if name in more), None)
    return found, {name: value for name, value in more.items() if name not in ("label", "path")}
