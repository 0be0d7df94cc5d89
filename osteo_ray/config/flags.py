"""The flags of a command, derived from its settings; what they are given becomes a mapping.

That mapping has the form of a YAML file and is laid over it, so both are checked by the same code
and refused in the same words.
"""

import contextlib
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from osteo_ray.base.settings import OnCommandLine, Settings
from osteo_ray.data.image_size import ImageSize


@dataclass(frozen=True)
class Flag:
    """A setting on the command line.

    Attributes:
        path: Its place among the settings: the names of its groups, and its own.
        names: The flag, and another name for it if there is one.
        values: How many words it takes; None for any number of them, 0 for a switch.
        metavar: Stands for its value in help.
        description: What it does.
        default: What holds without it.
        is_optional: Whether `None` is one of its values.
        is_number: Whether its values are numbers.
    """

    path: tuple[str, ...]
    names: tuple[str, ...]
    values: int | None
    metavar: str
    description: str
    default: Any
    is_optional: bool
    is_number: bool

    @property
    def name(self) -> str:
        """Its path as YAML writes it, with dots."""
        return ".".join(self.path)

    @property
    def negative(self) -> str:
        """The flag that switches it off, if it is a switch."""
        *groups, own = self.names[0].removeprefix("--").split(".")
        return "--" + ".".join([*groups, f"no-{own}"])

    def interpret(self, words: Sequence[str]) -> Any:
        """Return what words mean, as YAML would have it; other checks are those of the settings."""
        if self.is_optional and list(words) == ["None"]:
            return None
        found = [_read_number(word) for word in words] if self.is_number else list(words)
        return found[0] if self.values == 1 else found


def list_flags(kind: type[Settings], groups: tuple[str, ...] = ()) -> Iterator[Flag]:
    """List the flags of some settings, in order; a setting that can only be None has none.

    Args:
        kind: The settings.
        groups: Names of the groups that they lie in.
    """
    for name, field in kind.model_fields.items():
        path, annotation = (*groups, name), field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Settings):
            yield from list_flags(annotation, path)
        elif annotation is not types.NoneType:
            yield _describe(path, field)


def _describe(path: tuple[str, ...], field: FieldInfo) -> Flag:
    own = next((one for one in field.metadata if isinstance(one, OnCommandLine)), OnCommandLine())
    kinds = _open_union(field.annotation)
    is_optional = types.NoneType in kinds
    values, metavar = _count_words([kind for kind in kinds if kind is not types.NoneType])
    if own.choices:
        metavar = "|".join(own.choices)
    flag = "--" + ".".join(part.replace("_", "-") for part in path)
    names = (flag, own.alias) if own.alias else (flag,)
    default = field.get_default(call_default_factory=True)
    if isinstance(default, ImageSize):
        default = default.written
    words = metavar.strip("[]").replace("|", " ").split()
    is_number = values != 0 and all(word in ("N", "X", "…") or word.isdecimal() for word in words)
    text = field.description or ""
    return Flag(path, names, values, metavar, text, default, is_optional, is_number)


def _count_words(kinds: Sequence[Any]) -> tuple[int | None, str]:
    """Return how many words a value of one of these types takes, and what stands for it in help."""
    if list(kinds) == [bool]:
        return 0, ""
    if get_origin(kinds[0]) is not tuple:
        return 1, _name_values(kinds)
    parts = get_args(kinds[0])
    one = _name_values(_open_union(parts[0]))
    if parts[-1] is Ellipsis:
        return None, f"[{one} …]"
    return len(parts), " ".join([one] * len(parts))


def _open_union(annotation: Any) -> list[Any]:
    """Return the members of a union, without what is annotated to them; or the type itself."""
    is_union = get_origin(annotation) in (Union, types.UnionType)
    members = get_args(annotation) if is_union else (annotation,)
    return [one.__origin__ if hasattr(one, "__metadata__") else one for one in members]


_LETTERS = {int: "N", float: "X", str: "NAME", ImageSize: "N|HxW"}


def _name_values(kinds: Sequence[Any]) -> str:
    return "|".join(
        "|".join(map(str, get_args(kind))) if get_origin(kind) is Literal else _LETTERS[kind]
        for kind in kinds
    )


def _read_number(word: str) -> int | float | str:
    """Return a number, or the word itself where it is none, for the settings to refuse."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(word)
    return word
