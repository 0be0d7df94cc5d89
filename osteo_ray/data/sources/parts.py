"""The parts of a split that names beside each other stand for."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from osteo_ray.data.sources.words import (
    cut_shard,
    is_evaluation,
    list_words,
    read_split,
    read_split_of_path,
)


def tell_parts(names: Iterable[str]) -> dict[str, str]:
    """Return train, validation, test or "" for each of some names.

    `eval` is validation where something else is the test, and the test where nothing else is.

    Example:
        >>> tell_parts(["training", "eval"]), tell_parts(["evaluation", "test"])
        ({'training': 'train', 'eval': 'test'}, {'evaluation': 'validation', 'test': 'test'})
    """
    return _settle_evaluation({name: (read_split(name), name) for name in names})


def tell_parts_of_paths(paths: Iterable[str]) -> dict[str, str]:
    """Return what the name of each file stands for, or a folder that it lies in, as `tell_parts`.

    If that is nothing for any of them, words that all names have in common count for nothing.

    Example:
        >>> tell_parts_of_paths(["train-0-of-1.parquet", "eval-0-of-1.parquet"])
        {'train-0-of-1.parquet': 'train', 'eval-0-of-1.parquet': 'test'}
        >>> tell_parts_of_paths(["knees-train-000.tar", "knees-val-000.tar"])
        {'knees-train-000.tar': 'train', 'knees-val-000.tar': 'validation'}
    """
    found = {}
    for path in paths:
        name = PurePosixPath(path).name
        # A file that is named like a part is of no other that its folder may be named like.
        found[path] = (read_split_of_path(path), name if read_split_of_path(name) else path)
    if not any(part for part, _ in found.values()):
        found |= _read_differences(list(found))
    return _settle_evaluation(found)


def _read_differences(paths: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Read parts from what tells the names of files apart; nothing if it says more than parts."""
    words = {path: list_words(cut_shard(PurePosixPath(path).stem)) for path in paths}
    common = set[str]().union(*words.values()).intersection(*words.values())
    rests = {
        path: " ".join(word for word in own if word not in common) for path, own in words.items()
    }
    read = {path: (read_split(rest), rest) for path, rest in rests.items()}
    return read if all(part for part, _ in read.values()) else {}


def _settle_evaluation(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Return the part of each name, given what was read and the words that it was read from."""
    parts = {name: part for name, (part, _) in found.items()}
    if "test" not in parts.values():
        parts |= {
            name: "test" for name, (part, words) in found.items() if part and is_evaluation(words)
        }
    return parts
