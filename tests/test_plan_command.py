"""`osteo-ray plan`: what it counts, what it says, what it refuses."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from osteo_ray.arms.registry import list_presets
from osteo_ray.base.errors import InputError
from osteo_ray.cluster.placement import Slot
from osteo_ray.commands.compare import parse_compare
from osteo_ray.commands.main import main
from osteo_ray.commands.plan import parse_plan
from osteo_ray.commands.prospects_tables import describe_recommendation
from osteo_ray.data.image_size import ImageSize
from osteo_ray.experiment.alternatives import Alternative
from osteo_ray.experiment.costs import Parts, Speed
from osteo_ray.experiment.simulated_run import Scheme
from osteo_ray.pipeline.compare import foresight
from osteo_ray.pipeline.compare.calibration import measure_rates
from osteo_ray.pipeline.compare.plan import make_plan, state_plan
from osteo_ray.pipeline.compare.prepare import describe_plan
from osteo_ray.statistics.power import detection_power
from osteo_ray.statistics.sizes import Sizes

Run = Callable[..., tuple[int, str]]
OTHERS = (Alternative("6 seeds", Scheme(6, Parts(70, 20, 10))),)
"""In the place of the real alternatives, whose simulation takes a minute."""


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Plan without measuring; return the exit code and what was printed, as one line."""
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr(foresight, "list_alternatives", lambda *_, **__: list(OTHERS))

    def plan(*flags: str) -> tuple[int, str]:
        capfd.readouterr()
        code = main(["plan", *flags, "--no-measure", "--tables", "10"])
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


def write_pilot(root: Path, *, metric: str = "auc", sd: float | None = 0.04) -> str:
    contrast = {"model": "resnet18", "arm": "lime", "baseline": "original", "sd": sd, "n_seeds": 5}
    comparison = {"metric": metric, "n_test": 12.0, "contrasts": [contrast]}
    root.mkdir()
    (root / "comparison.json").write_text(json.dumps(comparison))
    return str(root)


def test_phantoms(run: Run) -> None:
    code, printed = run()
    assert code == 0
    assert "auc on test images" in printed
    assert "lime − original" in printed
    assert "margin 0.03, the default margin" in printed
    assert (
        "0.05, of which the first conclusion spends 0.04, by Holm's method on 2 models" in printed
    )
    assert "160; per seed about 112 for training, 32 for validation, 16 for testing" in printed
    assert "simulated, 16 test images per seed; 50 % of images are positive; assumed" in printed
    assert "assumed: AUC of the baseline 0.85" in printed
    assert "two arms disagree on 20 % of test images" in printed
    # 8 epochs of 3 × 112 and 32 images, then 32 and 16; 40 times
    assert "trainings 50, 149,600 forward passes" in printed
    assert "explanations 1600, at most 102,400 forward passes" in printed
    assert "hours" not in printed
    assert "Looks" not in printed
    assert re.search(r"Plan: [0-9a-f]{12} Simulating", printed)  # what follows is on stderr


def test_margin_of_an_error_is_a_share_of_what_the_baseline_is_assumed_to_have(run: Run) -> None:
    # The Brier score of an AUC of .85, by numerical integration: p is uniform under N(0, 1), and
    # the scores of both classes lie `apart` on either side of 0.
    apart = stats.norm.ppf(0.85) / math.sqrt(2)
    z = np.linspace(-8, 8, 20_001)
    brier = np.trapezoid(stats.norm.pdf(z, apart) * (1 - stats.norm.cdf(z)) ** 2, z)
    code, printed = run("--statistics.metric", "brier", "--models", "test_byobnet")
    assert code == 0
    expected = f"margin {0.1 * brier:.3g}, the default margin of 10 % of the Brier score that"
    assert expected in printed
    sd = float(re.search(r"sd of the difference over seeds (0\.\d+)", printed)[1])
    power = detection_power(0.1 * brier, sd, 5, Sizes(n_test=16, n_train=112), 0.04)
    said = float(re.search(r"contrast alone, at the margin (0\.\d+)", printed)[1])
    assert said == pytest.approx(power, abs=0.002)


def test_images_are_counted_and_not_read(run: Run, knees: str) -> None:
    code, printed = run(knees, "--models", "test_byobnet", "--statistics.metric", "accuracy")
    assert code == 0
    assert "120; per seed about 84 for training, 24 for validation, 12 for testing" in printed
    assert "20% of 12 test images" in printed
    assert "25 % of images are positive" in printed  # the worn ones
    _, printed = run(
        knees, "--statistics.metric", "accuracy", "--positive-class", "normal", "--folds", "5",
        "--seeds", "5",
    )  # fmt: skip
    assert "about 75 for training, 21 for validation, 24 for testing" in printed
    assert "20% of 24 test images" in printed
    assert "75 % of images are positive" in printed


def test_chances_are_tabulated(run: Run) -> None:
    code, printed = run()
    assert code == 0
    assert "Chances of each verdict, of 10 simulated runs per column, in %" in printed
    assert re.search(r"real gain (\d+ ± \d+ ?){3}", printed)
    assert re.search(r"equivalent (\d+ ± \d+ ?){3}", printed)
    assert (
        "*equivalent* cannot be shown with this design: even without any difference it is found "
        "in 0 % of runs (0 of 10)." in printed
    )
    assert "Without any difference, a real gain is found in 0 % of runs (0 of 10); at most 5 %" in (
        printed
    )
    assert re.search(r"as planned, 5 seeds .* × 1 6 seeds .* 10 × 0\.7", printed)
    assert "Recommended: none. No design of these can be expected to settle" in printed
    assert run()[1] == printed  # the same plan, the same figures


def test_impossible_gain_is_named(run: Run) -> None:
    code, printed = run("--baseline-auc", "0.97")
    assert code == 0
    assert "*real gain* cannot be twice the margin: the baseline's AUC of 0.97 leaves no room" in (
        printed
    )
    assert "a gain of twice the margin" not in printed.split("Behind ±")[0]


def test_plan_that_settles_is_recommended(run: Run) -> None:
    code, printed = run(
        "--phantom.n-images", "3000", "--statistics.disagreement", "0.05", "--models", "resnet18",
        "--weights", "none", "--arms", "original", "lime", "random_mask", "silhouette",
        "--seeds", "8", "--statistics.margin", "0.07",
    )  # fmt: skip
    assert code == 0
    assert "Recommended: as planned, 8 seeds (*real gain* in 100 %" in printed
    assert "It finds either truth with a chance of at least 80 %." in printed


def test_hours_choose_the_design(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster of known speed: one forward pass per second."""
    monkeypatch.setattr(foresight, "list_alternatives", lambda *_, **__: list(OTHERS))
    config = parse_plan(
        ["--tables", "10", "--hours", "30", "--models", "resnet18", "--weights", "none"]
    )
    plan = make_plan(config)
    speed = Speed({"resnet18": 1.0}, trainings_at_once=1, workers=1, explainers=1)
    found = foresight.foresee(config, plan, speed)
    by_hand = [plan.work.passes / 3600, plan.work.passes * found.designs[1].cost / 3600]
    assert [one.hours for one in found.designs] == pytest.approx(by_hand)
    assert by_hand[1] < 30 < by_hand[0]
    assert "hours" in describe_recommendation(plan, found)
    assert "within 30 hours" in describe_recommendation(plan, found)
    best = found.recommendation.best
    assert best is None or best.design.words == "6 seeds"


def test_start_of_a_comparison_states_the_chances() -> None:
    config = parse_compare(["--models", "resnet18", "--weights", "none"])
    line = state_plan(config, Parts(112, 32, 16), positive_share=0.5)
    assert re.match(r"Plan [0-9a-f]{12}: lime minus original in auc, margin 0\.03, 5 seeds\.", line)
    assert re.search(
        r"Of 40 simulated runs: a gain of twice the margin is found real in \d+ %, and no "
        r"difference is found equivalent in 0 %\.",
        line,
    )
    assert line.endswith("25 trainings, 800 explanations.")
    bare = state_plan(parse_compare(["--arms", "original"]), Parts(112, 32, 16), 0.5)
    assert "no contrast to judge" in bare


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
    assert "power of the test" not in printed  # of the corrected t, which does not decide here
    manifest.write_text("path,label,split\n" + "\n".join(rows[:-5]) + "\n")
    code, printed = run(str(manifest), "--split", "given")
    assert code == 2
    assert "it names 8 and 0" in printed


def test_sites_are_counted(run: Run, tmp_path: Path) -> None:
    rows = [f"{n}.png,{'ab'[n % 2]},{'xyz'[n // 2 % 3]}" for n in range(30)]
    for number in range(len(rows)):
        (tmp_path / f"{number}.png").write_text("x")
    manifest = tmp_path / "knees.csv"
    manifest.write_text("path,label,site\n" + "\n".join(rows) + "\n")
    code, printed = run(str(manifest), "--split", "site", "--seeds", "6")
    assert code == 0
    assert "30; per seed about 16 for training, 4 for validation, 10 for testing" in printed
    code, printed = run(str(manifest), "--split", "site", "--seeds", "5")
    assert code == 2
    assert "multiples of 3, the number of sites" in printed


def test_looks_are_tabulated(run: Run) -> None:
    code, printed = run("--statistics.looks", "3", "4", "--statistics.spending", "pocock")
    assert code == 0
    assert "Looks, pocock spending of 0.02" in printed  # of 0.04, on two models
    assert re.search(r"settles the verdict: after \d\.\d seeds on average", printed)
    assert "power with the looks below" in printed
    assert re.search(r"3 0\.\d\d 0\.\d+ \d+\.\d\d 0\.\d+ \d\.\d{3} 4 0\.", printed)
    assert re.search(r"5 1\.00 0\.02 ", printed)


def test_pilot_gives_the_spread(run: Run, tmp_path: Path) -> None:
    pilot = write_pilot(tmp_path / "pilot")
    code, printed = run("--pilot", pilot)
    assert code == 0
    assert "0.040, measured: resnet18 in the earlier run, 5 seeds, 12 test images each" in printed
    assert "standard deviation of the difference over seeds 0.040" in printed


def test_difference_that_cannot_be_detected(run: Run) -> None:
    code, printed = run("--seeds", "2")
    assert code == 0
    assert "detectable with power 0.8 no possible difference" in printed
    (sd,) = re.findall(r"sd of the difference over seeds (\S+),", printed)
    (found,) = re.findall(r"any number of seeds a true difference of (\S+);", printed)
    # alpha .04 on two models, power .8: by the normal quantiles 2.326 and 0.842
    assert float(found) == pytest.approx(
        (2.326 + 0.842) * float(sd) * math.sqrt(16 / 112), abs=1e-3
    )


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
    assert describe_plan(parse_compare(["--data", "phantom"]))["hash"] == same


def test_plan_is_of_what_compare_would_do() -> None:
    flags = ["--seeds", "6", "--statistics.looks", "3", "--arms", "original", "lime"]
    config = parse_plan([*flags, "--no-measure"])
    assert config.to_compare() == parse_compare(flags)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            ("--arms", "original"),
            "Expected lime or lime_crossfit or guided_gradients or",
        ),
        (("nowhere",), "does not exist"),
        (("--pilot", "nowhere"), "Expected --pilot to be a finished run"),
        (("--statistics.looks", "3", "3"), "Expected increasing looks of at least 2 seeds"),
        (("--statistics.looks", "1"), "Expected increasing looks of at least 2 seeds"),
        (("--statistics.looks", "5"), "before the last of 5 seeds, but got one after 5"),
        (
            ("--seeds", "10", "--folds", "5", "--statistics.looks", "4"),
            "looks after multiples of 5 seeds",
        ),
        (("--statistics.power", "0.3"), "above 0.5"),
        (("--baseline-auc", "0.5"), "above 0.5"),
        (("--hours", "3"), "Expected --hours without --no-measure"),
        (("--statistics.disagreement", "0"), "above 0, but got 0"),
    ],
)
def test_bad_input(run: Run, flags: tuple[str, ...], expected: str) -> None:
    code, printed = run(*flags)
    assert code == 2
    assert expected in printed.replace("│ ", "")
    assert "Traceback" not in printed


def test_bad_pilots(run: Run, tmp_path: Path) -> None:
    code, printed = run("--pilot", write_pilot(tmp_path / "a", metric="accuracy"))
    assert (code, "its endpoint is accuracy" in printed) == (2, True)
    code, printed = run("--pilot", write_pilot(tmp_path / "b", sd=None))
    assert (code, "but it has none" in printed) == (2, True)
    (tmp_path / "a" / "comparison.json").write_text("{")
    code, printed = run("--pilot", str(tmp_path / "a"))
    assert (code, "it cannot be read" in printed) == (2, True)
    for other in ("[]", '{"metric": "auc", "contrasts": [{"model": "resnet18"}]}'):
        (tmp_path / "a" / "comparison.json").write_text(other)
        code, printed = run("--pilot", str(tmp_path / "a"))
        assert (code, "holds something else" in printed) == (2, True)


@pytest.mark.ray
class TestOnRay:
    """What is measured on workers."""

    @pytest.mark.long
    def test_hours_are_told(self, local_ray: None, capfd, monkeypatch) -> None:
        monkeypatch.setattr("osteo_ray.pipeline.compare.calibration.MOST_S", 0.2)
        monkeypatch.setenv("COLUMNS", "250")
        simulated = ["--arms", "original", "lime", "--seeds", "2", "--tables", "10"]
        assert main(["plan", "--image-size", "32", *simulated]) == 0
        printed = " ".join(capfd.readouterr().out.split())
        (training, explaining) = re.search(
            r"hours on this cluster (\S+) for training, at most (\S+) for explaining", printed
        ).groups()  # type: ignore[union-attr]
        assert re.search(r"trainings? at a time \(1 CPU each\), then \d+ explaining actor", printed)
        assert 0 < float(training) < 10
        assert 0 < float(explaining) < 10

    @pytest.mark.parametrize("size_px", [32, 192])
    def test_each_model_has_a_rate(self, local_ray: None, size_px: int) -> None:
        names = ("test_byobnet", "test_efficientnet")
        rates = measure_rates(
            names,
            Slot(cpus=1, gpus=0),
            image_size=ImageSize.square(size_px),
            batch_size=16,
            seconds=0.2,
            codes={},
        )
        assert rates.keys() == set(names)
        assert all(0 < rate < math.inf for rate in rates.values())

    def test_unknown_model(self, local_ray: None) -> None:
        slot = Slot(cpus=1, gpus=0)
        with pytest.raises(InputError, match="Did you mean `efficientnet_b"):
            measure_rates(
                ["efficientnet_bo"],
                slot,
                image_size=ImageSize.square(32),
                batch_size=16,
                seconds=0.1,
                codes={},
            )


def test_arms_and_presets_have_costs(run: Run) -> None:
    code, printed = run("--arms", "original", "lime", "lime_crossfit", "scorecam", "--seeds", "2")
    assert code == 0
    adds, takes = printed.split("What each planned arm adds", 1)[1].split("What --arms PRESET")
    # 2 models, 2 seeds; 3 folds, which explain 112 training images in all
    assert re.search(r" lime_crossfit 16 448 \S+ ", adds)
    # The first model explains all 160 images for either, so neither alone adds explanations.
    assert re.search(r" lime 4 0 \S+ ", adds)
    assert re.search(r" scorecam 4 0 \S+ ", adds)
    assert " original " not in adds  # what it would save is the whole comparison
    for preset, arms in list_presets().items():
        assert re.search(rf" {preset} {len(arms)} \d", takes)
    assert " paper 2 8 640 " in takes
