"""Layers of settings, what is refused and in which words, and what identifies a run."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from osteo_ray.arms.registry import ARMS, list_presets
from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.mappings import hash_settings, merge_settings
from osteo_ray.commands.compare import parse_compare
from osteo_ray.commands.main import main
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.demos import DEFAULT_DEMO, DEMOS, PHANTOM_DEFAULTS
from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.settings import TrainingSettings

Refuse = Callable[..., str]
DEMO = PHANTOM_DEFAULTS


@pytest.fixture
def write_yaml(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "settings.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def refuse() -> Refuse:
    """Return the message with which settings are refused."""

    def build(**settings: Any) -> str:
        with pytest.raises(InputError) as error:
            build_config(settings)
        return str(error.value)

    return build


# Layers


def test_phantoms_are_small() -> None:
    config = parse_compare(["--data", "phantom"])
    assert config.data == "phantom"
    assert config.models == DEMO["models"]
    assert config.weights == ("none",)
    assert (config.seeds, config.image_size.written) == (DEMO["seeds"], DEMO["image_size"])
    assert config.training.epochs == DEMO["training"]["epochs"]
    assert config.lime.samples == DEMO["lime"]["samples"]
    assert config.lime.top_k == 5  # which the demo leaves alone


def test_no_words_are_the_demo_which_differs_in_a_few_settings() -> None:
    config = parse_compare([])
    assert config == parse_compare(["--demo", DEFAULT_DEMO])
    assert config.models == DEMOS[DEFAULT_DEMO]["models"]
    assert config.training.epochs == DEMOS[DEFAULT_DEMO]["training"]["epochs"]
    assert config.training.learning_rate == PHANTOM_DEFAULTS["training"]["learning_rate"]
    assert config.image_size.written == PHANTOM_DEFAULTS["image_size"]


def test_other_data_get_the_papers_recipe(tmp_path: Path) -> None:
    config = parse_compare(["--data", str(tmp_path)])
    assert config == CompareConfig(data=str(tmp_path))
    assert config.models == ("efficientnet_b0", "mobilenetv3_large_100")
    assert config.weights == ()
    assert (config.seeds, config.image_size, config.split_ratio) == (
        10,
        ImageSize.square(224),
        (7, 2, 1),
    )
    assert config.arms == list_presets()["controls"]
    assert (config.protocol, config.split, config.second_start) == ("clean", "grouped", "backbone")
    training = config.training
    assert (training.epochs, training.per_worker_batch_size, training.learning_rate) == (
        30,
        32,
        1e-4,
    )
    augmentation = training.augmentation
    assert (augmentation.rotation_deg, augmentation.flip) == (20.0, True)
    assert (augmentation.shift, augmentation.shear, augmentation.zoom) == (0.2, 0.2, 0.2)
    lime = config.lime
    assert (lime.samples, lime.top_k, lime.fill, lime.kernel_width) == (1000, 5, "mean", 0.25)
    assert (lime.kernel_size, lime.max_dist, lime.ratio, lime.alpha) == (None, None, None, 1.0)


def test_file_wins_over_the_demo_and_leaves_its_other_settings(write_yaml) -> None:
    file = write_yaml("seeds: 3\nlime: {top_k: 2}\ntraining: {augmentation: {flip: false}}\n")
    config = parse_compare(["--config", file])
    assert config.seeds == 3
    assert (config.lime.top_k, config.lime.samples) == (2, DEMO["lime"]["samples"])
    augmentation = config.training.augmentation
    assert augmentation.flip is False
    assert augmentation.shift == build_config({}).training.augmentation.shift


def test_flags_win_over_the_file(write_yaml) -> None:
    file = write_yaml("seeds: 3\nlime: {top_k: 2, samples: 30}\nmodels: [resnet18]\n")
    config = parse_compare(["--config", file, "--seeds", "4", "--lime.top-k", "7"])
    assert (config.seeds, config.lime.top_k, config.lime.samples) == (4, 7, 30)
    assert config.models == ("resnet18",)


def test_data_flag_wins_over_the_file_and_chooses_the_preset(write_yaml, tmp_path: Path) -> None:
    file = write_yaml("data: phantom\nseeds: 3\n")
    config = parse_compare(["--config", file, "--data", str(tmp_path)])
    assert config.data == str(tmp_path)
    assert config.seeds == 3
    assert config.models == ("efficientnet_b0", "mobilenetv3_large_100")


def test_data_of_the_file_chooses_the_preset(write_yaml) -> None:
    config = parse_compare(["--config", write_yaml("data: /images\n")])
    assert config.data == "/images"
    assert config.image_size == ImageSize.square(224)


def test_short_flags_reach_their_groups() -> None:
    flags = ["--epochs", "2", "--lime-samples", "9", "--workers", "3", "--arms", "original", "lime"]
    config = parse_compare(flags)
    assert (config.training.epochs, config.lime.samples, config.resources.workers) == (2, 9, 3)
    assert config.arms == ("original", "lime")


def test_relative_data_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert build_config({"data": "images"}).data == str(tmp_path / "images")


def test_merging_keeps_what_is_not_overlaid_and_its_inputs() -> None:
    base = {"a": {"x": 1, "y": 2}, "b": 1, "c": {"z": 1}}
    over = {"a": {"x": 9}, "b": {"q": 1}, "c": 5}
    assert merge_settings(base, over) == {"a": {"x": 9, "y": 2}, "b": {"q": 1}, "c": 5}
    assert base == {"a": {"x": 1, "y": 2}, "b": 1, "c": {"z": 1}}


def test_seed_numbers() -> None:
    assert build_config({"seeds": 3, "first_seed": 10}).seed_numbers == (10, 11, 12)


# Refusals


@pytest.mark.parametrize(
    ("settings", "key", "nearest"),
    [
        ({"modles": ["a"]}, "modles", "models"),
        ({"lime": {"sampels": 3}}, "lime.sampels", "samples"),
        ({"training": {"augmentation": {"rotation": 3}}}, "training.augmentation.rotation", None),
        ({"training": {"augmentation": {"zom": 0.1}}}, "training.augmentation.zom", "zoom"),
        ({"training": {"lr": 1}}, "training.lr", None),
    ],
)
def test_unknown_key_is_named_with_the_nearest(
    refuse: Refuse, settings: dict[str, Any], key: str, nearest: str | None
) -> None:
    message = refuse(**settings)
    assert f"Unknown configuration key `{key}`." in message
    if nearest:
        assert f"Did you mean `{nearest}`?" in message


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ("full", tuple(name for name, arm in ARMS.items() if "full" in arm.presets)),
        ("paper", ("original", "lime")),
        (["paper", "silhouette"], ("original", "lime", "silhouette")),
    ],
)
def test_presets_stand_for_arms(arms: Any, expected: tuple[str, ...]) -> None:
    assert build_config({"arms": arms}).arms == expected
    assert parse_compare(["--arms", *([arms] if isinstance(arms, str) else arms)]).arms == expected


def test_presets_leave_out_what_the_papers_protocol_cannot_have(refuse: Refuse) -> None:
    config = build_config({"data": "/knees", "protocol": "paper"})
    assert config.arms == tuple(arm for arm in list_presets()["controls"] if arm != "lime_crossfit")
    assert config.split == "random"
    assert "no lime_crossfit with --protocol paper" in refuse(
        protocol="paper", arms=["original", "lime", "lime_crossfit"]
    )
    assert "--split random" in refuse(protocol="paper", split="grouped")


def list_numbers(group: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the names of all settings that may have a fraction, with those of their groups."""
    for name, field in group.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from list_numbers(kind, (*above, name))
        elif kind is float or float in get_args(kind):
            yield (*above, name)


@pytest.mark.parametrize("names", [*list_numbers(CompareConfig)], ids=".".join)
def test_no_setting_is_infinite_or_no_number(refuse: Refuse, names: tuple[str, ...]) -> None:
    for value in (float("inf"), float("-inf"), float("nan")):
        settings: Any = value
        for name in reversed(names):
            settings = {name: settings}
        assert f"Expected {'.'.join(names)}" in refuse(**settings)


def test_all_problems_are_told_at_once(refuse: Refuse) -> None:
    lines = refuse(seeds=0, sedes=1, lime={"top_k": -1}).splitlines()
    assert len(lines) == 3
    assert "Expected seeds to be at least 1, but got 0." in lines
    assert "Expected lime.top_k to be at least 1, but got -1." in lines


def test_unknown_arm_is_named_with_the_nearest(refuse: Refuse) -> None:
    message = refuse(arms=["original", "silhoutte"])
    assert "got `silhoutte`" in message
    assert "Did you mean `silhouette`?" in message
    assert all(arm in message for arm in ARMS)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"arms": ["lime"]}, "`original` among the arms"),
        ({"arms": []}, "arms"),
        ({"arms": ["original", "lime", "lime"]}, "distinct arms"),
        ({"models": ["resnet18", "resnet18"]}, "distinct models"),
        ({"models": []}, "models"),
        ({"split_ratio": [7, 0, 3]}, "at least 1"),
        ({"split_ratio": [7, 3]}, "split_ratio"),
        ({"split": "stratified"}, "grouped"),
        ({"statistics": {"metric": "kappa"}}, "accuracy"),
        ({"statistics": {"alpha": 0.7}}, "statistics.alpha"),
        ({"statistics": {"prevalence": 1}}, "statistics.prevalence"),
        ({"training": {"learning_rate": 0}}, "training.learning_rate"),
        ({"lime": {"samples": 1}}, "lime.samples"),
        ({"lime": "fast"}, "lime"),
        ({"image_size": 31}, "image_size"),
        ({"phantom": {"positive_share": 1.0}}, "phantom.positive_share"),
        ({"resources": {"workers": 0}}, "resources.workers"),
    ],
)
def test_unusable_value_is_refused(refuse: Refuse, settings: dict[str, Any], words: str) -> None:
    message = refuse(**settings)
    assert words in message
    assert "Value error" not in message


def test_settings_cannot_change_after_validation() -> None:
    config = build_config({})
    with pytest.raises(ValueError, match="frozen"):
        config.seeds = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--arms", "original", "silhoutte"], ["`silhoutte`", "`silhouette`"]),
        (["--arms", "lime"], ["`original`"]),
        (["--lime.top-k", "0"], ["--lime.top-k", "0"]),
        (["--seeds", "0"], ["seeds", "0"]),
        (["--seeds", "many"], ["seeds", "many"]),
        (["--weights", "resnet18=x"], ["`resnet18`"]),
    ],
    ids=" ".join,
)
def test_unusable_flag_value_is_refused(flags: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        parse_compare(flags)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("text", "words"),
    [("seeds: [1", "Expected YAML"), ("- seeds\n- 3\n", "list"), ("seeds", "str")],
    ids=["broken", "list", "bare word"],
)
def test_file_without_settings_is_refused(write_yaml, text: str, words: str) -> None:
    file = write_yaml(text)
    with pytest.raises(InputError) as error:
        parse_compare(["--config", file])
    assert words in str(error.value)
    assert file in str(error.value)


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="Expected YAML"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "seeds: 1\n# more\nseeds: 2\n",
            "line 3 cannot be read: the key `seeds` comes a second time",
        ),
        (
            "lime: {samples: 5, samples: 6}",
            "line 1 cannot be read: the key `samples` comes a second time",
        ),
        (
            "lime:\n  samples: 5\nseeds: 2\nlime:\n  top_k: 3\n",
            "line 4 cannot be read: the key `lime` comes a second time",
        ),
        ("seeds: !!int abc", "line 1 cannot be read: a value cannot be interpreted"),
        ("seeds: !!int ''", "line 1 cannot be read: a value cannot be interpreted"),
        ("seeds: !!timestamp abc", "line 1 cannot be read: a value cannot be interpreted"),
        ("grid: !!bool abc", "line 1 cannot be read: a value cannot be interpreted"),
        ("seeds: 0b_", "line 1 cannot be read: a value cannot be interpreted"),
        ("\nseeds: " + "1" * 5000, "line 2 cannot be read: a value cannot be interpreted"),
        ("[" * 3000, "it nests too deeply"),
        ("? [1, 2]\n: 3", "line 1 cannot be read: found unhashable key"),
        ("seeds: *a", "line 1 cannot be read: found undefined alias 'a'"),
        ("seeds: 'a\0b'", "not allowed"),
    ],
    ids=lambda text: text[:20],
)
def test_what_no_file_can_say_is_told_in_a_line(write_yaml, text: str, words: str) -> None:
    file = write_yaml(text)
    with pytest.raises(InputError) as error:
        parse_compare(["--config", file])
    assert str(error.value).startswith(f"Expected YAML in {file}, but ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeds: 1:30", "seeds to be a whole number, but got `1:30`"),
        ("image_size: 1:30", "but got `1:30`"),
        ("training: {learning_rate: 1:30.5}", "but got `1:30.5`"),
        ("seeds: 2024-13-45", "but got `2024-13-45`"),
        ("seeds: 2024-12-31", "but got `2024-12-31`"),
        ("seeds: &a [*a]", "but got [[["),
        ("arms: &a [*a]", "Expected value 1 of arms to be text"),
        ("training: &a {recipe: *a}", "but got a group of settings"),
        ("demo: []", "Expected a demo among"),
        ("demo: {a: 1}", "Expected a demo among"),
        ("demo: &a [*a]", "Expected a demo among"),
        ("{data: [x], demo: gain}", "either data or a demo"),
        ("seeds: -0x" + "f" * 5000, "thousands of digits"),
        ('data: "a\\0b"', "data: Expected a path or URI, but no file can be called 'a\\x00b'"),
        ('data: "a\\ud800b"', "no file can be called 'a\\ud800b'"),
        ('seeds: "a\\ud800b"', "but got `a\\ud800b`"),
        ("data: ''", "a value for data, but got an empty text"),
        ("out: ''", "a value for out, but got an empty text"),
        ("regions: ''", "a value for regions, but got an empty text"),
        ("models: [resnet18, '']", "a value for models, but got an empty text"),
        ("seeds: yes", "Expected seeds to be a number, not true or false"),
        ("lime: {top_k: true}", "Expected lime.top_k to be a number, not true or false"),
        ("split_ratio: [yes, 2, 1]", "Expected split_ratio to be a number, not true"),
        ("lime: yes", "Expected lime to be a group of settings, but got true"),
        ("grid: 5", "Expected grid to be true or false"),
        ("weights: {resnet18: ~}", "the path of a file for `resnet18`, but got nothing"),
        ("weights: {resnet18: [a]}", "the path of a file for `resnet18`, but got `['a']`"),
    ],
    ids=lambda text: text[:20],
)
def test_values_are_what_they_look_like_or_refused(write_yaml, text: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        parse_compare(["--config", write_yaml(text)])
    assert words in str(error.value)
    assert len(str(error.value)) < 500
    str(error.value).encode()


@pytest.mark.parametrize("flag", ["--config", "--data", "--out", "--config=", "--regions="])
def test_empty_words_are_refused(flag: str) -> None:
    with pytest.raises(InputError, match=f"a value for {flag.rstrip('=')}, but got an empty text"):
        parse_compare([flag] if "=" in flag else [flag, ""])


def test_numbers_have_ten_as_their_base(write_yaml) -> None:
    text = (
        "{first_seed: 010, seeds: 1_000, lime: {samples: 0x10}, training: {learning_rate: 1.e-3}}"
    )
    config = parse_compare(["--config", write_yaml(text)])
    assert (config.first_seed, config.seeds, config.lime.samples) == (10, 1000, 16)
    assert config.training.learning_rate == 1e-3


def test_aliases_are_read_as_ever(write_yaml) -> None:
    text = (
        "a: &a {samples: 5, top_k: 2}\nb: {c: &b {<<: *a, top_k: 3}}\nlime: {<<: *b, samples: 7}\n"
    )
    assert read_yaml(Path(write_yaml(text)))["lime"] == {"samples": 7, "top_k": 3}


def test_what_is_written_is_read_as_ever(write_yaml) -> None:
    shared = [1, 2]
    values = {
        "texts": ["1:30", "010", "0o7", "2024-12-31", "yes", "null", "~", "1e3", "0x1", "a: b", ""],
        "more": [
            "1_000",
            ".5",
            "-",
            "é\x07",
            "膝",
            "2001-12-14t21:59:43.10-05:00",
            "a\nb",
            "<<",
            "=",
        ],
        "numbers": [0, -7, 10**20, 1e-5, 1e22, 0.1, -2.5, float("inf"), True, False, None],
        "shared": [shared, shared],
        "defaults": build_config({}).model_dump(mode="json"),
    }
    text = yaml.safe_dump(values, allow_unicode=True)
    assert read_yaml(Path(write_yaml(text))) == yaml.safe_load(text) == values


def test_file_may_lie_at_home(write_yaml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_yaml("seeds: 7")
    monkeypatch.setenv("HOME", str(tmp_path))
    for words in (["--config=~/settings.yaml"], ["--config", "~/settings.yaml"]):
        assert parse_compare(words).seeds == 7


def test_recipe_of_no_kind_is_refused_under_a_flag(write_yaml) -> None:
    file = write_yaml("training: {recipe: [modern]}")
    assert parse_compare(["--config", file, "--training.recipe", "modern"]).training


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        parse_compare(["--config", str(tmp_path / "none.yaml")])
    with pytest.raises(InputError, match="Is a directory"):
        read_yaml(tmp_path)


def test_empty_file_changes_nothing(write_yaml) -> None:
    assert parse_compare(["--config", write_yaml("# nothing\n")]) == build_config({})


@pytest.mark.parametrize(
    "flags",
    [
        ["--models", "a", "--models", "b"],
        ["--seeds=1", "--seeds", "2"],
        ["--data", "a", "--data", "b"],
    ],
)
def test_repeated_flag_is_refused(flags: list[str]) -> None:
    with pytest.raises(InputError, match=f"{flags[0].split('=')[0]} once, but got it 2 times"):
        parse_compare(flags)


@pytest.mark.parametrize(
    "flags",
    [
        ["--workers", "2", "--resources.workers", "3"],
        ["--epochs=2", "--training.epochs", "2"],
        ["--grid", "--no-grid"],
    ],
)
def test_two_names_of_one_flag_are_refused(flags: list[str]) -> None:
    one, other = (flag.split("=")[0] for flag in flags if flag.startswith("--"))
    with pytest.raises(InputError, match=f"Expected one of {one} and {other}, but got both"):
        parse_compare(flags)


@pytest.mark.parametrize("text", ["lime: 5", "lime: [1, 2]", "lime: 'a'", "lime: no"])
def test_what_is_no_group_is_refused_under_a_flag(write_yaml, text: str) -> None:
    with pytest.raises(InputError, match=r"Expected lime in .+ to be a group of settings, but got"):
        parse_compare(["--config", write_yaml(text), "--lime.samples", "3"])


@pytest.mark.parametrize("text", ["lime:", "lime: {}", "lime: {samples: 5}"])
def test_empty_group_takes_a_flag(write_yaml, text: str) -> None:
    config = parse_compare(["--config", write_yaml(text), "--lime.samples", "3"])
    assert config.lime.samples == 3


@pytest.mark.parametrize(
    ("mistyped", "right"), [("--seed", "--seeds"), ("--lime.sampels", "--lime.samples")]
)
def test_mistyped_flag_is_refused_with_the_nearest(mistyped: str, right: str) -> None:
    with pytest.raises(InputError, match=f"`{mistyped}`. Did you mean `{right}`"):
        parse_compare([mistyped, "3"])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["compare", "--lime.top-k", "0"], 2, "--lime.top-k"),
        (["compare", "--config", "/none.yaml"], 2, "No such file"),
        (["compare", "--seed", "1"], 2, "--seeds"),
        (["comprae"], 2, "Did you mean `compare`?"),
        ([], 2, "osteo-ray COMMAND"),
        (["--help"], 0, "compare"),
        (["compare", "--help"], 0, "--lime.top-k"),
        (["report", "/none"], 2, "comparison.json"),
    ],
)
def test_exit_codes_without_traceback(
    arguments: list[str], code: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    written = capfd.readouterr()
    assert words in written.out + written.err
    assert "Traceback" not in written.out + written.err


# Weights


def test_weights_none_holds_for_every_model() -> None:
    config = build_config({"data": "/d", "weights": "none"})
    assert [config.weights_of(model) for model in config.models] == ["none", "none"]


def test_weights_default_to_the_hub() -> None:
    assert build_config({"data": "/d"}).weights_of("efficientnet_b0") is None


@pytest.mark.parametrize(
    "weights",
    [["efficientnet_b0=b0.safetensors"], {"efficientnet_b0": "b0.safetensors"}],
    ids=["flag", "mapping"],
)
def test_weights_file_belongs_to_its_model(
    weights: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = build_config({"data": "/d", "weights": weights})
    assert config.weights_of("efficientnet_b0") == str(tmp_path / "b0.safetensors")
    assert config.weights_of("mobilenetv3_large_100") is None


def test_weights_file_may_hold_an_equals_sign() -> None:
    config = build_config({"models": ["resnet18"], "weights": ["resnet18=/a=b/c.safetensors"]})
    assert config.weights_of("resnet18") == "/a=b/c.safetensors"


def test_weights_flag_replaces_the_demos(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    config = parse_compare(["--weights", f"test_byobnet={file}"])
    assert config.weights_of("test_byobnet") == str(file)
    assert config.weights_of("test_efficientnet") is None


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (["none", "efficientnet_b0=x"], "`none` alone"),
        (["b0.safetensors"], "NAME=FILE or `none`, but got `b0.safetensors`"),
        (["efficientnet_b0="], "NAME=FILE"),
        (["=b0.safetensors"], "NAME=FILE"),
        (["efficientnet_b1=x"], "Did you mean `efficientnet_b0`?"),
    ],
)
def test_unusable_weights_are_refused(refuse: Refuse, weights: list[str], words: str) -> None:
    assert words in refuse(data="/d", weights=weights)


# Identity


def _identify(**settings: Any) -> str:
    return hash_settings(build_config(settings).identity())


@pytest.mark.parametrize(
    "settings",
    [
        {"split": "random"},
        {"protocol": "paper"},
        {"second_start": "first"},
        {"background": "mean"},
        {"crossfit_folds": 2},
        {"split_ratio": [3, 1, 1]},
        {"positive_class": "normal"},
        {"image_size": 96},
        {"training": {"epochs": 3}},
        {"training": {"augmentation": {"flip": False}}},
        {"lime": {"samples": 91}},
        {"phantom": {"seed": 1}},
        {"resources": {"workers": 2}},
    ],
    ids=str,
)
def test_identity_changes_with_what_changes_results(settings: dict[str, Any]) -> None:
    assert _identify(**settings) != _identify()


@pytest.mark.parametrize(
    "settings",
    [
        {"out": "/elsewhere"},
        {"resources": {"cpus_per_worker": 4}},
        {"resources": {"gpus_per_worker": 0.5}},
        {"resources": {"max_retries": 7}},
        {"seeds": 6},
        {"first_seed": 1},
        {"models": ["resnet18"]},
        {"weights": []},
        {"arms": ["original", "lime"]},
        {"statistics": {"margin": 0.1}},
    ],
    ids=str,
)
def test_identity_ignores_where_the_work_runs_and_what_may_be_planned_anew(
    settings: dict[str, Any],
) -> None:
    assert _identify(**settings) == _identify()


def test_identity_of_real_data_ignores_phantom_settings() -> None:
    assert _identify(data="/d", phantom={"seed": 1}) == _identify(data="/d")


def test_hash_is_independent_of_key_order_at_every_depth() -> None:
    one = {"a": {"x": 1, "y": [1, 2]}, "b": "ä"}
    other = {"b": "ä", "a": {"y": [1, 2], "x": 1}}
    assert hash_settings(one) == hash_settings(other)
    assert len(hash_settings(one)) == 12
    assert hash_settings(one) != hash_settings({"a": {"x": 1, "y": [2, 1]}, "b": "ä"})


def test_hash_is_the_same_in_every_process() -> None:
    # SHA-256 of '{"a":1}' begins so; a salted hash would differ from run to run.
    assert hash_settings({"a": 1}) == "015abd7f5cc5"  # pragma: allowlist secret


def test_validated_settings_survive_a_round_trip(write_yaml) -> None:
    import yaml

    config = parse_compare(["--seeds", "3", "--weights", "test_byobnet=/w.safetensors"])
    text = yaml.safe_dump(config.model_dump(mode="json"))
    assert build_config(read_yaml(Path(write_yaml(text)))) == config


def test_suggestion_needs_a_near_word() -> None:
    assert suggest("origina", ARMS) == " Did you mean `original`?"
    assert suggest("resnet", ARMS) == ""


def test_recipe_is_a_preset_that_flags_and_files_overrule(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("training: {patience: 3, loss: {label_smoothing: 0.3}}")
    flags = ["--data", str(tmp_path), "--config", str(file)]
    for flag in (["--recipe", "modern"], ["--training.recipe=modern"]):
        found = parse_compare([*flags, *flag, "--training.optimizer.weight-decay", "0"]).training
        modern = TrainingSettings(recipe="modern")
        assert (found.recipe, found.patience, found.loss.label_smoothing) == ("modern", 3, 0.3)
        assert (found.learning_rate, found.schedule) == (modern.learning_rate, modern.schedule)
        assert (found.optimizer.weight_decay, found.optimizer.name) == (0, "adamw")
    assert parse_compare(flags).training.optimizer.name == "adam"


def test_recipe_replaces_what_the_file_of_a_run_has_from_another_recipe(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    run = parse_compare(["--data", str(tmp_path), "--epochs", "7"])
    file.write_text(yaml.safe_dump(run.model_dump(mode="json")))
    flags = ["--config", str(file), "--recipe"]
    found = parse_compare([*flags, "modern"]).training
    assert found.list_changes() == ["epochs (recipe 30, here 7)"]
    assert parse_compare([*flags, "paper"]).training == run.training


@pytest.mark.parametrize(
    ("arms", "opened"),
    [
        (["guidance", "paper"], ["original", "guided_gradients", "guided_gradients_random",
                                 "guided_activations", "guided_activations_random", "lime"]),
        (["original", "paper"], ["original", "lime"]),
        (["paper", "lime", "random_mask"], ["original", "lime", "random_mask"]),
    ],
)  # fmt: skip
def test_presets_may_share_arms_with_what_stands_beside_them(
    arms: list[str], opened: list[str]
) -> None:
    assert list(build_config({"arms": arms}).arms) == opened
