"""Which region belongs to which image, as far as names tell."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from osteo_ray.data.laterality import HALVES, name_half, read_half


def match_names(paths: Sequence[str], names: Iterable[str]) -> dict[str, str]:
    """Find the name that belongs to each path.

    The whole name belongs to it, or the name but for what follows its last dot if no two paths have
    it in common, or that without its folders if no two paths end in it. Names that belong to no
    path may be spelled otherwise, in capitals or with accents composed or not, as long as this
    leaves no choice.

    Example:
        >>> match_names(["a/1.jpg", "b/X2.jpg"], ["a/1.png", "x2.png"])
        {'a/1.jpg': 'a/1.png', 'b/X2.jpg': 'x2.png'}
    """
    names = list(names)
    found = _match(paths, names)
    left = [path for path in paths if path not in found]
    spare = set(names).difference(found.values())
    if not left or not spare:
        return found
    spelled: dict[str, list[str]] = {}
    for name in spare:
        spelled.setdefault(_respell(name), []).append(name)
    # All paths, since one that has its name already must not lend its spelling to another.
    counts = Counter(map(_respell, dict.fromkeys(paths)))
    respelled = _match(list(counts), spelled)
    for path in left:
        spelling = _respell(path)
        if counts[spelling] == 1 and spelling in respelled:
            candidates = spelled[respelled[spelling]]
            if len(candidates) == 1:
                found[path] = candidates[0]
    return found


def match_films(paths: Sequence[str], names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Find the names that belong to images, some of which may be films that are cut.

    A film has a name of its own, or else one for each half that is used. Which images are such
    films only their pixels tell, so any image may be one.

    Args:
        paths: Those of images, or of single halves.
        names: What may belong to them; that of a half is called `1.png#left`, or `1#left`, or so
            with a suffix.

    Returns:
        For each image without `#`, the names by path: by its own, by those of its halves, or none.

    Example:
        >>> match_films(["1.png", "2.png"], ["1.png", "2#left.png", "2#right.png"])["2.png"]
        {'2.png#left': '2#left.png', '2.png#right': '2#right.png'}
    """
    names, halves = list(names), dict[str, dict[str, None]]()  # like a set, but in order
    for path in paths:
        film, half = read_half(path)
        used = [path] if half else [name_half(film, one) for one in HALVES]
        halves.setdefault(film, {}).update(dict.fromkeys(used))
    whole = match_names(list(halves), names)
    parts = match_names([half for of_film in halves.values() for half in of_film], names)
    found: dict[str, dict[str, str]] = {}
    for film, of_film in halves.items():
        if film in whole:
            found[film] = {film: whole[film]}
        else:
            all_there = all(half in parts for half in of_film)
            found[film] = {half: parts[half] for half in of_film} if all_there else {}
    return found


def _match(paths: Sequence[str], names: Iterable[str]) -> dict[str, str]:
    known: dict[str, set[str]] = {}
    for name in names:
        for form in _list_forms(name):
            known.setdefault(form, set()).add(name)
    stems = Counter(form for path in paths for form in _list_forms(path))
    ends = Counter(end for path in paths for end in _list_forms(PurePosixPath(path).name))
    found = {}
    for path in paths:
        # What `1.png` and `1.jpg` have in common tells neither of them.
        own = [form for form in _list_forms(path) if form == path or stems[form] == 1]
        flat = [form for form in _list_forms(PurePosixPath(path).name) if ends[form] == 1]
        for form in (*own, *flat):
            if len(known.get(form, ())) == 1:
                (found[path],) = known[form]
                break
    return found


def _list_forms(name: str) -> list[str]:
    """List a name as it is and without its suffix, each once; that of a half keeps its half."""
    film, half = read_half(name)
    if half:
        return [name_half(form, half) for form in _list_forms(film)]
    folder, slash, last = name.rpartition("/")
    return list(dict.fromkeys([name, folder + slash + (last.rpartition(".")[0] or last)]))


def _respell(name: str) -> str:
    """Return a name in small letters and with composed accents."""
    small = unicodedata.normalize("NFC", name).casefold()
    return unicodedata.normalize("NFC", small)
