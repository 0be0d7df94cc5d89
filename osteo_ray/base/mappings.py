"""Merge, compare and hash settings in the form of plain mappings."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def merge_settings(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over` laid on top, group by group.

    Example:
        >>> merge_settings({"lime": {"samples": 9, "top_k": 5}}, {"lime": {"samples": 2}})
        {'lime': {'samples': 2, 'top_k': 5}}
    """
    merged = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge_settings(merged[key], value) if nested else value
    return merged


def drop_equal(settings: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return `settings` without the values that `base` has as well, group by group.

    Example:
        >>> drop_equal({"lime": {"samples": 9, "top_k": 5}, "seeds": 2}, {"lime": {"top_k": 5}})
        {'lime': {'samples': 9}, 'seeds': 2}
    """
    left: dict[str, Any] = {}
    for key, value in settings.items():
        known = base.get(key)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            left[key] = drop_equal(value, known)
        elif key not in base or value != known:
            left[key] = value
    return left


def list_differences(
    found: dict[str, Any],
    wanted: dict[str, Any],
    at: str = "",
    words: tuple[str, str] = ("there", "here"),
) -> list[str]:
    """Describe in which settings an existing run differs from what is wanted.

    Args:
        found: Settings of the existing run.
        wanted: Settings that are wanted.
        at: Prefix of all names.
        words: What to call the existing run and what is wanted.

    Returns:
        One text per setting that differs, in alphabetical order.

    Example:
        >>> list_differences({"lime": {"samples": 9}, "seeds": 2}, {"lime": {"samples": 5}})
        ['lime.samples (there 9, here 5)', 'seeds (there 2, here None)']
    """
    differences = []
    for key in sorted(found.keys() | wanted.keys()):
        ours, theirs = wanted.get(key), found.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            differences += list_differences(theirs, ours, f"{at}{key}.", words)
        elif ours != theirs:
            differences.append(f"{at}{key} ({words[0]} {theirs}, {words[1]} {ours})")
    return differences


def hash_settings(settings: Any) -> str:
    """Return a short hash of a JSON value that does not depend on the order of its keys.

    Example:
        >>> hash_settings({"a": 1, "b": 2}) == hash_settings({"b": 2, "a": 1})
        True
    """
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
