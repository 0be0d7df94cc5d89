"""What is said of settings that cannot be used, by flag and by file."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from osteo_ray.base.errors import InputError
from osteo_ray.base.mappings import merge_settings
from osteo_ray.base.settings import Settings
from osteo_ray.commands.main import main
from osteo_ray.config.audit import AuditConfig
from osteo_ray.config.build import build
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.explain import ExplainConfig
from osteo_ray.config.flags import Flag, list_flags
from osteo_ray.config.problems import describe_problems
from osteo_ray.config.reproduce import ReproduceConfig
from osteo_ray.config.variants import PlanConfig, ProtocolsConfig, VarianceConfig
from osteo_ray.data.settings import PhantomSettings

KINDS = (
    *(CompareConfig, PlanConfig, VarianceConfig, ProtocolsConfig),
    *(AuditConfig, ExplainConfig, ReproduceConfig, PhantomSettings),
)
BAD: tuple[Any, ...] = (
    *("zzz", "", -1, 0, 10**30, -0.5, 1.5, math.nan, math.inf, True, None),
    *([], [1], ["zzz"] * 9, [None], [-5, -5, -5], {"zzz": 1}, {}),
)
PYDANTIC = ("Input should", "type=", "input_value", "validation error", "valid integer", "valid nu")


def nest(flag: Flag, value: object) -> dict[str, Any]:
    for part in reversed(flag.path):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def list_messages(kind: type[Settings], flags: dict[str, str]) -> Iterator[str]:
    for flag in list_flags(kind):
        for value in BAD:
            # What is required must not hide what is wrong.
            start = {"run": "r", "data": "d", "checkpoint": "c", "out": "o"}
            known = {name: word for name, word in start.items() if name in kind.model_fields}
            try:
                kind.model_validate(merge_settings(known, nest(flag, value)))
            except ValidationError as error:
                yield describe_problems(error, kind, flags)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_setting_is_refused_in_the_words_of_pydantic(kind: type[Settings]) -> None:
    messages = list(list_messages(kind, {}))
    assert len(messages) > 3 * len(list(list_flags(kind)))
    lines = [line for message in messages for line in message.splitlines() if line]
    assert [line for line in lines if any(words in line for words in PYDANTIC)] == []
    odd = [line for line in lines if "Expected " not in line and "Unknown " not in line]
    assert odd == []


@pytest.mark.parametrize(
    ("settings", "flags", "said"),
    [
        ({"training": {"epochs": 0}}, {}, "Expected training.epochs to be at least 1, but got 0."),
        (
            {"training": {"epochs": 0}},
            {"training.epochs": "--epochs"},
            "Expected --epochs to be at least 1, but got 0.",
        ),
        ({"seeds": "five"}, {}, "Expected seeds to be a whole number, but got `five`."),
        ({"seeds": 1.5}, {}, "Expected seeds to be a whole number, but got 1.5."),
        (
            {"phantom": {"difficulty": 2}},
            {},
            "Expected phantom.difficulty to be at most 1, but got 2.",
        ),
        (
            {"split_ratio": [7, 2]},
            {"split_ratio": "--split-ratio"},
            "Expected value 3 of --split-ratio to be given, but it is not.",
        ),
        (
            {"split_ratio": [7, 2, "x"]},
            {"split_ratio": "--split-ratio"},
            "Expected value 3 of --split-ratio to be a whole number, but got `x`.",
        ),
        ({"arms": 3}, {}, "Expected arms to be a list of values, but got 3."),
        ({"models": 3}, {}, "Expected models to be a list of values, but got 3."),
        (
            {"split": "groped"},
            {},
            "Expected split to be one of `grouped`, `random`, `given` or `site`, but got `groped`. "
            "Did you mean `grouped`?",
        ),
        ({"grid": "maybe"}, {}, "Expected grid to be true or false, but got `maybe`."),
        ({"grid": True}, {}, None),
        (
            {"seeds": True},
            {},
            "Expected seeds to be a number, not true or false (YAML reads `yes`, `no`, `on` and "
            "`off` as these, unless they are in quotes), but got true.",
        ),
        ({"models": True}, {}, "Expected models to be a list of values, but got true."),
        ({"lime": 3}, {}, "Expected lime to be a group of settings, but got 3."),
        (
            {"lime": {"fill": "men"}},
            {},
            "Expected lime.fill to be one of `mean`, `blur` or `black` or a whole number, but got "
            "`men`. Did you mean `mean`?",
        ),
        ({"seeds": [5]}, {}, "Expected seeds to be a whole number, but got [5]."),
        (
            {"image_size": ["a", 2, None, True, 5]},
            {"image_size": "--image-size"},
            "--image-size: Expected an image size as a number of pixels (224, for squares) or as "
            "HEIGHTxWIDTH (320x256: 320 px high, 256 px wide), but got ['a', 2, None, True, 5].",
        ),
        (
            {"seeds": ["a", 2, None, True, 5]},
            {"seeds": "--seeds"},
            "Expected --seeds to be a whole number, but got [`a`, 2, None, true, …].",
        ),
        ({"models": []}, {}, "Expected models to have at least 1 value, but got []."),
        ({"seeed": 3}, {}, "Unknown configuration key `seeed`. Did you mean `seeds`?"),
    ],
)
def test_message_says_where_what_was_expected_and_what_was_found(
    settings: dict[str, Any], flags: dict[str, str], said: str | None
) -> None:
    if said is None:
        build(CompareConfig, settings, flags)
        return
    with pytest.raises(InputError) as caught:
        build(CompareConfig, settings, flags)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({1: 2}, "Expected names of settings to be text, but got 1."),
        ({"lime": {True: 2}}, "Expected names of settings in lime to be text, but got true."),
    ],
)
def test_names_that_are_no_texts(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        build(CompareConfig, settings)
    assert str(caught.value) == said


@pytest.mark.parametrize("setting", ["seeds", "arms", "image_size", "demo", "lime", "weights"])
def test_no_message_is_longer_than_a_screen_whatever_is_given(setting: str) -> None:
    nested: Any = ["x"] * 4
    for _ in range(8):
        nested = [nested] * 4
    for value in (nested, "x" * 10**6, "\x1b[31m\n" * 100, ["x" * 1000] * 1000, -(9**9999)):
        with pytest.raises(InputError) as caught:
            build(CompareConfig, {setting: value})
        assert len(str(caught.value)) < 25_000
        assert all(c.isprintable() for line in str(caught.value).split("\n") for c in line)


def test_no_more_lines_are_written_than_a_screen_has() -> None:
    with pytest.raises(InputError) as caught:
        build(CompareConfig, {"arms": [1] * 1000})
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1].startswith("… and 98")


def test_settings_that_do_not_fit_each_other_are_not_listed() -> None:
    with pytest.raises(InputError) as caught:
        build(CompareConfig, {"data": "/knees", "test_data": "/knees"})
    assert str(caught.value).endswith("An external cohort comes from elsewhere.")


def test_flag_and_file_are_refused_in_the_same_words(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("training: {epochs: 0}\nlime: {samples: one}\n")
    assert main(["compare", "--config", str(file), "--dry-run"]) == 2
    by_file = " ".join(capsys.readouterr().err.split())
    assert "Expected training.epochs to be at least 1, but got 0." in by_file
    assert "Expected lime.samples to be a whole number, but got `one`." in by_file
    assert main(["compare", "--epochs", "0", "--lime.samples", "one", "--dry-run"]) == 2
    by_flag = " ".join(capsys.readouterr().err.split())
    named = by_file.replace("training.epochs", "--epochs").replace("lime.samples", "--lime-samples")
    assert by_flag == named
