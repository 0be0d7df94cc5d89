"""`osteo-ray plan`: what it counts, what it says, what it refuses."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from osteo_ray.base.errors import InputError
from osteo_ray.cluster.placement import Slot
from osteo_ray.commands.compare import parse_compare
from osteo_ray.commands.main import main
from osteo_ray.commands.plan import parse_plan
from osteo_ray.pipeline.compare.calibration import measure_rates
from osteo_ray.pipeline.compare.plan import make_plan
from osteo_ray.pipeline.compare.prepare import describe_plan

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Plan without measuring; return the exit code and what was printed, as one line."""
    monkeypatch.setenv("COLUMNS", "250")

    def plan(*flags: str) -> tuple[int, str]:
        capfd.readouterr()
        code = main(["plan", *flags, "--no-measure"])
        return code, " ".join("".join(capfd.readouterr()).split())

    return plan


@pytest.fixture
def knees(tmp_path: Path) -> str:
    """A folder of 90 + 30 files that no one can read: a plan does not look into them."""
    for label, count in (("normal", 90), ("worn", 30)):
        (tmp_path / "knees" / label).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "knees" / label / f"{number}.png").write_text("not an image")
    return str(tmp_path / "knees")


def write_pilot(root: Path, *, metric: str = "accuracy", sd: float | None = 0.04) -> str:
    contrast = {"model": "a", "arm": "lime", "baseline": "original", "sd": sd, "n_seeds": 5}
    comparison = {"metric": metric, "n_test": 12.0, "contrasts": [contrast]}
    root.mkdir()
    (root / "comparison.json").write_text(json.dumps(comparison))
    return str(root)


def test_phantoms(run: Run) -> None:
    code, printed = run()
    assert code == 0
    assert "accuracy on test images" in printed
    assert "lime − original" in printed
    assert "0.05 over 10 contrasts, 0.005 in Holm's strictest step" in printed
    assert "160; per seed about 112 for training, 32 for validation, 16 for testing" in printed
    assert "0.112, assumed: arms disagree on 20% of 16 test images" in printed
    # 8 epochs of 3 × 112 and 32 images, then 32 and 16; 40 times
    assert "trainings 50, 149,600 forward passes" in printed
    assert "explanations 1600, at most 102,400 forward passes" in printed
    assert "hours" not in printed
    assert "Looks" not in printed
    assert re.search(r"Plan: [0-9a-f]{12}$", printed)


def test_images_are_counted_and_not_read(run: Run, knees: str) -> None:
    code, printed = run(knees, "--models", "test_byobnet", "--statistics.metric", "recall")
    assert code == 0
    assert "120; per seed about 84 for training, 24 for validation, 12 for testing" in printed
    assert "20% of 3 test images" in printed  # a quarter is worn
    _, printed = run(
        knees, "--statistics.metric", "recall", "--positive-class", "normal", "--folds", "5",
        "--seeds", "5",
    )  # fmt: skip
    assert "about 75 for training, 21 for validation, 24 for testing" in printed
    assert "20% of 18 test images" in printed


def test_given_split_is_counted(run: Run, tmp_path: Path) -> None:
    parts = ["train"] * 8 + ["val"] * 3 + ["test"] * 5
    rows = [f"{n}.png,{'ab'[n % 2]},{part}" for n, part in enumerate(parts)]
    for number in range(len(parts)):
        (tmp_path / f"{number}.png").write_text("x")
    manifest = tmp_path / "knees.csv"
    manifest.write_text("path,label,split\n" + "\n".join(rows) + "\n")
    code, printed = run(str(manifest), "--split", "given")
    assert code == 0
    assert "16; per seed about 8 for training, 3 for validation, 5 for testing" in printed
    manifest.write_text("path,label,split\n" + "\n".join(rows[:-5]) + "\n")
    code, printed = run(str(manifest), "--split", "given")
    assert code == 2
    assert "it names 8 and 0" in printed


def test_looks_are_tabulated(run: Run) -> None:
    code, printed = run("--statistics.looks", "3", "4", "--statistics.spending", "pocock")
    assert code == 0
    assert "Looks, pocock spending of 0.005" in printed
    assert "power with the looks below" in printed
    assert re.search(r"3 0\.\d\d 0\.\d+ \d+\.\d\d 0\.\d+ \d\.\d{3} 4 0\.", printed)
    assert re.search(r"5 1\.00 0\.005 ", printed)


def test_pilot_gives_the_spread(run: Run, tmp_path: Path) -> None:
    pilot = write_pilot(tmp_path / "pilot")
    code, printed = run("--pilot", pilot)
    assert code == 0
    assert "0.040, measured: a in the earlier run, 5 seeds, 12 test images each" in printed


def test_difference_that_cannot_be_detected(run: Run) -> None:
    code, printed = run("--seeds", "2")
    assert code == 0
    assert "detectable with power 0.8 no possible difference" in printed
    assert "any number of seeds a true difference of 0.154" in printed


def test_single_seed(run: Run) -> None:
    code, printed = run("--seeds", "1")
    assert code == 0
    assert "none: a test needs at least 2 seeds" in printed
    assert "detectable with power 0.8 no possible difference" in printed


def test_nothing_is_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run()[0] == 0
    assert list(tmp_path.iterdir()) == []


def test_hash_is_that_of_what_determines_the_plan(tmp_path: Path) -> None:
    def hash_of(*flags: str) -> str:
        return make_plan(parse_plan(flags)).hash

    same = hash_of()
    assert hash_of("--resources.cpus-per-worker", "2", "--out", str(tmp_path / "x")) == same
    assert hash_of("--no-measure") == same
    others = [
        hash_of("--statistics.margin", "0.05"),
        hash_of("--statistics.looks", "3"),
        hash_of("--statistics.disagreement", "0.1"),
        hash_of("--seeds", "6"),
        hash_of("--epochs", "9"),
    ]
    assert len({same, *others}) == 6
    # An earlier run changes what is expected of the plan, not what is planned.
    assert hash_of("--pilot", write_pilot(tmp_path / "pilot")) == same
    assert describe_plan(parse_compare([]))["hash"] == same


def test_plan_is_of_what_compare_would_do() -> None:
    flags = ["--seeds", "6", "--statistics.looks", "3", "--arms", "original", "lime"]
    config = parse_plan([*flags, "--no-measure"])
    assert config.to_compare() == parse_compare(flags)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--arms", "original"), "Expected lime or lime_crossfit among the arms"),
        (("nowhere",), "does not exist"),
        (("--pilot", "nowhere"), "Expected --pilot to be a finished run"),
        (("--statistics.looks", "3", "3"), "Expected increasing looks of at least 2 seeds"),
        (("--statistics.looks", "1"), "Expected increasing looks of at least 2 seeds"),
        (("--statistics.looks", "5"), "before the last of 5 seeds, but got one after 5"),
        (
            ("--seeds", "10", "--folds", "5", "--statistics.looks", "4"),
            "looks after multiples of 5 seeds",
        ),
        (("--statistics.power", "0.3"), "greater than 0.5"),
        (("--statistics.disagreement", "0"), "greater than 0"),
    ],
)
def test_bad_input(run: Run, flags: tuple[str, ...], expected: str) -> None:
    code, printed = run(*flags)
    assert code == 2
    assert expected in printed.replace("│ ", "")
    assert "Traceback" not in printed


def test_bad_pilots(run: Run, tmp_path: Path) -> None:
    code, printed = run("--pilot", write_pilot(tmp_path / "a", metric="auc"))
    assert (code, "its endpoint is auc" in printed) == (2, True)
    code, printed = run("--pilot", write_pilot(tmp_path / "b", sd=None))
    assert (code, "but it has none" in printed) == (2, True)
    (tmp_path / "a" / "comparison.json").write_text("{")
    code, printed = run("--pilot", str(tmp_path / "a"))
    assert (code, "Expected JSON in" in printed) == (2, True)
    (tmp_path / "a" / "comparison.json").write_text("[]")
    code, printed = run("--pilot", str(tmp_path / "a"))
    assert (code, "holds something else" in printed) == (2, True)


@pytest.mark.ray
class TestOnRay:
    """What is measured on workers."""

    def test_hours_are_told(self, local_ray: None, capfd, monkeypatch) -> None:
        monkeypatch.setattr("osteo_ray.pipeline.compare.calibration.MOST_S", 0.2)
        monkeypatch.setenv("COLUMNS", "250")
        assert main(["plan", "--image-size", "32"]) == 0
        printed = " ".join(capfd.readouterr().out.split())
        (training, explaining) = re.search(
            r"hours on this cluster (\S+) for training, at most (\S+) for explaining", printed
        ).groups()  # type: ignore[union-attr]
        assert 0 < float(training) < 10
        assert 0 < float(explaining) < 10

    def test_smaller_images_are_faster(self, local_ray: None) -> None:
        rates = [
            measure_rates(
                ("test_byobnet", "test_efficientnet"),
                Slot(cpus=1, gpus=0),
                image_size=size_px,
                batch_size=16,
                seconds=1.0,
            )
            for size_px in (32, 192)
        ]
        assert set(rates[0]) == set(rates[1]) == {"test_byobnet", "test_efficientnet"}
        assert all(rates[0][name] > rates[1][name] > 0 for name in rates[0])

    def test_unknown_model(self, local_ray: None) -> None:
        slot = Slot(cpus=1, gpus=0)
        with pytest.raises(InputError, match="Did you mean `efficientnet_b"):
            measure_rates(["efficientnet_bo"], slot, image_size=32, batch_size=16, seconds=0.1)
