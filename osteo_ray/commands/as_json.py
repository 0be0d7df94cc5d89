"""Print what a command found as JSON, for other programs."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console


def print_json(console: Console, content: Any) -> None:
    """Print a result as JSON, and nothing beside it.

    Args:
        console: Where to print.
        content: Plain types, dataclasses, arrays, and collections of those; a number that JSON
            lacks, such as NaN, becomes null.
    """
    plain = to_plain(content)
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(getattr(console.file, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # JSON has escapes of its own for what cannot be written as it is
        text = json.dumps(plain, indent=2, ensure_ascii=True, allow_nan=False)
    console.file.write(text + "\n")
    console.file.flush()


def to_plain(content: Any) -> Any:
    """Return what JSON can hold of a result.

    Example:
        >>> to_plain({"a": np.float64("nan"), "b": (np.int64(2), frozenset("x"))})
        {'a': None, 'b': [2, ['x']]}
    """
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        fields = dataclasses.fields(content)
        return {field.name: to_plain(getattr(content, field.name)) for field in fields}
    if hasattr(content, "_asdict"):
        return to_plain(content._asdict())
    if isinstance(content, Mapping):
        return {str(key): to_plain(value) for key, value in content.items()}
    if isinstance(content, np.ndarray | np.generic):
        return to_plain(content.tolist())
    if isinstance(content, set | frozenset):
        return [to_plain(one) for one in sorted(content)]
    if isinstance(content, list | tuple):
        return [to_plain(one) for one in content]
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if content is None or isinstance(content, bool | int | str):
        return content
    return str(content)
