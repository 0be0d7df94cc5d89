"""What is wrong with settings, in words: where, what was expected, and what was found."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from osteo_ray.base.errors import suggest
from osteo_ray.base.settings import NOT_A_SWITCH, Settings
from osteo_ray.base.trust import AddressError
from osteo_ray.config.compare import CompareConfig

_Context = Mapping[str, Any]
_MOST_SHOWN, _DEEPEST = 4, 3  # values of a list, and lists in lists
_LONGEST_VALUE, _LONGEST_LINE, _MOST_LINES = 200, 2000, 20


def describe_problems(
    error: ValidationError,
    kind: type[Settings] = CompareConfig,
    flags: Mapping[str, str] | None = None,
) -> str:
    """Return a line per setting that cannot be used.

    Args:
        error: What pydantic found.
        kind: The settings.
        flags: By the name of a setting, the flag by which it was given; others are called by name.
    """
    by_place: dict[str, list[ErrorDetails]] = {}
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in _drop_branches(kind, problem["loc"]))
        by_place.setdefault(place, []).append(problem)
    lines = [
        _shorten(_describe(place, problems, kind, flags or {}), _LONGEST_LINE)
        for place, problems in by_place.items()
    ]
    more = len(lines) - _MOST_LINES
    return "\n".join([*lines[:_MOST_LINES], *([f"… and {more} more."] if more > 0 else [])])


def _describe(
    place: str, problems: Sequence[ErrorDetails], kind: type[Settings], flags: Mapping[str, str]
) -> str:
    first = problems[0]
    if first["type"] == "extra_forbidden":
        known = _known_keys(kind, first["loc"][:-1])
        return f"Unknown configuration key `{place}`.{suggest(str(first['loc'][-1]), known)}"
    if first["type"] in ("value_error", "assertion_error"):  # in our own words
        message = first["msg"].partition(", ")[2]
        is_told = "got" in message or isinstance(first.get("ctx", {}).get("error"), AddressError)
        is_told |= isinstance(first["input"], Mapping)  # all settings, where several do not fit
        found = "" if is_told else f", but got {say_value(first['input'])}"
        where = flags.get(place, place)
        return f"{where}: {message}{found}" if where else f"{message}{found}"
    if first["type"] == "invalid_key":
        group = place.rpartition(".")[0]
        named = f" in {group}" if group else ""
        return f"Expected names of settings{named} to be text, but got {say_value(first['input'])}."
    where = _name(place, flags)
    if first["type"] == "missing":
        return f"Expected {where or 'settings'} to be given, but it is not."
    wanted = " or ".join(dict.fromkeys(_say_wanted(one) for one in problems))
    wanted = wanted.replace(" or be ", " or ")
    given = first["input"]
    names = re.findall(r"'([^']+)'", str((first.get("ctx") or {}).get("expected", "")))
    nearest = suggest(given, names) if isinstance(given, str) else ""
    return f"Expected {where or 'settings'} to {wanted}, but got {say_value(given)}.{nearest}"


def _name(place: str, flags: Mapping[str, str]) -> str:
    """Name a setting, by its flag if it was given by one; of several values, which one it is."""
    own, _, last = place.rpartition(".")
    if last.isdigit():
        return f"value {int(last) + 1} of {flags.get(own, own)}"
    return flags.get(place, place)


def say_value(value: object, depth: int = 0) -> str:
    """Write a value as a YAML file would, in short and on one line, whatever it holds.

    Args:
        value: The value.
        depth: The number of lists around it.

    Example:
        >>> say_value([True, "knee", [1, 2, 3, 4, 5], [[[[9]]]]])
        '[true, `knee`, [1, 2, 3, 4, …], [[[[…]]]]]'
    """
    if isinstance(value, str):
        return f"`{_shorten(value, _LONGEST_VALUE)}`"
    if isinstance(value, Mapping):
        return "a group of settings"
    if isinstance(value, list | tuple):
        if value and depth > _DEEPEST:
            return "[…]"
        more = [", …"] if len(value) > _MOST_SHOWN else []
        shown = ", ".join(say_value(one, depth + 1) for one in value[:_MOST_SHOWN])
        return f"[{''.join([shown, *more])}]"
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return _shorten(repr(value), _LONGEST_VALUE)
    except ValueError:  # Python writes no number of so many digits
        return "a number of thousands of digits"


def _shorten(text: str, most: int) -> str:
    """Return a text as any terminal can show it, and no longer than `most` characters."""
    cut = text if len(text) <= most else f"{text[:most]}…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def _count(n: int, one: str) -> str:
    return f"{n} {one}" + ("s" if n != 1 else "")


_WHOLE, _NUMBER, _TEXT, _LIST = "a whole number", "a number", "text", "a list of values"
_WANTED: dict[str, Callable[[_Context], str]] = {
    "greater_than": lambda ctx: f"be above {_say_bound(ctx['gt'])}",
    "greater_than_equal": lambda ctx: f"be at least {_say_bound(ctx['ge'])}",
    "less_than": lambda ctx: f"be below {_say_bound(ctx['lt'])}",
    "less_than_equal": lambda ctx: f"be at most {_say_bound(ctx['le'])}",
    "finite_number": lambda ctx: "be a finite number",
    "literal_error": lambda ctx: "be one of " + ctx["expected"].replace("'", "`"),
    "too_short": lambda ctx: "have at least " + _count(ctx["min_length"], "value"),
    "too_long": lambda ctx: "have at most " + _count(ctx["max_length"], "value"),
    "string_too_short": lambda ctx: "have at least " + _count(ctx["min_length"], "character"),
    "string_too_long": lambda ctx: "have at most " + _count(ctx["max_length"], "character"),
    "none_required": lambda ctx: "be left out",
    NOT_A_SWITCH: lambda ctx: (
        "be a number, not true or false (YAML reads `yes`, `no`, `on` and `off` as these, "
        "unless they are in quotes)"
    ),
}
_OF_TYPE = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("string_type", "string_sub_type", "string_unicode"), _TEXT),
    **dict.fromkeys(("tuple_type", "list_type", "iterable_type"), _LIST),
    "invalid_key": "the name of a setting",
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "a group of settings"),
}


def _say_bound(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _say_wanted(problem: ErrorDetails) -> str:
    """Say what was expected of a setting, to follow the word *to*."""
    name = problem["type"]
    if name in _WANTED:
        return _WANTED[name](problem.get("ctx") or {})
    return "be " + (_OF_TYPE.get(name) or problem["msg"].removeprefix("Input should be "))


def _drop_branches(kind: type[Settings], loc: tuple[int | str, ...]) -> Iterator[int | str]:
    """Yield the names of settings, without what pydantic calls the members of a union."""
    model: Any = kind
    for part in loc:
        fields = getattr(model, "model_fields", None)
        if fields is None and isinstance(part, str):
            return
        yield part
        model = fields[part].annotation if fields and part in fields else None


def _known_keys(kind: type[Settings], loc: tuple[int | str, ...]) -> list[str]:
    model: Any = kind
    for part in loc:
        model = model.model_fields[str(part)].annotation
    return list(model.model_fields)
