"""Digests of files, kept in the folder of each file, and spare copies of what nothing can rebuild.

A file that is written alone has a note beside it, `.NAME.digest`. A folder that is written whole
has `.digests.json`, which lists all its files; `gather_digests` turns the notes of a folder that
many processes have filled into such a list. A note is written before its file appears, and says of
a file that is being replaced that both its old and its new content are sound. So whatever moment a
process dies at, no sound file looks damaged.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from osteo_ray.base.remote import RemotePath
from osteo_ray.base.storage import (
    LOCK,
    UNFINISHED,
    Place,
    digest_file,
    move_tree,
    remove_tree,
    walk_files,
    write_whole,
)

DIGESTS = ".digests.json"
"""Hidden, since a reader of tables may take all other files of a folder for parts of one."""
SPARE = "spare"
"""Folder beside records, which holds a second copy of each."""
_NOTE_START, _NOTE_END = ".", ".digest"
_READS = 16  # files at a time; most of the time, hashing does not hold Python's lock

Digests = Mapping[str, frozenset[str]]
"""By the name of a file, relative to a folder: SHA-256 of each content that is sound."""


# Writing


@contextmanager
def write_sealed(place: Place) -> Iterator[Path]:
    """Write a file as `write_whole` does, with a note of its digest beside it."""
    with write_whole(place) as unfinished:
        yield unfinished
        digest = digest_file(unfinished)
        before = {digest_file(place)} if place.is_file() else set()
        _write_note(place, {digest} | before)
    if before - {digest}:
        _write_note(place, {digest})


@contextmanager
def write_record(place: Place) -> Iterator[Path]:
    """Write a file that nothing else determines: as `write_sealed` does, with a spare copy."""
    with write_sealed(place) as unfinished:
        yield unfinished
        _copy(unfinished, place_spare(place))


def move_sealed(place: Place, target: Place) -> None:
    """Move a file to where it belongs, with a note of its digest."""
    _write_note(target, {digest_file(place)})
    move_tree(place, target)


def place_spare(place: Place) -> Place:
    """Return where the spare copy of a record is."""
    return place.parent / SPARE / place.name


def _copy(source: Place, target: Place) -> None:
    content = source.read_bytes()
    with write_whole(target) as unfinished:
        unfinished.write_bytes(content)


def seal_folder(folder: Path) -> None:
    """Write `.digests.json` for all files of a folder that is about to appear as a whole."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = {path.relative_to(folder).as_posix(): digest_file(path) for path in files}
    (folder / DIGESTS).write_text(_write_list(content), encoding="utf-8")


def _write_list(digests: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(digests.items())), indent=1, ensure_ascii=False) + "\n"


def _place_note(place: Place) -> Place:
    return place.with_name(f"{_NOTE_START}{place.name}{_NOTE_END}")


def _write_note(place: Place, digests: Collection[str]) -> None:
    with write_whole(_place_note(place)) as unfinished:
        unfinished.write_text("".join(f"{one}\n" for one in sorted(digests)), encoding="ascii")


# Reading


@dataclass(frozen=True)
class Tree:
    """The files below a folder, and what is known of their digests.

    Attributes:
        root: The folder.
        files: Names of the files, relative to it; notes and lists of digests aside.
        digests: What is noted of them.
        noted: Names of the files that have a note beside them.
        unreadable: Names of the folders whose list of digests cannot be read; empty for the root.
    """

    root: Place
    files: frozenset[str]
    digests: Digests
    noted: frozenset[str]
    unreadable: frozenset[str]

    @property
    def sealed(self) -> frozenset[str]:
        """Names of the folders in which some file has a digest."""
        return frozenset(name_parent(name) for name in self.digests)

    def place(self, name: str) -> Place:
        """Return where a file is."""
        return join_name(self.root, name)

    def is_blocked(self, name: str) -> bool:
        """Tell whether a folder stands where a file of this name would be."""
        place = self.place(name)
        return isinstance(place, Path) and place.is_dir()

    def is_sound(self, name: str, of: str | None = None) -> bool:
        """Tell whether a file has a digest that is noted for it, or for the file `of`."""
        try:
            return digest_file(self.place(name)) in self.digests[of or name]
        except FileNotFoundError:
            return False

    def find_unsound(self, names: Collection[str]) -> set[str]:
        """Return those of some files whose content is not that of their digest."""
        ordered = sorted(names)
        with ThreadPoolExecutor(_READS) as pool:
            return {
                name
                for name, sound in zip(ordered, pool.map(self.is_sound, ordered), strict=True)
                if not sound
            }


def join_name(root: Place, name: str) -> Place:
    """Return the place of a name that is relative to a folder; the folder's own name is empty."""
    if not name:
        return root
    return root.join(PurePosixPath(name)) if isinstance(root, RemotePath) else root / name


def name_parent(name: str) -> str:
    """Return the folder of a name; an empty text for that of all.

    Example:
        >>> name_parent("masks/a.parquet"), name_parent("plan.json")
        ('masks', '')
    """
    return name.rpartition("/")[0]


def read_tree(root: Place, takes: Callable[[str], bool] = lambda top: True) -> Tree:
    """List the files below a folder, and read what is noted of their digests.

    Args:
        root: The folder.
        takes: Tells of a name directly below it whether it is looked at.

    Raises:
        InputError: A link in it leads nowhere.
        OSError: It cannot be listed or read.
    """
    names = [name for name in _list_names(root, takes) if name not in (LOCK, UNFINISHED)]
    notes = {_name_noted(name): name for name in names if _is_note(name)}
    lists = [name for name in names if name.rpartition("/")[2] == DIGESTS]
    plain = frozenset(name for name in names if not _is_hidden(name)) - frozenset(lists)
    digests: dict[str, frozenset[str]] = {}
    unreadable = set()
    with ThreadPoolExecutor(_READS) as pool:
        for name, found in zip(lists, pool.map(lambda n: _read_list(root, n), lists), strict=True):
            folder = name_parent(name)
            if found is None:
                unreadable.add(folder)
                continue
            start = f"{folder}/" if folder else ""
            known = {f"{start}{inner}": frozenset((one,)) for inner, one in found.items()}
            digests |= {inner: one for inner, one in known.items() if takes(inner.split("/")[0])}
        places = [join_name(root, name) for name in notes.values()]
        for name, note in zip(notes, pool.map(_read_note, places), strict=True):
            digests[name] = note
    return Tree(root, plain, digests, frozenset(notes), frozenset(unreadable))


def _list_names(root: Place, takes: Callable[[str], bool]) -> list[str]:
    """List the names of files, hidden ones too, but not what lies in hidden folders."""
    if not isinstance(root, RemotePath):
        names = list(walk_files(root, takes)) if root.exists() else []
    elif root.is_in_store:
        start = len(root.key) + 1 if root.key else 0
        names = [path.key[start:] for path, _ in root.list_files()]
    else:  # a page of links may lead anywhere, and whoever serves it writes no digests
        names = []
    return sorted(
        name for name in names if name == DIGESTS or takes(_name_noted(name).split("/")[0])
    )


def _is_note(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last.startswith(_NOTE_START) and last.endswith(_NOTE_END)


def _name_noted(name: str) -> str:
    """Return the name of the file that a note is about; any other name as it is."""
    if not _is_note(name):
        return name
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.removeprefix(_NOTE_START).removesuffix(_NOTE_END)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _read_list(root: Place, name: str) -> dict[str, str] | None:
    place = join_name(root, name)
    if isinstance(place, Path) and not place.is_file():
        return None
    try:
        found = json.loads(place.read_bytes())
    except ValueError:
        return None
    texts = isinstance(found, dict) and all(isinstance(one, str) for one in found.values())
    return found if texts else None


def _read_note(place: Place) -> frozenset[str]:
    return frozenset(place.read_bytes().decode("ascii", errors="replace").split())


def read_digests(place: Place) -> frozenset[str]:
    """Return what is noted of a single file, beside it or in the list of its folder."""
    note = _place_note(place)
    if note.is_file():
        return _read_note(note)
    listed = _read_known(place.parent)
    return frozenset((listed[place.name],)) if place.name in listed else frozenset()


def _read_known(folder: Place) -> dict[str, str]:
    return (_read_list(folder, DIGESTS) if (folder / DIGESTS).is_file() else None) or {}


def is_damaged(place: Place) -> bool:
    """Tell whether a file that is there has another content than its digest says."""
    if not place.is_file():
        return False
    known = read_digests(place)
    return bool(known) and digest_file(place) not in known


# Keeping


def gather_digests(tree: Tree) -> None:
    """Move the notes of each folder into its list; a file that is being replaced keeps its note.

    Args:
        tree: As it was read when no process wrote into it any more.
    """
    of_folders: dict[str, dict[str, str]] = defaultdict(dict)
    for name, found in tree.digests.items():
        if len(found) == 1:
            of_folders[name_parent(name)][name.rpartition("/")[2]] = next(iter(found))
    settled = [name for name in tree.noted if len(tree.digests[name]) == 1]
    for folder in {name_parent(name) for name in settled}:
        _write_digests(join_name(tree.root, folder), of_folders[folder])
    for name in settled:
        _place_note(tree.place(name)).unlink(missing_ok=True)


def forget_digests(tree: Tree, names: Collection[str]) -> None:
    """Forget what is noted of some files, which are no longer there."""
    of_folders: dict[str, set[str]] = defaultdict(set)
    for name in names:
        of_folders[name_parent(name)].add(name.rpartition("/")[2])
    for folder, gone in of_folders.items():
        forget_files(join_name(tree.root, folder), gone)


def forget_files(folder: Place, names: Collection[str]) -> None:
    """Forget what is noted of some files of one folder, which are about to go or have gone."""
    for name in names:
        _place_note(folder / name).unlink(missing_ok=True)
    known = _read_known(folder)
    if known.keys() & set(names):
        _write_digests(folder, {n: one for n, one in known.items() if n not in names})


def seal_again(tree: Tree, folder: str, names: Collection[str]) -> None:
    """Write the list of a folder from some files that are in it, as its own was lost."""
    start = len(folder) + 1
    digests = {name[start:]: digest_file(tree.place(name)) for name in names}
    place = join_name(tree.root, folder)
    _write_digests(place, {**digests, **_read_known(place)})


def _write_digests(folder: Place, digests: Mapping[str, str]) -> None:
    if not digests:
        remove_tree(folder / DIGESTS)
        return
    with write_whole(folder / DIGESTS) as unfinished:
        unfinished.write_text(_write_list(digests), encoding="utf-8")
