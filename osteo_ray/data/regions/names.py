"""Which region belongs to which image, as far as names tell."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath


def match_names(paths: Sequence[str], names: Iterable[str]) -> dict[str, str]:
    """Find the name that belongs to each path.

    The whole name belongs to it, or the name but for what follows its last dot, or that without
    its folders if no two paths end in it. Names that belong to no path may be spelled otherwise, in
    capitals or with accents composed or not, as long as this leaves no choice.

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


def _match(paths: Sequence[str], names: Iterable[str]) -> dict[str, str]:
    known: dict[str, set[str]] = {}
    for name in names:
        for form in _list_forms(name):
            known.setdefault(form, set()).add(name)
    ends = Counter(end for path in paths for end in _list_forms(PurePosixPath(path).name))
    found = {}
    for path in paths:
        flat = [form for form in _list_forms(PurePosixPath(path).name) if ends[form] == 1]
        for form in (*_list_forms(path), *flat):
            if len(known.get(form, ())) == 1:
                (found[path],) = known[form]
                break
    return found


def _list_forms(name: str) -> list[str]:
    """List a name as it is and without its suffix, each once."""
    folder, slash, last = name.rpartition("/")
    return list(dict.fromkeys([name, folder + slash + (last.rpartition(".")[0] or last)]))


def _respell(name: str) -> str:
    """Return a name in small letters and with composed accents."""
    small = unicodedata.normalize("NFC", name).casefold()
    return unicodedata.normalize("NFC", small)
