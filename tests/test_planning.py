"""What a design can find, and what it costs: by hand, and against simulation and a sister test."""

import math
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from test_old_run import ARCHIVE, open_old

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.arms.registry import ARMS, list_presets
from osteo_ray.base.runs import Run
from osteo_ray.data.splits.assignment import SPLIT_NAMES, assign_fold_splits, assign_splits
from osteo_ray.experiment.costs import Hours, Parts, Work, count_parts, count_work, estimate_hours
from osteo_ray.experiment.planning import Design, assess, assume_sd, read_pilot
from osteo_ray.experiment.trials import MaskJob, plan_trials
from osteo_ray.statistics.sizes import Sizes

DESIGN = Design(
    metric="accuracy",
    arm="lime",
    baseline="original",
    effect=0.05,
    alpha=0.05,
    n_models=1,
    power=0.8,
    n_seeds=10,
    sizes=Sizes(n_test=74, n_train=520),
    sd=0.04,
)
PARTS = Parts(train=70, validation=20, test=10)


# Power


@pytest.mark.parametrize("n_seeds", [2, 10, 34])
def test_without_test_images_power_is_that_of_statsmodels(n_seeds: int) -> None:
    design = replace(
        DESIGN, sizes=Sizes(n_test=0, n_train=520), n_seeds=n_seeds, effect=0.02
    )  # d_z 0.5
    reference = TTestPower().power(0.5, n_seeds, 0.05, alternative="larger")
    one_sided = replace(design, alpha=0.1)  # statsmodels adds the other tail to two-sided tests
    assert _find_power(one_sided) == pytest.approx(reference, abs=1e-6)


def _find_power(design: Design) -> float:
    power = assess(design).power
    assert power is not None
    return power


def test_power_is_that_of_simulated_seeds() -> None:
    rng, ratio, n = np.random.default_rng(3), 74 / 520, 200_000
    seeds = 0.05 + 0.04 * (
        math.sqrt(ratio) * rng.standard_normal((n, 1)) + rng.standard_normal((n, 10))
    )
    t = seeds.mean(1) / (seeds.std(1, ddof=1) * math.sqrt(1 / 10 + ratio))
    critical = stats.t.isf(0.05 / 3 / 2, 9)
    assert _find_power(replace(DESIGN, n_models=3)) == pytest.approx(
        (t >= critical).mean(), abs=0.004
    )


def test_prospects_agree_with_each_other() -> None:
    found = assess(DESIGN)
    assert found.power is not None
    assert found.smallest is not None
    assert _find_power(replace(DESIGN, effect=found.smallest)) == pytest.approx(0.8, abs=1e-6)
    assert found.n_seeds is not None
    assert _find_power(replace(DESIGN, n_seeds=found.n_seeds)) >= 0.8
    assert _find_power(replace(DESIGN, n_seeds=found.n_seeds - 1)) < 0.8
    assert found.smallest_ever < found.smallest


def test_ceiling_of_the_facts() -> None:
    """With n_test/n_train = 74/520, d_z below 0.74 never gets p < .05."""
    found = assess(DESIGN)
    assert found.least_d == pytest.approx(0.739, abs=0.001)
    z = 1.959964 + 0.841621
    assert found.smallest_ever == pytest.approx(z * 0.04 * math.sqrt(74 / 520), rel=1e-6)
    many = assess(replace(DESIGN, n_seeds=100_000))
    assert many.smallest == pytest.approx(found.smallest_ever, rel=0.001)


def test_effect_below_the_ceiling_needs_more_seeds_than_there_are() -> None:
    ever = assess(DESIGN).smallest_ever
    assert assess(replace(DESIGN, effect=0.99 * ever)).n_seeds is None
    assert assess(replace(DESIGN, effect=1.1 * ever)).n_seeds is not None


def test_models_make_the_test_stricter() -> None:
    assert replace(DESIGN, n_models=4).strictest == 0.0125
    assert _find_power(replace(DESIGN, n_models=4)) < _find_power(DESIGN)


def test_one_seed_has_no_power() -> None:
    found = assess(replace(DESIGN, n_seeds=1))
    assert found.power is found.smallest is None
    assert found.smallest_ever > 0


def test_large_effects_have_power_1() -> None:
    assert _find_power(replace(DESIGN, effect=0.9, sd=1e-4)) == pytest.approx(1.0)


@pytest.mark.parametrize("wrong", [{"sd": 0.0}, {"sd": math.nan}, {"alpha": 0.9}])
def test_bad_designs(wrong: dict) -> None:
    with pytest.raises(ValueError, match="Expected"):
        assess(replace(DESIGN, **wrong))


# The contrasts planned


def test_sd_from_disagreement_is_that_of_drawn_images() -> None:
    rng = np.random.default_rng(0)
    images = rng.choice([-1, 0, 1], p=[0.1, 0.8, 0.1], size=(100_000, 74))
    found = assume_sd(0.2, "accuracy", n_test=74, positive_share=0.5)
    assert found.value == pytest.approx(images.mean(1).std(), rel=0.01)
    assert "arms disagree on 20% of 74 test images" in found.basis


def test_recall_and_specificity_are_judged_by_their_class() -> None:
    of = {
        metric: assume_sd(0.2, metric, n_test=80, positive_share=0.25).value ** 2
        for metric in ("recall", "specificity", "accuracy")
    }
    assert of == pytest.approx({"recall": 0.2 / 20, "specificity": 0.2 / 60, "accuracy": 0.2 / 80})


def test_other_metrics_have_no_formula() -> None:
    with pytest.raises(ValueError, match="a share of correct answers, but got `auc`"):
        assume_sd(0.2, "auc", n_test=9, positive_share=0.5)


def test_nothing_to_judge_by() -> None:
    with pytest.raises(ValueError, match="0 images"):
        assume_sd(0.2, "recall", n_test=80, positive_share=0)
    with pytest.raises(ValueError, match="disagreement in"):
        assume_sd(0.0, "recall", n_test=80, positive_share=0.5)


def make_comparison(*contrasts: tuple[str, str, str, float | None]) -> dict:
    keys = ("model", "arm", "baseline", "sd")
    rows = [{**dict(zip(keys, contrast, strict=True)), "n_seeds": 5} for contrast in contrasts]
    return {"metric": "accuracy", "n_test": 74.0, "contrasts": rows}


def test_pilot_gives_the_largest_spread_of_the_primary_contrast() -> None:
    comparison = make_comparison(
        ("a", "lime", "original", 0.03),
        ("b", "lime", "original", 0.04),
        ("b", "silhouette", "original", 0.09),
        ("c", "lime", "original", None),
    )
    found = read_pilot(comparison, "accuracy", "lime", "original")
    assert found.value == 0.04
    # (J - 1) s² / σ² is chi-squared; its 20 % quantile at 4 degrees of freedom is 1.649
    assert f"below {0.04 * math.sqrt(4 / 1.649):.3f}" in found.basis
    assert found.basis.startswith("measured: b in the earlier run, 5 seeds, 74 test images")


@pytest.mark.parametrize("sd", [None, 0.0])
def test_pilots_that_tell_nothing(sd: float | None) -> None:
    comparison = make_comparison(("a", "lime", "original", sd))
    with pytest.raises(ValueError, match="vary over at least 2 seeds, but it has none"):
        read_pilot(comparison, "accuracy", "lime", "original")
    with pytest.raises(ValueError, match="its endpoint is accuracy"):
        read_pilot(comparison, "auc", "lime", "original")


# Costs


@pytest.mark.parametrize("folds", [None, 4])
def test_parts_are_those_of_the_splits(folds: int | None) -> None:
    labels, groups = np.repeat(["a", "b"], 60), np.arange(120)
    if folds is None:
        splits = assign_splits(labels, groups, (7, 2, 1), seed=0)
    else:
        splits = assign_fold_splits(labels, groups, (7, 2, 1), n_folds=folds, number=0)
    parts = count_parts(120, (7, 2, 1), folds)
    real = [int((splits == name).sum()) for name in SPLIT_NAMES]
    assert [parts.train, parts.validation, parts.test] == pytest.approx(real, abs=2)
    assert parts.train + parts.validation + parts.test == 120


def _count(arms: tuple[str, ...], protocol: str = "clean") -> Work:
    return count_work(
        n_models=2,
        n_seeds=5,
        arms=arms,
        parts=PARTS,
        epochs=3,
        passes_of={"lime": 100, "random": 0, "gradcam": 1, "scorecam": 1000}.__getitem__,
        crossfit_folds=3,
        protocol=protocol,
    )


def test_work_by_hand() -> None:
    # 5 seeds; 4 trainings each: 3 epochs of 3 × 70 and 20, then 20 and 10; 100 images explained
    found = _count(("original", "lime", "random_mask", "silhouette"))
    assert found == Work(2, 20, 5 * 4 * 720, 720, 500, 5 * 100 * 100)


def test_other_explainers_cost_what_they_take() -> None:
    lime, scorecam = (
        _count(arms).explaining_passes
        for arms in (("original", "lime", "gradcam"), ("original", "lime", "gradcam", "scorecam"))
    )
    assert lime == 5 * 100 * (100 + 1)
    assert scorecam - lime == 5 * 100 * 1000


def test_penalties_cost_passes() -> None:
    plain, guided = (
        _count(("original", "lime", arm)) for arm in ("original_retrained", "guided_gradients")
    )
    assert guided.longest_training == plain.longest_training + 3 * 70 * 16
    assert guided.training_passes == plain.training_passes + 5 * 3 * 70 * 16


@pytest.mark.parametrize(
    ("arms", "protocol", "trainings", "explanations"),
    [
        (("original",), "clean", 1, 0),
        (("original", "original_retrained"), "clean", 2, 0),
        (("original", "lime", "lime_crossfit"), "clean", 3 + 3, 100 + 70),
        (("original", "lime_crossfit"), "clean", 2 + 3, 100),
        (("original", "lime", "lime_true_label"), "clean", 3, 200),
        (("original", "untrained_lime", "permuted_labels"), "clean", 3 + 1, 200),
        (("original", "lime"), "paper", 2 + 1, 100),
        (("original", "original_retrained"), "paper", 2 + 1, 0),
    ],
)
def test_teachers_cost_trainings_and_explanations(
    arms: tuple[str, ...], protocol: str, trainings: int, explanations: int
) -> None:
    work = _count(arms, protocol)
    assert (work.n_trainings, work.n_explanations) == (5 * trainings, 5 * explanations)


@pytest.fixture(scope="module")
def old_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return Run(folder / "run")


@pytest.mark.parametrize("protocol", ["clean", "paper"])
@pytest.mark.parametrize("number", range(12))
def test_work_is_that_of_the_trials_that_are_planned(
    old_run: Run, number: int, protocol: str
) -> None:
    rng = np.random.default_rng(number)
    full = list_presets()["full"]
    chosen = [name for name in full if not (protocol == "paper" and ARMS[name].is_clean_only)]
    arms = (ORIGINAL, *(name for name in chosen[1:] if rng.random() < 0.4))
    settings = {"protocol": protocol, "split": "random" if protocol == "paper" else "grouped"}
    experiment = open_old(old_run, arms=arms, seeds=1, **settings)
    first, second = plan_trials(experiment)
    trained = {trial for trial in (*first, *second) if trial.arm != "untrained"}  # it takes no step
    explained: dict[MaskJob, np.ndarray] = {}
    for trial in second:
        for job, images in experiment.list_jobs(trial).items():
            explained[job] = explained.get(job, np.zeros_like(images)) | images
    parts = Parts(*(float(np.sum(experiment.splits[0] == name)) for name in SPLIT_NAMES))
    work = count_work(
        n_models=1, n_seeds=1, arms=arms, parts=parts, epochs=1, passes_of=lambda _: 1,
        crossfit_folds=experiment.settings.crossfit_folds, protocol=protocol,
    )  # fmt: skip
    assert work.n_trainings == len(trained)
    assert work.n_explanations == sum(int(images.sum()) for images in explained.values())


def test_hours_by_hand() -> None:
    work = Work(2, 20, 20 * 3600, 3600, 500, 500 * 72)
    rates = {"fast": 100.0, "slow": 50.0}
    found = estimate_hours(work, rates, trainings_at_once=4, workers=1, explainers=8)
    # 20 trainings of 36 s and 20 of 72 s, four at once; 36,000 passes at 100/s and 50/s, by eight
    assert isinstance(found, Hours)
    assert (found.training, found.explaining) == pytest.approx((540 / 3600, 135 / 3600))
    doubled = estimate_hours(work, rates, trainings_at_once=4, workers=2, explainers=8)
    assert doubled.training == pytest.approx(found.training / 2)
    wide = estimate_hours(work, rates, trainings_at_once=1000, workers=1, explainers=8)
    assert wide.training == pytest.approx(72 / 3600)


@pytest.mark.parametrize("rates", [{}, {"a": 0.0}, {"a": math.nan}, {"a": 1.0, "b": 1.0}])
def test_bad_rates(rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Expected 1 positive rates"):
        estimate_hours(Work(1, 1, 1, 1, 1, 1), rates, trainings_at_once=1, workers=1, explainers=1)
