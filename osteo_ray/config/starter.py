"""A commented file of settings to start from: what was found in the data, then every default."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from osteo_ray.base.settings import Settings
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.flags import Flag, list_flags

_WIDTH = 96
_END = "...\n"  # what YAML writes behind a document that is a single value
_WITHOUT = {"phantom"}
"""Groups that mean nothing to images of one's own."""


def write_starter(heading: Sequence[str], found: Mapping[str, Any]) -> str:
    """Write the settings of a comparison as YAML.

    Settings that follow from the data are set. All others are commented out, each with its
    description and its default. Removing the first # of the lines of a group sets it.

    Args:
        heading: Sentences at the top.
        found: Settings at the top level, by name.
    """
    lines = [line for sentence in heading for line in _comment(sentence)]
    flags = [flag for flag in list_flags(CompareConfig) if flag.path[0] not in _WITHOUT]
    for flag in sorted(flags, key=lambda flag: flag.name not in found):
        if len(flag.path) == 1:
            lines += ["", *_comment(flag.description)]
            value = found.get(flag.name, _show_default(flag))
            lines.append(("" if flag.name in found else "#") + _assign(flag.path[0], value))
    for name, field in CompareConfig.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Settings) and name not in _WITHOUT:
            lines += ["", *_comment(_introduce(kind)), f"#{name}:"]
            lines += _write_group(kind, 1)
    return "\n".join(lines) + "\n"


def _write_group(kind: type[Settings], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for flag in list_flags(kind):
        if len(flag.path) == 1:
            yield from _comment(flag.description, indent)
            yield f"#{indent}{_assign(flag.path[0], _show_default(flag))}"
    for name, field in kind.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, Settings):
            yield from _comment(_introduce(group), indent)
            yield f"#{indent}{name}:"
            yield from _write_group(group, depth + 1)


def _introduce(kind: type[Settings]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def _show_default(flag: Flag) -> Any:
    return list(flag.default) if isinstance(flag.default, tuple) else flag.default


def _assign(name: str, value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return f"{name}: {text.removesuffix(_END).strip()}"


def _comment(text: str, indent: str = "") -> list[str]:
    start = f"#{indent}# " if indent else "# "
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=start)
