"""The parts of a split that names beside each other stand for."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from osteo_ray.data.sources.words import is_evaluation, read_split, read_split_of_path


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

    Example:
        >>> tell_parts_of_paths(["train-0-of-1.parquet", "eval-0-of-1.parquet"])
        {'train-0-of-1.parquet': 'train', 'eval-0-of-1.parquet': 'test'}
    """
    found = {}
    for path in paths:
        name = PurePosixPath(path).name
        # A file that is named like a part is of no other that its folder may be named like.
        found[path] = (read_split_of_path(path), name if read_split_of_path(name) else path)
    return _settle_evaluation(found)


def _settle_evaluation(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Return the part of each name, given what was read and the words that it was read from."""
    parts = {name: part for name, (part, _) in found.items()}
    if "test" not in parts.values():
        parts |= {
            name: "test" for name, (part, words) in found.items() if part and is_evaluation(words)
        }
    return parts
