"""Pages that are made from code: every setting, and the help of every command."""

import io
import os
import textwrap
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from itertools import groupby
from typing import Any
from unittest.mock import patch

from osteo_ray.base.settings import Settings
from osteo_ray.commands.completion import CONFIGURED
from osteo_ray.commands.main import COMMANDS, main
from osteo_ray.config.build import fit_demo
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.demos import DEFAULT_DEMO, find_demo
from osteo_ray.config.flags import Flag, list_flags

_TYPES = {"N": "integer", "X": "number", "NAME": "text"}
_BOUNDS = {"gt": "> ", "ge": "≥ ", "lt": "< ", "le": "≤ ", "min_length": "at least "}
_WIDTH = 92  # characters that a page has room for


def write_settings() -> str:
    """Return the page of all settings of the commands that have a configuration."""
    demo = find_demo({"demo": DEFAULT_DEMO})[0]
    lines = [
        "# Settings",
        "",
        "Made from the code. A setting is a key of a YAML file, whose groups nest, and a keyword "
        "from Python; below its name stand its flags. The default is that for images of one's "
        f"own, and that of `--demo {DEFAULT_DEMO}` stands beside it where it is another. "
        "[The command line](../command-line.md) says how flags and files go together.",
        "",
    ]
    shared = {flag.name: flag for flag in list_flags(CompareConfig)}
    for command, kind in CONFIGURED.items():
        flags = list(list_flags(kind))
        lines += [f"## `osteo-ray {command}`", "", _introduce(kind)]
        if kind is not CompareConfig:
            lines[-1] += _tell_shared(flags, list(shared.values()))
            flags = [flag for flag in flags if shared.get(flag.name) != flag]
        lines.append("")
        for path, members in groupby(flags, key=lambda flag: flag.path[:-1]):
            if path:
                title = f"### {command}: `{'.'.join(path)}`"
                lines += [title, "", _introduce(_open(kind, path)), ""]
            lines += [_write_setting(kind, flag, fit_demo(kind, demo)) for flag in members]
    return "\n".join(lines)


def write_commands() -> str:
    """Return the page with the help of every command."""
    lines = ["# Commands", "", "Made from the code: what each command prints by `--help`.", ""]
    for question, group in COMMANDS.items():
        lines += [f"## {question}", ""]
        for name, (_, says) in group.items():
            lines += [f"### `osteo-ray {name}`", "", says, ""]
            lines += ["```text", *_wrap(_capture_help(name)), "```", ""]
            if name in CONFIGURED:
                lines += [f"[All settings](settings.md#osteo-ray-{name}) of `{name}`", ""]
    return "\n".join(lines)


def _capture_help(name: str) -> str:
    said = io.StringIO()
    with (
        redirect_stdout(said),
        redirect_stderr(said),
        patch.dict(os.environ, {"COLUMNS": str(_WIDTH), "NO_COLOR": "1"}),
    ):
        code = main([name, "--help"])
    if code != 0:
        raise RuntimeError(f"Expected the help of {name}, but got code {code}: {said.getvalue()}")
    return said.getvalue()


def _wrap(text: str) -> Iterator[str]:
    """Wrap paragraphs that are too wide, as a terminal does; what is indented is left as it is."""
    for is_prose, lines in groupby(
        text.rstrip().splitlines(), key=lambda one: one[:1].strip() != ""
    ):
        block = list(lines)
        if is_prose and max(map(len, block)) > _WIDTH:
            block = textwrap.wrap(" ".join(block), _WIDTH)
        yield from block


def _introduce(kind: type[Settings]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def _open(kind: type[Settings], path: tuple[str, ...]) -> type[Settings]:
    for name in path:
        found = kind.model_fields[name].annotation
        assert isinstance(found, type)
        kind = found
    return kind


def _tell_shared(flags: list[Flag], others: list[Flag]) -> str:
    """Say which settings of `compare` a command takes as they are, in whichever way is shorter."""
    own = {flag.name: flag for flag in flags}
    same = [flag for flag in others if own.get(flag.name) == flag]
    taken = _join_groups(same, others)
    left = _join_groups([flag for flag in others if flag.name not in own], others)
    if not same:
        return ""
    if len(left) < len(taken):
        without = f" without {', '.join(left)}," if left else ""
        return f" It takes the settings of `compare`,{without} and these, or these otherwise:"
    return f" It takes {', '.join(taken)} as `compare` does, and these:"


def _join_groups(chosen: list[Flag], among: list[Flag]) -> list[str]:
    """Name settings, and groups of which all settings are chosen by the name of the group."""

    def count(flags: list[Flag]) -> Counter[str]:
        return Counter(flag.path[0] for flag in flags)

    here, there = count(chosen), count(among)
    names = [
        flag.path[0] if here[flag.path[0]] == there[flag.path[0]] else flag.name for flag in chosen
    ]
    return [f"`{name}`" for name in dict.fromkeys(names)]


def _write_setting(kind: type[Settings], flag: Flag, demo: dict[str, Any]) -> str:
    names = [*flag.names, flag.negative] if flag.values == 0 else flag.names
    flags = ", ".join(f"`{name}`" for name in names)
    value: Any = demo
    for part in flag.path:
        value = value.get(part) if isinstance(value, dict) else None
    facts = [", ".join(_describe_type(kind, flag)), f"default {_write(flag.default)}"]
    if value is not None and _write(value) != _write(flag.default):
        facts.append(f"demo {_write(value)}")
    description = flag.description.replace("<", "&lt;")
    return f"`{flag.name}`\n:   {flags}\n\n    {description}\n\n    {' · '.join(facts)}\n"


def _describe_type(kind: type[Settings], flag: Flag) -> Iterator[str]:
    if flag.values == 0:
        yield "on or off"
    else:
        one = flag.metavar.strip("[]").removesuffix(" …").split(" ")
        choices = ", ".join(_TYPES.get(word, f"`{word}`") for word in one[0].split("|"))
        text = f"one of {choices}" if "|" in one[0] else choices
        if flag.values is None:
            text = f"list of {text}"
        elif flag.values > 1:
            text = f"{flag.values} × {text}"
        yield text
    for bound in _open(kind, flag.path[:-1]).model_fields[flag.path[-1]].metadata:
        for name, sign in _BOUNDS.items():
            limit = getattr(bound, name, None)
            if limit is not None:
                yield f"{sign}{limit}"
    if flag.is_optional:
        yield "may be empty"


def _write(value: Any) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return " ".join(f"`{one}`" for one in value)
    return f"`{value}`"
