"""Flags, help, and what else the command line offers to somebody who is new to it."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from test_cli import draw_images, fail

import osteo_ray
from osteo_ray.arms.registry import list_presets
from osteo_ray.base.errors import InputError
from osteo_ray.base.settings import Settings
from osteo_ray.commands.audit import parse_audit
from osteo_ray.commands.compare import parse_compare
from osteo_ray.commands.completion import CONFIGURED
from osteo_ray.commands.explain import parse_explain
from osteo_ray.commands.help_text import _SHORT
from osteo_ray.commands.main import main
from osteo_ray.commands.plan import parse_plan
from osteo_ray.commands.reproduce import parse_reproduce
from osteo_ray.config.build import build, build_config
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.demos import DEFAULT_DEMO, DEMOS
from osteo_ray.config.flags import Flag, list_flags
from osteo_ray.config.starter import write_starter
from osteo_ray.data.image_size import ImageSize

KINDS = sorted(CONFIGURED.items())


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out


# Flags and files say the same


def nest(flag: Flag, value: Any) -> dict[str, Any]:
    for part in reversed(flag.path):
        value = {part: value}
    return dict(value)


def list_words(flag: Flag, value: Any) -> list[str]:
    if flag.values == 0:
        return [flag.names[0] if value else flag.negative]
    several = value if isinstance(value, tuple | list) else [value]
    return [flag.names[-1], *map(str, several)]


EXAMPLES: dict[str, Any] = {
    "root": "/images",
    "patient_pattern": r"(\d+)_.*",
    "out": "/runs/a",
    "weights": ["none"],
    "networks": [],
    "arms": ["original", "lime"],
    "regions": "/masks",
    "test_data": "/others",
    "positive_class": "worn",
    "mlflow": "local",
    "statistics.looks": [3, 5],
    "statistics.metric": "mcc",
    "site_level": 2,
    "folds": 5,
    "conflicts": "majority",
    "unexplained": "whole",
    "laterality": "split",
    "statistics.ordinal": ["a", "b", "c"],
    "lime.fill": 128,
}


@pytest.mark.parametrize("flag", list(list_flags(CompareConfig)), ids=lambda flag: flag.name)
def test_a_flag_sets_what_a_file_sets(flag: Flag, tmp_path: Path) -> None:
    value = EXAMPLES.get(flag.name, flag.default)
    if value is None:
        value = 0.5 if flag.metavar == "X" else 1
    data = [] if flag.name == "data" or flag.path[0] == "phantom" else ["--data", "/images"]
    file = tmp_path / "settings.yaml"
    settings = nest(flag, list(value) if isinstance(value, tuple) else value)
    file.write_text(yaml.safe_dump(settings | ({"data": "/images"} if data else {})))
    assert parse_compare([*data, *list_words(flag, value)]) == parse_compare(
        ["--config", str(file)]
    )


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["--seeds", "many"], {"seeds": "many"}),
        (["--seeds", "0"], {"seeds": 0}),
        (["--seeds", "1.5"], {"seeds": 1.5}),
        (["--arms", "original", "limes"], {"arms": ["original", "limes"]}),
        (["--protocol", "papier"], {"protocol": "papier"}),
        (["--lime.fill", "x"], {"lime": {"fill": "x"}}),
        (["--training.optimizer.clip-norm", "-1"], {"training": {"optimizer": {"clip_norm": -1}}}),
        (["--split-ratio", "7", "0", "1"], {"split_ratio": [7, 0, 1]}),
        (["--folds", "3", "--split", "site"], {"folds": 3, "split": "site"}),
        (["--tuning.trials", "1"], {"tuning": {"trials": 1}}),
        (["--resources.workers", "2", "--resources.gpus-per-worker", "0.5"],
         {"resources": {"workers": 2, "gpus_per_worker": 0.5}}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_flags_and_files_are_refused_in_the_same_words(
    words: list[str], settings: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as by_file:
        build_config(settings)
    with pytest.raises(InputError) as by_flag:
        parse_compare(words)
    said = str(by_flag.value)
    for flag in list_flags(CompareConfig):  # which a message calls as the user did
        said = re.sub(
            rf"^((?:Expected )?(?:value \d of )?){flag.names[-1]}\b", rf"\1{flag.name}", said
        )
    assert said == str(by_file.value)
    assert not re.search(r"type=|input_value|pydantic|literal\[", str(by_flag.value))


def test_none_and_both_spellings_of_a_flag_are_understood() -> None:
    config = parse_compare(["--image_size=32", "--lime.top_k", "2", "--folds", "None", "--no-grid"])
    assert (config.image_size, config.lime.top_k, config.folds, config.grid) == (
        ImageSize.square(32),
        2,
        None,
        False,
    )
    flip = parse_compare(["--training.augmentation.no-flip"]).training.augmentation.flip
    assert not flip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds"], "Expected a value behind --seeds"),
        (["--split-ratio", "1", "2"], "Expected 3 values behind --split-ratio"),
        (["a", "b"], "Expected DATA once, but got a and b"),
        (["a", "--data", "b"], "Expected DATA once, but got b and a"),
        (["-x"], "but got `-x`"),
        (["--data", "a", "--demo"], "either data or a demo"),
        (["--demo", "outlin"], "Did you mean `outline`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_that_cannot_be_read_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_compare(words)


@pytest.mark.parametrize("parse", [parse_compare, parse_plan, parse_audit, parse_explain])
@pytest.mark.parametrize("words", ["/knees", "/knees --out /o", "--out /o /knees"])
def test_data_needs_no_flag(parse: Any, words: str) -> None:
    assert parse(words.split()).data == "/knees"


def test_run_needs_no_flag() -> None:
    assert parse_reproduce(["--seed", "1", "/runs/a"]).run == "/runs/a"


def test_protocol_of_the_paper_brings_its_split() -> None:
    config = parse_compare(["--protocol", "paper"])
    assert config.split == "random"
    with pytest.raises(InputError, match="splits at random twice, but got --split grouped"):
        parse_compare(["--protocol", "paper", "--split", "grouped"])


def test_settings_that_a_command_derives_are_refused_without_traceback(
    capfd: pytest.CaptureFixture[str],
) -> None:
    printed = fail(capfd, "protocols", "--arms", "original", "lime", "lime_crossfit")
    assert "Expected no lime_crossfit with --protocol paper" in printed
    assert "input_value" not in printed


def test_demos_are_presets() -> None:
    found = {name: parse_compare(["--demo", name]) for name in DEMOS}
    assert all(config == build_config({"demo": name}) for name, config in found.items())
    assert parse_compare(["--demo"]) == parse_compare([])
    changed = parse_compare(["--demo", DEFAULT_DEMO, "--seeds", "2"])
    assert changed == found[DEFAULT_DEMO].model_copy(update={"seeds": 2})
    assert len({config.plan_hash() for config in found.values()}) == len(DEMOS)


# Help


def squeeze(text: str) -> str:
    return "".join(text.split())  # lines break at hyphens too


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_help_fits_a_screen_and_full_help_has_everything(
    name: str, kind: type[Settings], capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    short, full = (run(capsys, name, flag) for flag in ("--help", "--help-all"))
    assert len(short.splitlines()) <= 45
    assert max(map(len, (short + full).splitlines())) <= 100
    assert {flag.names[0] for flag in list_flags(kind)} <= set(re.findall(r"--[\w.-]+", full))
    for flag in list_flags(kind):
        assert squeeze(flag.description) in squeeze(full)


def test_names_of_the_short_help_exist() -> None:
    known = {flag.name for kind in CONFIGURED.values() for flag in list_flags(kind)}
    assert {name for group in _SHORT.values() for name in group} <= known


@pytest.mark.parametrize("flag", ["--help", "--help-all"])
def test_help_shows_the_defaults_of_both(flag: str, capsys) -> None:
    printed = run(capsys, "compare", flag)
    demo = parse_compare([])
    assert f"[30; demo {demo.training.epochs}]" in printed
    assert f"[224; demo {demo.image_size}]" in printed
    assert "[auc]" in printed  # the same for both


def test_version(capsys) -> None:
    assert run(capsys, "--version") == f"osteo-ray {osteo_ray.__version__}\n"


@pytest.mark.parametrize("words", ["--help", "compare --help-all"])
def test_a_reader_that_goes_away_is_no_error(words: str) -> None:
    program = [sys.executable, "-c", "from osteo_ray.commands.main import main; exit(main())"]
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run([*program, *words.split()], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("command", ["protocols", "variance"])
def test_help_names_the_arms_that_the_demo_of_a_command_has(command: str, capsys) -> None:
    kind = CONFIGURED[command]
    assert build(kind, {"demo": DEFAULT_DEMO}).arms == ("original", "lime")  # those of `paper`
    (line,) = [one for one in run(capsys, command, "--help").splitlines() if "--arms" in one]
    assert line.endswith("[paper]")
    assert "demo original" in run(capsys, "compare", "--help")


# Before and after


def test_dry_run_says_what_would_be_done_and_leaves_nothing(tmp_path: Path, capfd) -> None:
    draw_images(tmp_path / "set" / "normal", 20)
    draw_images(tmp_path / "set" / "worn", 10, seed=1)
    words = ["compare", str(tmp_path / "set"), "--weights", "none", "--models", "resnet18"]
    words += ["--out", str(tmp_path / "run"), "--seeds", "3", "--dry-run"]
    words += ["--arms", "original", "lime"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["classes"] == {"normal": 20, "worn": 10}
    assert (found["exists"], found["seeds"]) == (False, 3)
    assert found["work"]["n_trainings"] == 6
    assert found["plan_hash"] == parse_compare(words[1:]).plan_hash()
    assert main(words) == 0
    printed = capfd.readouterr().out
    assert "normal 20, worn 10" in printed
    assert found["plan_hash"] in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("split", "counts"),  # of sites, one of three is tested; the rest is divided 7:2
    [("grouped", (42, 12, 6)), ("given", (12, 18, 30)), ("site", (31, 9, 20))],
)
def test_dry_run_counts_the_parts_of_the_split_that_is_asked_for(
    split: str, counts: tuple[int, int, int], tmp_path: Path, capfd
) -> None:
    rows = ["path,label,split,site"]
    for number in range(60):
        part = "train" if number < 12 else "validation" if number < 30 else "test"
        rows.append(f"{number}.png,{('normal', 'worn')[number % 2]},{part},{'abc'[number // 20]}")
    (tmp_path / "knees.csv").write_text("\n".join(rows))  # no content: nothing is decoded
    words = [str(tmp_path / "knees.csv"), "--weights", "none", "--models", "resnet18"]
    words += ["--out", str(tmp_path / "run"), "--seeds", "3", "--split", split, "--dry-run"]
    assert main(["compare", *words, "--json"]) == 0
    parts = json.loads(capfd.readouterr().out)["parts"]
    assert tuple(round(parts[name]) for name in ("train", "validation", "test")) == counts


def test_dry_run_refuses_regions_that_lack_an_image(tmp_path: Path, capfd) -> None:
    for label, seed in (("normal", 0), ("worn", 1)):
        draw_images(tmp_path / "set" / label, 10, seed=seed)
    words = ["compare", str(tmp_path / "set"), "--weights", "none", "--models", "resnet18"]
    words += ["--out", str(tmp_path / "run"), "--dry-run", "--regions", str(tmp_path / "masks")]
    (tmp_path / "masks").mkdir()
    assert main(words) == 2
    assert "holds no PNG file" in capfd.readouterr().err
    names = [path.relative_to(tmp_path / "set") for path in (tmp_path / "set").glob("*/*.png")]
    assert len(names) == 20
    for name in names[1:]:  # no content: nothing is decoded
        (tmp_path / "masks" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "masks" / name).touch()
    assert main(words) == 2
    assert f"1 of 20 images have none: {names[0].as_posix()}" in capfd.readouterr().err
    (tmp_path / "masks" / names[0]).parent.mkdir(exist_ok=True)
    (tmp_path / "masks" / names[0]).touch()
    assert main(words) == 0


def draw_guessed_patients(folder: Path) -> Path:
    """Draw 60 images of 30 patients, whom nothing but the names of files tells."""
    for label, first in (("normal", 0), ("worn", 15)):
        draw_images(folder / label, 30, seed=first)
        for number in range(30):
            name = f"{9000001 + first + number // 2}{'LR'[number % 2]}.png"
            (folder / label / f"{number}.png").rename(folder / label / name)
    return folder


SMALL_PLAN = ("--arms", "original", "lime", "--seeds", "2", "--tables", "10")
"""What makes a plan simulate in no time."""


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "--weights", "none", "--models", "resnet18", "--dry-run"),
        ("plan", *SMALL_PLAN, "--weights", "none", "--models", "resnet18", "--no-measure"),
        ("init",),
    ],
)
def test_patients_that_names_only_suggest_are_said_before_anything_is_read(
    words: tuple[str, ...], tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = draw_guessed_patients(tmp_path / "set")
    printed = " ".join(run(capfd, words[0], str(folder), *words[1:]).split())
    assert "No patients are named, but the file name up to the side of the body may name" in printed
    assert "30 on 60 of 60 images" in printed
    assert "if not, --patient-pattern none" in printed
    if words[0] == "init":
        text = (tmp_path / "osteo-ray.yaml").read_text().replace("\n# ", " ")
        assert "may name them: 30 on 60 of 60 images" in text


def uncomment(text: str) -> str:
    return re.sub(r"^#(?! \S)", "", text, flags=re.MULTILINE)


def test_starting_file_holds_every_default_and_is_valid_either_way() -> None:
    text = write_starter(["A heading."], {"data": "/knees", "positive_class": "worn"})
    assert yaml.safe_load(text) == {"data": "/knees", "positive_class": "worn"}
    full = yaml.safe_load(uncomment(text))
    wanted = build(CompareConfig, {"data": "/knees", "positive_class": "worn"})
    assert build(CompareConfig, full) == wanted
    assert full.keys() == CompareConfig.model_fields.keys() - {"phantom"}
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize(("n_images", "folds"), [(12, 5), (120, None)])
def test_init_writes_what_it_finds(
    n_images: int, folds: int | None, tmp_path: Path, capsys
) -> None:
    draw_images(tmp_path / "set" / "normal", n_images)
    draw_images(tmp_path / "set" / "worn", n_images, seed=1)
    file = tmp_path / "settings.yaml"
    printed = run(capsys, "init", str(tmp_path / "set"), "--out", str(file))
    assert f"Found {2 * n_images} images: normal {n_images}, worn {n_images}." in printed
    config = parse_compare(["--config", str(file)])
    assert (config.data, config.positive_class) == (str(tmp_path / "set"), "worn")
    assert config.folds == folds


def test_init_names_commands_that_a_shell_takes_as_they_are(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "OS Collected Data"
    for number, label in enumerate(("normal", "worn")):
        draw_images(folder / label, 12, seed=number)
    file = tmp_path / "my settings.yaml"
    printed = run(capsys, "init", str(folder), "--out", str(file))
    audit, compare = re.findall(r"`(osteo-ray [^`]+)`", printed.splitlines()[-1])
    assert shlex.split(audit) == ["osteo-ray", "audit", str(folder)]
    words = ["osteo-ray", "compare", "--config", str(file), "--dry-run"]
    assert shlex.split(compare) == words


def test_init_finds_given_parts_and_patients(tmp_path: Path, capsys) -> None:
    draw_images(tmp_path / "images", 12)
    rows = [
        f"images/{n}.png,{('normal', 'worn')[n % 2]},p{n},{('train', 'val', 'test')[n % 3]}"
        for n in range(12)
    ]
    manifest = tmp_path / "all.csv"
    manifest.write_text("\n".join(["path,label,patient_id,split", *rows]))
    file = tmp_path / "settings.yaml"
    printed = run(capsys, "init", str(manifest), "--out", str(file))
    assert "Patients named by the source: 12, on 12 of 12 images" in printed
    assert "parts of a split: test, train, validation" in printed
    assert parse_compare(["--config", str(file)]).split == "given"


def test_init_overwrites_nothing(tmp_path: Path, capfd) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("seeds: 3\n")
    draw_images(tmp_path / "set" / "normal", 2)
    draw_images(tmp_path / "set" / "worn", 2)
    words = ["init", str(tmp_path / "set"), "--out", str(file)]
    assert "exists. Choose another --out" in fail(capfd, *words)
    assert file.read_text() == "seeds: 3\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_has_commands_and_flags(shell: str, capsys) -> None:
    printed = run(capsys, "completion", shell)
    for word in ("check-table", "submit", "lime.top-k", "dry-run"):
        assert word in printed


def test_completion_works_in_bash(tmp_path: Path, capsys) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(run(capsys, "completion", "bash"))
    asked = f"""source {script}
COMP_WORDS=(osteo-ray comp); COMP_CWORD=1; _osteo_ray; echo "${{COMPREPLY[@]}}"
COMP_WORDS=(osteo-ray compare --lime.to); COMP_CWORD=2; _osteo_ray; echo "${{COMPREPLY[@]}}"
"""
    found = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["compare completion", "--lime.top-k"]
    assert found.stderr == ""


def test_numbers_of_a_printed_table_as_json(capsys) -> None:
    assert main(["check-table", "--paper", "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert len(found["table"]["rows"]) == 4


def test_presets_of_arms_are_in_the_help(capsys) -> None:
    printed = run(capsys, "compare", "--help-all")
    assert all(name in printed for name in list_presets())
    assert np.all([name in printed for name in ("paper", "controls")])
