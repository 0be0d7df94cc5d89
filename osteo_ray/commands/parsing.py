"""Turn flags and files into a configuration; exit codes."""

import argparse
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.mappings import merge_settings
from osteo_ray.base.storage import locate_here
from osteo_ray.base.trust import refuse_secrets
from osteo_ray.commands.help_text import DEMO, HELP_ALL, JSON, show_help
from osteo_ray.config.build import Config, build, change_recipe, list_texts, read_yaml
from osteo_ray.config.demos import DEFAULT_DEMO
from osteo_ray.config.flags import Flag, list_flags
from osteo_ray.config.problems import say_value

DONE, FAILED, BAD_INPUT, FINDINGS, DRIFT = 0, 1, 2, 3, 4
"""Exit codes of all commands."""

_HELP = {"-h", "--help"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        found = re.fullmatch(r"argument (\S+?)(?:/\S+)?: expected (\d+|one) arguments?", message)
        if found:
            count = 1 if found[2] == "one" else int(found[2])
            values = "a value" if count == 1 else f"{count} values"
            message = f"Expected {values} behind {found[1]}, but got fewer"
        raise InputError(f"{message}. See {self.prog} --help.")


def parse_config(
    kind: type[Config],
    arguments: Sequence[str],
    command: str,
    description: str,
    *,
    positional: str = "data",
    switches: Sequence[str] = (JSON,),
) -> Config:
    """Build a configuration: flags take precedence over a YAML file, and that over defaults.

    Args:
        kind: The settings of the command.
        arguments: The words behind its name.
        command: `osteo-ray` and its name.
        description: What it does, for its help.
        positional: The setting that a word without a flag gives.
        switches: Flags without values that are no settings; the command looks for them itself.

    Raises:
        InputError: A flag, a value, a key or the file cannot be used.
        SystemExit: Help was printed (code 0).
    """
    words = [_spell(word) for word in arguments]
    flags = list(list_flags(kind))
    asked = {HELP_ALL, *_HELP} & set(words)
    if asked:
        in_full = HELP_ALL in asked
        show_help(kind, flags, command, description, positional, switches=switches, in_full=in_full)
        raise SystemExit(DONE)
    _refuse_repeats(words, flags)
    _refuse_secrets(words)
    words = [word for word in words if word not in switches]
    config, given = _read_words(words, flags, command, positional)
    by_flag = {flag.name: flag.names[-1] for flag in flags if _is_given(flag, given)}
    _refuse_empty("--config", config)
    settings = {} if config is None else read_yaml(locate_here(config, "--config"))
    recipe = given.get("training", {}).get("recipe")
    if recipe is not None and isinstance(settings.get("training", {}), Mapping):
        settings["training"] = change_recipe(settings.get("training", {}), recipe)
    _refuse_covered(settings, given, str(config))
    merged = merge_settings(settings, given)
    for name, text in list_texts(merged):
        _refuse_empty(by_flag.get(name, name), text)
    return build(kind, merged, by_flag)


def _refuse_empty(name: str, text: str | None) -> None:
    if text == "":
        raise InputError(
            f"Expected a value for {name}, but got an empty text. Give one, or leave it out."
        )


def _refuse_covered(
    settings: Mapping[str, Any], given: Mapping[str, Any], file: str, at: str = ""
) -> None:
    """Refuse what a file has in place of a group, before flags of that group cover it."""
    for name, value in given.items():
        found = settings.get(name)
        if not isinstance(value, Mapping) or found is None:
            continue
        if not isinstance(found, Mapping):
            raise InputError(
                f"Expected {at}{name} in {file} to be a group of settings, but got "
                f"{say_value(found)}. Write its settings below it, each as `name: value`, or leave "
                "it out."
            )
        _refuse_covered(found, value, file, f"{at}{name}.")


def _is_given(flag: Flag, given: Mapping[str, Any]) -> bool:
    found: Any = given
    for part in flag.path:
        if part not in found:
            return False
        found = found[part]
    return True


def _spell(word: str) -> str:
    """Return a flag with hyphens, however it was typed."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _read_words(
    words: Sequence[str], flags: Sequence[Flag], command: str, positional: str
) -> tuple[str | None, dict[str, Any]]:
    """Return the YAML file that words name, if any, and their settings by group and name."""
    parser = _Parser(prog=command, add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument(DEMO, nargs="?", const=DEFAULT_DEMO)
    for flag in flags:
        if flag.values == 0:
            parser.add_argument(*flag.names, dest=flag.name, action="store_true", default=None)
            parser.add_argument(flag.negative, dest=flag.name, action="store_false", default=None)
        else:
            nargs = "*" if flag.values is None else flag.values
            parser.add_argument(*flag.names, dest=flag.name, nargs=nargs)
    found, rest = parser.parse_known_args(list(words))
    known = [name for flag in flags for name in flag.names]
    _refuse_unknown(rest, [*known, "--config", DEMO, "--help", HELP_ALL], command)
    values = vars(found)
    if rest:
        if len(rest) > 1 or values[positional] is not None:
            two = [*(values[positional] or ()), *rest][:2]
            raise InputError(
                f"Expected {positional.upper()} once, but got {' and '.join(two)}. A flag that "
                "takes one value has it right behind it; flags of several values come last."
            )
        values[positional] = rest
    given: dict[str, Any] = {} if found.demo is None else {"demo": found.demo}
    for flag in flags:
        value = values[flag.name]
        if value is not None:
            group = given
            for part in flag.path[:-1]:
                group = group.setdefault(part, {})
            group[flag.path[-1]] = value if flag.values == 0 else flag.interpret(value)
    return found.config, given


def _refuse_unknown(rest: Sequence[str], known: Sequence[str], command: str) -> None:
    for word in rest:
        if word.startswith("-"):
            name = word.partition("=")[0]
            raise InputError(
                f"Expected options of {command}, but got `{name}`.{suggest(name, known)} See "
                f"{command} {HELP_ALL}."
            )


def _refuse_secrets(arguments: Sequence[str]) -> None:
    """Refuse keys before the parser sees them, because its messages quote what it was given."""
    for word in arguments:
        refuse_secrets(word)


def _refuse_repeats(arguments: Sequence[str], known: Sequence[Flag]) -> None:
    settings = {name: flag.name for flag in known for name in flag.names}
    settings |= {flag.negative: flag.name for flag in known if flag.values == 0}
    given = [word.split("=")[0] for word in arguments if word.startswith("--")]
    for flag, count in Counter(given).items():
        if count > 1:
            raise InputError(
                f"Expected {flag} once, but got it {count} times. Put all its values after one "
                f"{flag}."
            )
    first: dict[str, str] = {}
    for flag in given:
        other = first.setdefault(settings.get(flag, flag), flag)
        if other != flag:
            raise InputError(
                f"Expected one of {other} and {flag}, but got both, and they are the same setting. "
                "Leave one of them out."
            )
