"""Images packed into a zip or tar file: with class folders or tables inside, or as WebDataset."""

import functools
import json
import posixpath
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from osteo_ray.base.errors import InputError
from osteo_ray.base.paths import write_path
from osteo_ray.base.remote import first_line, split_uri, tell_version
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.laterality import read_half
from osteo_ray.data.slices import read_slice
from osteo_ray.data.sources.file_sets import is_table, list_files
from osteo_ray.data.sources.layouts import Files, is_image_name, is_no_image
from osteo_ray.data.sources.listing import NO_UTF8, Source, list_refused
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.parts import tell_parts_of_paths
from osteo_ray.data.sources.readers import LARGEST_FILE, open_input, say_too_large
from osteo_ray.data.sources.rows import use_rows
from osteo_ray.data.sources.unreadable import expecting
from osteo_ray.data.sources.words import cut_suffix, names_masks

PACKED_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
_LABELS = ("cls", "txt", "json")
"""Endings of the files beside an image of a WebDataset that hold its class."""
_NAMES = ("label", "class", "cls", "target")
"""Names of the class in a JSON file of a WebDataset."""

Sample = Mapping[str, str]
"""The files of a sample of a WebDataset, by ending."""
Refused = list[tuple[str, str]]


@dataclass(frozen=True)
class PackedReader:
    """Fetches images from a zip or tar file.

    Attributes:
        uri: The file.
        below: The folder in it that paths are relative to, with a slash, or "".
    """

    uri: str
    below: str = ""

    def read(self, path: str, position: int) -> bytes:
        """Fetch the bytes of an image by its path within the file; see `Reader.read`."""
        try:
            return _open_pack(self.uri, tell_version(self.uri)).read(self.below + path)
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
        self.refused: Refused = []

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
        found = {_clean(member.name): member for member in self._archive if not member.isdir()}
        targets = {path: _follow(path, found) for path in found}
        named = {path: member for path, member in targets.items() if path == write_path(path)}
        self._members = {path: member for path, member in named.items() if member}
        self.files = [(path, member.size) for path, member in self._members.items()]
        self.refused: Refused = [
            (path, "not a regular file, nor a link to one in the archive")
            for path, member in named.items()
            if not member
        ]
        self.refused += [(write_path(path), NO_UTF8) for path in targets if path not in named]

    def read(self, path: str) -> bytes:
        member = self._members[path]
        _check_size(member.size)
        file = self._archive.extractfile(member)
        return file.read() if file else b""


def _clean(path: str) -> str:
    return posixpath.normpath(path.replace("\\", "/")).lstrip("/")


def _follow(path: str, members: Mapping[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """Return the regular file that a path in a tar file names or leads to, if there is one."""
    seen: set[str] = set()
    while path in members and path not in seen:
        seen.add(path)
        member = members[path]
        if member.isfile():
            return member
        # A hard link names a path in the archive, a symbolic one starts from where it lies.
        name = member.linkname
        path = posixpath.join(posixpath.dirname(path), name) if member.issym() else _clean(name)
        path = posixpath.normpath(path)
    return None


def _check_size(size: int) -> None:
    if size > LARGEST_FILE:
        raise UnreadableImageError(say_too_large(size))


@functools.lru_cache(maxsize=4)
def _open_pack(uri: str, version: object) -> _Zip | _Tar:
    return _Zip(uri) if split_uri(uri)[0].lower().endswith(".zip") else _Tar(uri)


def open_packed(uri: str, options: SourceOptions) -> Source:
    """List the images of a zip or tar file as those of a folder with the same files.

    Where most images have a file of the same name and the ending .cls beside them, or one ending
    in .json that holds a class, it is a WebDataset; and so it is where such a file ends in .txt and
    neither folders nor tables tell the classes.

    Raises:
        InputError: The file cannot be read, or the classes are not known.
    """
    with expecting(
        "a zip or tar file of images",
        uri,
        "Pack the folder of images again, or give the folder itself.",
        (Exception,),  # errors of zipfile, tarfile, zlib and lzma share no narrower base
    ):
        pack = _open_pack(uri, tell_version(uri))
    files = [(path, size) for path, size in pack.files if not _is_hidden(path)]
    refused = [(path, why) for path, why in pack.refused if not _is_hidden(path)]
    refused += [
        (path, "leads out of the archive") for path, _ in pack.files if path.startswith("../")
    ]
    reader = PackedReader(uri)
    samples = _find_samples(files)
    if not any(_names_class(of_key, reader, options) for of_key in samples.values()):
        texts = any("txt" in of_key for of_key in samples.values())
        fewest = 2 if texts else 1 if samples else 0  # a lone folder may stand for no class
        try:
            source = list_files(uri, "packed", files, refused, reader, options)
        except InputError:
            if not samples or any(is_table(path) for path, _ in files):
                raise
        else:
            if wrapper := _find_wrapper(source, files):
                inner = [(path, size) for path, size in files if path.startswith(wrapper)]
                inner = [(path.removeprefix(wrapper), size) for path, size in inner]
                reader = PackedReader(uri, wrapper)
                source = list_files(uri, "packed", inner, refused, reader, options)
            if source.items["label"].nunique() >= fewest:
                return _refuse_missing(
                    source, {path.removeprefix(reader.below) for path, _ in pack.files}
                )
    source = _list_samples(uri, samples, reader, options)
    refused += _list_strays(files, samples)
    more = [*source.refused.itertuples(index=False, name=None), *refused]
    return replace(source, refused=list_refused(more), has_table=True)


def _find_wrapper(source: Source, files: Files) -> str:
    """Return the folder that a packed file was made of, with a slash, if it holds the classes.

    Systems pack the folder `knees` as `knees.zip`, with nothing but `knees` in it.
    """
    name = split_uri(source.uri)[0].rpartition("/")[2]
    end = next((end for end in PACKED_SUFFIXES if name.lower().endswith(end)), "")
    wrapper = name[: len(name) - len(end)]
    if source.has_table or set(source.items["label"]) != {wrapper}:
        return ""
    inside = [path.removeprefix(f"{wrapper}/") for path in source.items["path"]]
    strays = [path for path, _ in files if "/" not in path and is_image_name(path)]
    strays += [path for path in inside if "/" not in path and not is_no_image(path)]
    folders = {path.partition("/")[0] for path in inside if "/" in path}
    return f"{wrapper}/" if len(folders) >= 2 and not strays else ""


def _refuse_missing(source: Source, files: set[str]) -> Source:
    """Refuse what a table names but the packed file does not hold."""
    if not source.has_table:
        return source
    ways = [(path, read_slice(read_half(path)[0])[0]) for path in source.items["path"]]
    there = pd.Series([not files.isdisjoint(way) for way in ways], source.items.index, dtype=bool)
    reason = "not in the archive; give paths as they are in it, relative to the folder of the table"
    more = [(path, reason) for path in source.items["path"][~there]]
    refused = list_refused([*more, *source.refused.itertuples(index=False, name=None)])
    return replace(source, items=source.items[there].reset_index(drop=True), refused=refused)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _find_samples(files: Files) -> dict[str, Sample]:
    """Return the files of each sample of a WebDataset, by ending; empty if it is none."""
    samples: dict[str, dict[str, str]] = {}
    for path, _ in files:
        folder, slash, name = path.rpartition("/")
        key, _, ending = name.partition(".")
        samples.setdefault(folder + slash + key, {})[ending.lower()] = path
    shown: dict[str, Sample] = {key: one for key, one in samples.items() if _list_images(one)}
    found = {key: of_key for key, of_key in shown.items() if of_key.keys() & set(_LABELS)}
    return found if 2 * len(found) > len(shown) else {}


def _is_mask(ending: str, path: str) -> bool:
    return is_image_name(path) and names_masks(cut_suffix(ending))


def _list_images(of_key: Sample) -> list[str]:
    """Return the images of a sample that are no masks; one with nothing before its suffix first."""
    images = [ending for ending, path in of_key.items() if is_image_name(path)]
    shown = [ending for ending in images if not _is_mask(ending, of_key[ending])]
    return [of_key[ending] for ending in sorted(shown, key=lambda ending: "." in ending)]


def _names_class(of_key: Sample, reader: PackedReader, options: SourceOptions) -> bool:
    """Tell whether the files of a sample hold its class beyond doubt, rather than boxes or so."""
    if "cls" in of_key:
        return True
    try:
        about = _read_json(of_key, reader)
    except UnreadableImageError:
        return False
    names = (*_NAMES, options.columns.get("label", ""))
    return any(isinstance(about.get(name), str | int | float) for name in names)


def _list_strays(files: Files, samples: Mapping[str, Sample]) -> Refused:
    """Return the images that are in no sample, and those that are not the first of theirs."""
    further = {path for of_key in samples.values() for path in _list_images(of_key)[1:]}
    within = {path for of_key in samples.values() for path in of_key.values()}
    return [
        (path, "a further image of a sample" if path in further else "no class in a file beside it")
        for path, _ in files
        if path in further or (is_image_name(path) and path not in within)
    ]


def _list_samples(
    uri: str,
    samples: Mapping[str, Sample],
    reader: PackedReader,
    options: SourceOptions,
) -> Source:
    rows, refused = [], []
    for of_key in samples.values():
        image = _list_images(of_key)[0]
        try:
            label, more = _read_label(of_key, reader)
        except UnreadableImageError as error:
            refused.append((image, f"its class is not known, as a file beside it {error}"))
        else:
            rows.append({**more, "path": image, "label": label})
    names = list(dict.fromkeys(["path", "label", *(name for row in rows for name in row)]))
    table = pd.DataFrame(
        [[row.get(name) for name in names] for row in rows], columns=names, dtype=object
    )
    notes = [f"A WebDataset: {len(samples)} images, each with its class in a file beside it."]
    masks = [one[1] for of_key in samples.values() for one in of_key.items() if _is_mask(*one)]
    if masks:
        told = f"{len(masks)} images of samples are masks by their endings, such as `{min(masks)}`"
        notes.append(f"{told}, and are passed over.")
    source = use_rows(uri, "packed", table, options, notes=notes, reader=reader, folder="")
    refused += source.refused.itertuples(index=False, name=None)
    return replace(_add_parts(source), refused=list_refused(refused))


def _add_parts(source: Source) -> Source:
    """Take the part of a split from the folder of an image whose sample names none."""
    folders = [posixpath.dirname(path) for path in source.items["path"]]
    parts = tell_parts_of_paths({f"{folder}/any" for folder in folders})
    found = pd.Series([parts[f"{folder}/any"] for folder in folders], source.items.index, dtype=str)
    if not found.any():
        return source
    split = source.items["split"].where(source.items["split"] != "", found)
    told = ", ".join(sorted(set(found) - {""}))
    notes = (*source.notes, f"Folders of the samples name parts of a split: {told}.")
    return replace(source, items=source.items.assign(split=split), notes=notes)


def _read_label(of_key: Sample, reader: PackedReader) -> tuple[Any, dict[str, Any]]:
    """Return the class of a sample, and what a JSON file says beside it."""
    more = _read_json(of_key, reader)
    text = next((of_key[ending] for ending in ("cls", "txt") if ending in of_key), None)
    if text is not None:
        return reader.read(text, -1).decode("utf-8", "replace"), more
    found = next((more[name] for name in _NAMES if name in more), None)
    return found, {name: value for name, value in more.items() if name not in ("label", "path")}


def _read_json(of_key: Sample, reader: PackedReader) -> dict[str, Any]:
    """Return what a JSON file says of a sample: an object, or the class alone."""
    if "json" not in of_key:
        return {}
    try:
        content = json.loads(reader.read(of_key["json"], -1))
    except (ValueError, RecursionError):
        raise UnreadableImageError("holds no valid JSON") from None
    return content if isinstance(content, dict) else {"label": content}
