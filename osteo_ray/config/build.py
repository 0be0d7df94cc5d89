"""Build configurations from presets, YAML and flags, and describe what is wrong with them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import ValidationError

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.mappings import drop_equal, merge_settings
from osteo_ray.base.settings import Settings
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.demos import find_demo
from osteo_ray.models.settings import RECIPES, TrainingSettings

if TYPE_CHECKING:
    from osteo_ray.base.storage import Place

Config = TypeVar("Config", bound=Settings)
_WRITTEN_IN_FULL = frozenset(
    {
        *("conflicts", "max_reject_share", "positive_class", "second_start", "background"),
        *("crossfit_folds", "mlflow", "lime", "statistics", "resources"),
    }
)
"""Settings by which the file of a run is told from one that a user wrote, which has a few."""


def read_yaml(path: "Path | Place") -> dict[str, Any]:
    """Read a YAML file of settings.

    A run keeps all its settings in such a file. One that was written before there was the setting
    `unexplained` is read as saying `whole`, because that is what its run did.

    Raises:
        InputError: The file is missing, is not YAML, or does not hold a mapping.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"Expected a readable configuration file, but got {path}: {error.strerror}."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"Expected YAML in {path}, but found: {error}") from None
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise InputError(
            f"Expected `key: value` lines in {path}, but found a {type(settings).__name__}."
        )
    if settings.keys() >= _WRITTEN_IN_FULL:
        settings.setdefault("unexplained", "whole")
    return settings


def change_recipe(given: Mapping[str, Any], recipe: str) -> dict[str, Any]:
    """Return settings of training with another recipe, in which those of the old one do not count.

    Args:
        given: What a file says; a file that a run wrote holds every setting.
        recipe: The recipe that is wanted, known or not.
    """
    old = given.get("recipe")
    if old in RECIPES and old != recipe:
        preset = TrainingSettings(recipe=old).model_dump(mode="json")
        given = drop_equal(given, preset)
    return {**given, "recipe": recipe}


def build_config(settings: Mapping[str, Any]) -> CompareConfig:
    """Validate the settings of a comparison: see `build`."""
    return build(CompareConfig, settings)


_ARMS = CompareConfig.model_fields["arms"]


def build(kind: type[Config], settings: Mapping[str, Any]) -> Config:
    """Validate settings on top of the defaults, or of those of a demo if the data are phantoms.

    Args:
        kind: The settings of a command.
        settings: What the user gave; `demo` names a demo.

    Raises:
        InputError: A key is unknown (the nearest is suggested) or a value is out of its range.
    """
    if "phantom" in kind.model_fields:
        smaller, settings = find_demo(settings)
        smaller = {key: value for key, value in smaller.items() if key in kind.model_fields}
        if kind.model_fields.get("arms", _ARMS).default != _ARMS.default:
            smaller.pop("arms", None)  # this command has a default of its own
        settings = merge_settings(smaller, settings)
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        raise InputError(describe_validation_error(error, kind)) from None


def describe_validation_error(error: ValidationError, kind: type[Settings] = CompareConfig) -> str:
    """Return a line per problem: where it is, what was expected and found, the nearest name."""
    lines = []
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in _drop_branches(kind, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            known = _known_keys(kind, problem["loc"][:-1])
            name = str(problem["loc"][-1])
            lines.append(f"Unknown configuration key `{place}`.{suggest(name, known)}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            found = "" if "got" in message else f", but got {problem['input']!r}"
            lines.append(f"{place}: {message}{found}" if place else f"{message}{found}")
    return "\n".join(lines)


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
