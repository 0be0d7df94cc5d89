"""Recognize the kind of source that `--data` names, and list its images.

| source | recognized by |
|---|---|
| class folders, possibly with parts of a split above or below | a folder |
| tables beside the images | a folder with `metadata.csv` (`.jsonl` …) in it or in its parts |
| manifest | `.csv`, `.tsv`, `.jsonl`, `.parquet`, `.xlsx`, or a folder with `manifest.csv` … |
| Hugging Face table | `.parquet` with the images inside, or a folder of such files |
| archive like MedMNIST's | `.npz` |
| packed folder, WebDataset | `.zip`, `.tar` and compressed tar files, or a folder of `.tar` files |
| MONAI data list | `.json` |
| DICOM media | a file `DICOMDIR`; it lists images without classes |

Any of them may hold DICOM files, and lie on this machine or at a URI.
"""

from collections.abc import Callable, Iterable, Set
from dataclasses import replace

import pyarrow.fs

from osteo_ray.base.errors import InputError
from osteo_ray.base.paths import locate_data
from osteo_ray.base.remote import open_filesystem, split_uri
from osteo_ray.data.sources.archives import open_archive
from osteo_ray.data.sources.classes import doubt_classes, doubt_rows, join_spellings, spell_as
from osteo_ray.data.sources.data_lists import open_data_list
from osteo_ray.data.sources.file_sets import name_tables
from osteo_ray.data.sources.folders import open_folder
from osteo_ray.data.sources.listing import Source, list_refused
from osteo_ray.data.sources.manifests import TABLE_SUFFIXES, open_manifest
from osteo_ray.data.sources.media import DICOMDIR, open_media
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.packed import PACKED_SUFFIXES, open_packed
from osteo_ray.data.sources.patients import settle_patients
from osteo_ray.data.sources.unreadable import expecting

_MANIFEST_NAMES = (
    *(f"manifest{suffix}" for suffix in TABLE_SUFFIXES),
    *("data.parquet", "data.npz"),
)
_OPENERS: dict[str, Callable[[str, SourceOptions], Source]] = {
    **dict.fromkeys(TABLE_SUFFIXES, open_manifest),
    ".npz": open_archive,
    ".json": open_data_list,
    **dict.fromkeys(PACKED_SUFFIXES, open_packed),
}
_VOLUMES = (".nrrd", ".mha", ".mhd")
_VOLUME_REASON = (
    "a volume, not an image; save it as .nii.gz, or export the slices to use as PNG or DICOM files"
)
_CUT = (
    "Films of both knees are cut at the gap. Both halves have the label of their film, unless a "
    "table has a row for each side."
)
_SHEETS = (".xls", ".xlsb", ".ods")


def open_source(
    data: str, options: SourceOptions | None = None, *, labels_needed: bool = True
) -> Source:
    """List the images of a source.

    Args:
        data: Path, relative or absolute, or URI; see the table at the top of this module.
        options: What the user says about how it is to be read.
        labels_needed: If False, a single class suffices, and a folder needs no class folders.

    Raises:
        InputError: There is nothing, or something that cannot be used.
    """
    options = options or SourceOptions()
    uri = locate_data(data)
    kind, manifest = _inspect(uri)
    if manifest:
        return open_source(manifest, options, labels_needed=labels_needed)
    if kind == pyarrow.fs.FileType.Directory:
        source = open_folder(uri, options, labels_needed=labels_needed)
    elif _names_media(uri, kind):
        source = open_media(uri, options, labels_needed=labels_needed)
    else:
        source = _find_opener(uri, kind)(uri, options)
    if options.laterality == "split":
        source = replace(source, laterality="split", notes=(*source.notes, _CUT))
    _check_options(source, options)
    if not labels_needed:
        if source.items.empty:
            raise InputError(
                f"Expected images in {source.uri}, but found none.{_tell_refused(source)} Check "
                "that --data names the right place."
            )
        return source
    source = _join_classes(_refuse_volumes(source))
    _check_labels(source)
    source = settle_patients(source, options)
    return replace(source, notes=_show(source.notes), doubts=_show(source.doubts))


def open_second_source(data: str, options: SourceOptions, classes: Set[str]) -> Source:
    """List the images of a source that is to be compared with another one.

    Its classes are called as those of the other where only the spelling differs.

    Args:
        data: Path or URI; see `open_source`.
        options: What the user says about the first source; it counts for the second as far as that
            has such columns.
        classes: Of the first source.

    Raises:
        InputError: There is nothing, or something that cannot be used.
    """
    return _spell_as(open_source(data, replace(options, lenient=True)), classes)


def _spell_as(source: Source, classes: Set[str]) -> Source:
    names = spell_as(dict.fromkeys(source.items["label"]), classes)
    notes = [
        f"The class `{name}` is that which --data calls `{wanted}`."
        for name, wanted in sorted(names.items())
        if name != wanted
    ]
    items = source.items.assign(label=[names[label] for label in source.items["label"]])
    return replace(source, items=items, notes=(*source.notes, *_show(notes)))


def _show(sentences: Iterable[str]) -> tuple[str, ...]:
    """Return sentences as any terminal can show them, whatever names they quote."""
    return tuple(
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in sentence)
        for sentence in sentences
    )


def _names_media(uri: str, kind: pyarrow.fs.FileType) -> bool:
    name = split_uri(uri)[0].rpartition("/")[2].lower()
    return kind == pyarrow.fs.FileType.File and name == DICOMDIR


def _find_opener(uri: str, kind: pyarrow.fs.FileType) -> Callable[[str, SourceOptions], Source]:
    name = split_uri(uri)[0].lower()
    is_file = kind == pyarrow.fs.FileType.File
    opener = next((_OPENERS[end] for end in _OPENERS if name.endswith(end)), None)
    if is_file and opener is not None:
        return opener
    if is_file and name.endswith(_SHEETS):
        raise InputError(
            f"Expected --data to be a folder or a file ending in {', '.join(_OPENERS)}, but {uri} "
            "is a spreadsheet of another kind. Save it as .xlsx, or the sheet that lists the "
            "images as CSV, and give that."
        )
    what = "file of another kind" if is_file else "pipe or device"
    raise InputError(
        f"Expected --data to be a folder, or a file ending in {', '.join(_OPENERS)}, but "
        f"{uri} is a {what}. Give the folder or file that lists the images."
    )


def _check_options(source: Source, options: SourceOptions) -> None:
    """Refuse flags about tables where there is no table."""
    unfit = {
        "--columns": source.kind in ("folders", "packed", "archive") and not source.has_table,
        "--root": source.kind not in ("manifest", "list"),
    }
    given = {"--columns": options.columns, "--root": options.root}
    flags = [flag for flag in given if given[flag] and unfit[flag] and not options.lenient]
    if flags:
        raise InputError(
            f"Expected a table or list of images with {' and '.join(flags)}, but {source.uri} is "
            f"read without one. Leave {' and '.join(flags)} out, or give the table as --data."
        )


def _refuse_volumes(source: Source) -> Source:
    """Refuse files that hold volumes, not images, by their names."""
    volumes = source.items["path"].str.lower().str.endswith(_VOLUMES)
    more = [(path, _VOLUME_REASON) for path in source.items["path"][volumes]]
    refused = list_refused([*source.refused.itertuples(index=False, name=None), *more])
    items = source.items[~volumes].reset_index(drop=True)
    return replace(source, items=items, refused=refused)


def _join_classes(source: Source) -> Source:
    """Give all spellings of a class one name, and refuse images whose label says there is none."""
    names, notes = join_spellings(source.items["label"].tolist(), source.uri)
    notes = [note for note in notes if note not in source.notes]
    items = source.items.assign(label=[names[label] for label in source.items["label"]])
    unlabelled = items["label"] == ""
    kept = items[~unlabelled]
    more = [(path, "no label") for path in items["path"][unlabelled]]
    refused = list_refused([*source.refused.itertuples(index=False, name=None), *more])
    return replace(
        source,
        items=kept.reset_index(drop=True),
        refused=refused,
        notes=(*source.notes, *notes),
        doubts=(
            *source.doubts,
            *doubt_classes(kept["label"]),
            *doubt_rows(kept["path"].tolist(), kept["label"].tolist()),
        ),
    )


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
        if len(classes) == 1:
            advice += (
                f" If {classes[0]} is no class but holds the class folders, name it in --data."
            )
    else:
        expected = "images of at least two classes"
        advice = "Add images of another class, or labels where they are missing."
        if len(classes) == 1 and source.kind == "packed" and not source.has_table:
            advice += (
                f" If {classes[0]} is no class but holds the class folders, pack these without it."
            )
    refused = _tell_refused(source)
    found = f"one: {classes[0]}" if classes else "none"
    error = InputError(f"Expected {expected} in {source.uri}, but found {found}.{refused} {advice}")
    raise name_tables(error, source.uri, source.kind, source.tables)


def _tell_refused(source: Source) -> str:
    if source.refused.empty:
        return ""
    path, reason = source.refused.iloc[0]
    what = "Files" if source.kind == "folders" else "Entries"
    return f" {what} refused: {len(source.refused)}; the first: {path} ({reason})."
