"""Turn flags and files into a configuration; exit codes."""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import tyro

from osteo_ray.base.errors import InputError
from osteo_ray.base.trust import refuse_secrets
from osteo_ray.config.build import Config, build, change_recipe, read_yaml

_DEFAULTS_HELP = """
The defaults below are those for images of your own. Phantoms have smaller ones: see the help of
`--data phantom`.
"""

DONE, FAILED, BAD_INPUT, FINDINGS, DRIFT = 0, 1, 2, 3, 4
"""Exit codes of all commands."""


def parse_config(
    kind: type[Config], arguments: Sequence[str], command: str, description: str
) -> Config:
    """Build a configuration: flags take precedence over a YAML file, and that over defaults.

    Raises:
        InputError: A value, a key or the file cannot be used.
        SystemExit: The parser has printed help (code 0), or what is wrong with the flags (code 2).
    """
    _refuse_repeats(arguments)
    _refuse_secrets(arguments)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config")
    first.add_argument("--data")
    first.add_argument("--recipe", "--training.recipe")
    known, rest = first.parse_known_args(list(arguments))
    settings = read_yaml(Path(known.config)) if known.config else {}
    # These two are read first, because the defaults depend on them.
    if known.data is not None:
        settings["data"] = known.data
        rest += ["--data", known.data]
    if known.recipe is not None:
        training = settings.get("training", {})
        if "training" in kind.model_fields and isinstance(training, Mapping):
            settings["training"] = change_recipe(training, known.recipe)
        rest += ["--recipe", known.recipe]
    # Help is for images of one's own, unless it is asked about phantoms by name.
    has_demo = "data" in kind.model_fields and "data" not in settings
    for_images = has_demo and not {"-h", "--help"}.isdisjoint(rest)
    if for_images:
        description += _DEFAULTS_HELP
    default = build(kind, settings, demo=not for_images)
    return tyro.cli(kind, prog=command, description=description, default=default, args=rest)


def _refuse_secrets(arguments: Sequence[str]) -> None:
    """Refuse keys before the parser sees them, because its messages quote what it was given."""
    for word in arguments:
        _, _, value = word.partition("=")  # of --flag=URI, or NAME=URI
        try:
            refuse_secrets(word)
            refuse_secrets(value)
        except ValueError as error:
            raise InputError(str(error)) from None


def _refuse_repeats(arguments: Sequence[str]) -> None:
    flags = Counter(word.split("=")[0] for word in arguments if word.startswith("--"))
    for flag, count in flags.items():
        if count > 1:
            raise InputError(
                f"Expected {flag} once, but got it {count} times. Put all its values after one "
                f"{flag}."
            )


def name_data(arguments: Sequence[str], flag: str = "--data") -> list[str]:
    """Insert a flag, by default `--data`, before the first word if that word is not a flag."""
    words = list(arguments)
    return [flag, *words] if words and not words[0].startswith("-") else words
