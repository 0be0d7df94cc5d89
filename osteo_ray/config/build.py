"""Build configurations from presets, YAML and flags, and describe what is wrong with them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import ValidationError

from osteo_ray.base.errors import InputError
from osteo_ray.base.mappings import drop_equal, merge_settings
from osteo_ray.base.settings import Settings
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.demos import find_demo
from osteo_ray.config.problems import describe_problems
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


def build(
    kind: type[Config], settings: Mapping[str, Any], flags: Mapping[str, str] | None = None
) -> Config:
    """Validate settings on top of the defaults, or of those of a demo if the data are phantoms.

    Args:
        kind: The settings of a command.
        settings: What the user gave; `demo` names a demo.
        flags: By the name of a setting, groups and dots included, the flag by which it was given.

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
        raise InputError(describe_problems(error, kind, flags or {})) from None
