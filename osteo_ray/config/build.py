"""Build configurations from presets, YAML and flags, and describe what is wrong with them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import yaml
from pydantic import ValidationError

from osteo_ray.base.errors import InputError
from osteo_ray.base.mappings import drop_equal, merge_settings
from osteo_ray.base.settings import Settings
from osteo_ray.base.trust import AddressError, refuse_secrets
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


_INT, _FLOAT, _TIME = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))


class _Loader(yaml.SafeLoader):
    """Reads what `yaml.safe_dump` writes, and takes no value for another than it looks like.

    What YAML 1.1 takes for a number of base 60 (`1:30`) or 8 (`010`), or for a date, is text, as in
    YAML 1.2. A key that is repeated is refused.
    """

    yaml_implicit_resolvers: ClassVar = {
        first: [rule for rule in rules if rule[0] not in (_INT, _FLOAT, _TIME)]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _refuse(f"the key `{key.value}` comes a second time", key)
                seen.add(key.value)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):  # `!!int abc`, or thousands of digits
            raise _refuse("a value cannot be interpreted", node) from None


_Loader.add_implicit_resolver(
    _INT,
    re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def _refuse(what: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark)


def _say_yaml(error: Exception) -> str:
    """Say in a line what is wrong with a file, without the text of it, which may hold a secret."""
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, yaml.MarkedYAMLError) and mark is not None:
        return f"line {mark.line + 1} cannot be read: {error.problem}"
    if isinstance(error, RecursionError):
        return "it nests too deeply"
    return f"it cannot be read: {' '.join(str(error).split())}"


def read_yaml(path: "Path | Place") -> dict[str, Any]:
    """Read a YAML file of settings.

    A run keeps all its settings in such a file. One that was written before there was the setting
    `unexplained` is read as saying `whole`, because that is what its run did.

    Raises:
        InputError: The file is missing, is not YAML, repeats a key, or does not hold a mapping.
    """
    try:
        settings = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except OSError as error:
        raise InputError(
            f"Expected a readable configuration file, but got {path}: {error.strerror}."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"Expected YAML in {path}, but {_say_yaml(error)}.") from None
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
    if isinstance(old, str) and old in RECIPES and old != recipe:
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
        InputError: A key is unknown (the nearest is suggested), a value is out of its range, or
            there is an address with a secret among them.
    """
    for name, text in list_texts(settings):  # at once, because messages repeat what was given
        try:
            refuse_secrets(text)
        except AddressError as error:
            raise InputError(f"{(flags or {}).get(name, name)}: {error}") from None
    if "phantom" in kind.model_fields:
        smaller, settings = find_demo(settings)
        settings = merge_settings(fit_demo(kind, smaller), settings)
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        raise InputError(describe_problems(error, kind, flags or {})) from None


def fit_demo(kind: type[Settings], demo: Mapping[str, Any]) -> dict[str, Any]:
    """Return those settings of a demo that hold for a command.

    Args:
        kind: The settings of the command.
        demo: What `find_demo` returns of a demo.
    """
    fitting = {key: value for key, value in demo.items() if key in kind.model_fields}
    if kind.model_fields.get("arms", _ARMS).default != _ARMS.default:
        fitting.pop("arms", None)  # this command has a default of its own
    return fitting


def list_texts(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """List all texts among settings, each with the name of its setting.

    Args:
        settings: As a YAML file holds them; a group or a list may contain itself.

    Example:
        >>> list(list_texts({"data": "knees", "lime": {"samples": 9, "fill": "mean"}}))
        [('data', 'knees'), ('lime.fill', 'mean')]
    """
    return _list_texts("", settings, set())


def _list_texts(name: str, value: object, seen: set[int]) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
        seen.add(id(value))
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield from _list_texts(f"{name}.{key}".lstrip("."), inner, seen)
        else:
            for inner in value:
                yield from _list_texts(name, inner, seen)
