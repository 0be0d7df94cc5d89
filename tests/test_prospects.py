"""The chances of each verdict: against closed forms, in worlds where they are known, by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, special, stats
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_info, threadpool_limits

from osteo_ray.experiment import prospects
from osteo_ray.experiment.alternatives import (
    Alternative,
    Assessed,
    assess_design,
    list_alternatives,
    recommend,
)
from osteo_ray.experiment.assumptions import assume, assume_from_pilot, find_sd
from osteo_ray.experiment.costs import Parts, count_parts
from osteo_ray.experiment.luck import Assumed, count_telling, measure_expected, measure_luck
from osteo_ray.experiment.planning import AssumedSd
from osteo_ray.experiment.prospects import (
    MARGIN,
    NONE,
    TWICE,
    Chances,
    Question,
    find_target,
    simulate_chances,
)
from osteo_ray.experiment.simulated import Population, SimulatedArm
from osteo_ray.experiment.simulated_run import Scheme, draw_run

ARMS = ("original", "lime", "random_mask", "silhouette")
QUESTION = Question(ARMS, n_models=1, metric="auc", margin=None, alpha=0.05)
ASSUMED = assume(0.2, positive_share=0.5).assumed
KNEES = Scheme(10, count_parts(744, (7, 2, 1), None))
SMALL = Scheme(4, Parts(70, 20, 10))
EASY = Scheme(12, Parts(2000, 100, 1000))
CLOSE = Assumed(0.85, 0.01, Population(shared=0.9, leaning=0.01))


def simulate(
    scheme: Scheme, question: Question, assumed: Assumed, effect: float, n: int
) -> Chances:
    found = simulate_chances(scheme, question, assumed, effect, n_tables=n)
    assert found is not None
    return found


# Worlds in which the chances are known


def test_enormous_gain_with_many_seeds_is_found_real() -> None:
    question = replace(QUESTION, margin=0.06)
    chances = simulate(EASY, question, CLOSE, TWICE, 20)
    assert chances.of("real gain") == 1.0


def test_no_difference_on_enormous_data_is_found_equivalent() -> None:
    chances = simulate(EASY, QUESTION, CLOSE, NONE, 40)
    assert chances.of("equivalent") >= 0.95
    assert chances.of("real gain") <= 0.05


def test_false_gains_stay_below_the_error_rate() -> None:
    without_controls = replace(QUESTION, arms=("original", "lime"))
    chances = simulate(replace(KNEES, n_seeds=5), without_controls, ASSUMED, NONE, 200)
    assert chances.of("real gain") == 0  # a needed control is missing, so no gain is called real
    chances = simulate(replace(KNEES, n_seeds=5), QUESTION, ASSUMED, NONE, 200)
    assert chances.of("real gain") <= 0.05


def test_looks_end_a_run_early_where_the_verdict_is_settled() -> None:
    question = replace(QUESTION, margin=0.06, looks=(4, 8, 20))
    chances = simulate(EASY, question, CLOSE, TWICE, 20)
    assert chances.of("real gain") == 1.0
    assert chances.mean_seeds is not None
    assert 4 <= chances.mean_seeds < 8
    assert simulate(EASY, QUESTION, CLOSE, NONE, 20).mean_seeds is None
    none = simulate(KNEES, replace(QUESTION, looks=(5,)), ASSUMED, NONE, 40)
    assert none.mean_seeds is not None
    assert 5 < none.mean_seeds <= 10  # most of these runs settle nothing
    assert none.of("real gain") <= 0.05


def test_looks_that_a_design_does_not_reach_change_nothing() -> None:
    plain, beyond = (
        simulate(KNEES, replace(QUESTION, looks=looks), ASSUMED, TWICE, 20)
        for looks in ((), (10, 15))
    )
    assert beyond.counts == plain.counts
    assert beyond.mean_seeds == KNEES.n_seeds


def test_baseline_of_noise_has_learned_nothing() -> None:
    noise = replace(ASSUMED, baseline_auc=0.5)
    assert simulate(KNEES, QUESTION, noise, NONE, 20).of("nothing learned") >= 0.9


def test_a_single_seed_settles_nothing() -> None:
    one = Scheme(1, KNEES.parts)
    assert simulate(one, QUESTION, ASSUMED, TWICE, 10).counts == {"inconclusive": 10}


def test_design_of_the_facts_cannot_show_equivalence() -> None:
    """With 744 images, 7:2:1, disagreement .2, accuracy: not within .03, however many seeds."""
    question = replace(QUESTION, metric="accuracy")
    many = Scheme(60, KNEES.parts)
    for scheme in (KNEES, many):
        assert simulate(scheme, question, ASSUMED, NONE, 20).counts.get("equivalent", 0) == 0


def test_a_gain_of_twice_the_margin_is_easier_than_one_of_the_margin() -> None:
    found = [
        simulate(KNEES, QUESTION, ASSUMED, effect, 40).of("real gain")
        for effect in (NONE, MARGIN, TWICE)
    ]
    assert found[0] <= found[1] < found[2]


def test_controls_cost_gains_and_change_nothing_else() -> None:
    """What decides without a gain is drawn alike, and a control can only take a gain away."""
    more = replace(QUESTION, arms=(*ARMS, "centre_mask", "gradcam"))
    for effect in (NONE, TWICE):
        plain = simulate(SMALL, QUESTION, ASSUMED, effect, 30)
        changed = simulate(SMALL, more, ASSUMED, effect, 30)
        assert changed.counts.get("equivalent", 0) == plain.counts.get("equivalent", 0)
        assert changed.counts.get("real gain", 0) <= plain.counts.get("real gain", 0)
    beside = replace(QUESTION, arms=(*ARMS, "gradcam"))  # no control
    assert simulate(KNEES, beside, ASSUMED, TWICE, 20) == simulate(
        KNEES, QUESTION, ASSUMED, TWICE, 20
    )


def test_every_arm_draws_for_itself() -> None:
    arms = {name: SimulatedArm(0.8) for name in ("original", "lime")}
    few = draw_run(SMALL, arms, 1, ASSUMED.population, (0, 0))
    many = draw_run(SMALL, {"silhouette": SimulatedArm(0.6), **arms}, 2, ASSUMED.population, (0, 0))
    for key, group in few.groups.items():
        assert np.array_equal(many.groups[key].images, group.images)
        assert np.array_equal(many.groups[key].probabilities, group.probabilities)


def test_the_same_plan_gives_the_same_chances_and_another_seed_others() -> None:
    def draw(seed: int, number: int = 0) -> np.ndarray:
        arms = {"original": SimulatedArm(0.8)}
        found = draw_run(SMALL, arms, 1, ASSUMED.population, (seed, number))
        return np.concatenate([group.probabilities[:, 1] for group in found.groups.values()])

    assert np.array_equal(draw(0), draw(0))
    assert not np.array_equal(draw(0), draw(1))
    assert not np.array_equal(draw(0), draw(0, number=1))
    found = []
    for seed in (0, 0, 1):
        simulate_chances.cache_clear()
        found.append(simulate_chances(KNEES, QUESTION, ASSUMED, TWICE, n_tables=25, seed=seed))
    assert found[0] == found[1] != found[2]


def test_the_first_conclusion_spends_its_share_of_alpha(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, judge = [], prospects.judge_predictions

    def spy(coded, images, analysis, **options):
        seen.append(analysis)
        return judge(coded, images, analysis, **options)

    monkeypatch.setattr(prospects, "judge_predictions", spy)
    simulate_chances.cache_clear()
    simulate(SMALL, replace(QUESTION, n_models=2, margin=0.04), ASSUMED, NONE, 1)
    (analysis,) = seen
    assert analysis.alpha == pytest.approx(0.8 * 0.05)
    assert len(analysis.models) == 2
    assert (analysis.margin, analysis.arms, analysis.seeds) == (0.04, ARMS, (0, 1, 2, 3))
    assert (analysis.sizes.n_test, analysis.sizes.n_train) == (10, 70)


def test_error_of_a_chance_is_never_nothing() -> None:
    half = Chances({"equivalent": 50}, 100)
    assert half.error_of("equivalent") == pytest.approx(0.05, abs=0.001)
    assert half.of("real gain") == 0
    assert 0.005 < half.error_of("real gain") < 0.02


def test_large_designs_are_simulated_less_often() -> None:
    assert KNEES.count_tables(12, 100) == 100
    assert Scheme(50, Parts(1e5, 1e4, 1e4)).count_tables(12, 100) == 20
    assert Scheme(50, Parts(1e5, 1e4, 1e4)).count_tables(12, 10) == 10


@pytest.mark.parametrize("n_images", [100_000, 10_000_000])
@pytest.mark.parametrize("fixed", [False, True])
def test_of_a_large_set_a_part_is_simulated(
    n_images: int, fixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, draw = [], prospects.draw_run

    def spy(scheme, *others):
        seen.append(scheme)
        return draw(replace(scheme, parts=SMALL.parts), *others)

    monkeypatch.setattr(prospects, "draw_run", spy)
    scheme = Scheme(4, count_parts(n_images, (7, 2, 1), None), fixed=fixed)
    simulate_chances.cache_clear()
    simulate(scheme, QUESTION, ASSUMED, NONE, 1)
    parts = seen[0].parts
    telling = count_telling(ASSUMED, "auc", 0.03, 4 if fixed else 1)
    assert parts.test == pytest.approx(telling)
    assert telling < 10_000
    assert (parts.train / parts.test, parts.validation / parts.test) == pytest.approx((7, 2))
    assert (seen[0].n_seeds, seen[0].fixed) == (4, fixed)


def test_a_set_that_is_not_large_is_simulated_whole() -> None:
    assert KNEES.shrink(75) is KNEES
    assert vars(KNEES.shrink(37.2).parts) == pytest.approx(vars(count_parts(372, (7, 2, 1), None)))


def test_the_part_gives_the_chances_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assumed = replace(ASSUMED, population=Population(shared=0.6, leaning=0.1))
    scheme = Scheme(5, count_parts(40_000, (7, 2, 1), None))
    part = simulate(scheme, QUESTION, assumed, TWICE, 25)
    monkeypatch.setattr(prospects, "count_telling", lambda *asked: math.inf)
    monkeypatch.setattr(prospects.Scheme, "count_tables", lambda self, n_trained, wanted: wanted)
    simulate_chances.cache_clear()
    whole = simulate(scheme, QUESTION, assumed, TWICE, 25)
    simulate_chances.cache_clear()
    assert part.n_tables == whole.n_tables
    assert part.of("real gain") == pytest.approx(whole.of("real gain"), abs=0.25)


def test_simulations_take_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, judge = [], prospects.judge_predictions

    def spy(*judged, **options):
        seen.extend(one for one in threadpool_info() if one["user_api"] == "blas")
        return judge(*judged, **options)

    monkeypatch.setattr(prospects, "judge_predictions", spy)
    simulate_chances.cache_clear()
    with threadpool_limits(2, user_api="blas"):
        simulate(SMALL, QUESTION, ASSUMED, NONE, 1)
        outside = [one for one in threadpool_info() if one["user_api"] == "blas"]
    assert {one["num_threads"] for one in seen} == {1}
    assert {one["num_threads"] for one in outside} == {2}


# How images are divided


def list_test_images(scheme: Scheme, split: str = "test") -> list[np.ndarray]:
    found = draw_run(scheme, {"original": SimulatedArm(0.8)}, 1, ASSUMED.population, (0, 0))
    return [group.images for key, group in found.groups.items() if key.split == split]


def test_hold_outs_have_the_sizes_and_classes_of_the_plan() -> None:
    population = replace(ASSUMED.population, positive_share=0.2)
    found = draw_run(SMALL, {"original": SimulatedArm(0.8)}, 1, population, (0, 0))
    for key, group in found.groups.items():
        assert len(group.images) == {"test": 10, "validation": 20}[key.split]
        assert abs(group.labels.sum() - 0.2 * len(group.images)) <= 1
        assert np.all(np.diff(group.images) > 0)
        assert group.images.max() < 100
    tested, validated = list_test_images(SMALL), list_test_images(SMALL, "validation")
    assert not np.array_equal(tested[0], tested[1])
    assert all(not set(a) & set(b) for a, b in zip(tested, validated, strict=True))


def test_folds_test_every_image_once_per_repeat() -> None:
    scheme = Scheme(10, count_parts(90, (7, 2, 1), 5), folds=5)
    tested = list_test_images(scheme)
    for repeat in (tested[:5], tested[5:]):
        assert sorted(np.concatenate(repeat)) == list(range(90))
    assert not np.array_equal(tested[0], tested[5])


def test_fixed_test_set_is_the_same_for_all_seeds() -> None:
    tested = list_test_images(replace(SMALL, fixed=True))
    assert all(np.array_equal(one, tested[0]) for one in tested)
    assert len(tested) == 4


def test_seeds_share_luck_as_their_training_sets_overlap() -> None:
    """By the intraclass correlation of a score that is nearly all luck, over many runs."""
    population = Population(shared=0.999, leaning=0.0005)
    arms = {"original": SimulatedArm(0.8, skill=0.5)}

    def find_means(scheme: Scheme) -> np.ndarray:
        means = []
        for number in range(400):
            found = draw_run(scheme, arms, 1, population, (0, number))
            of_seed = [
                np.mean(special.ndtri(g.probabilities[:, 1]) * (2 * g.labels - 1))
                for key, g in found.groups.items()
                if key.split == "test"
            ]
            means.append(of_seed)
        return np.array(means)  # (n_runs, n_seeds)

    overlapping = Scheme(2, Parts(300, 0, 200))
    correlation = np.corrcoef(find_means(overlapping).T)[0, 1]
    assert correlation == pytest.approx(200 / 500, abs=0.12)
    fixed = np.corrcoef(find_means(replace(overlapping, fixed=True)).T)[0, 1]
    assert fixed == pytest.approx(0.0, abs=0.12)


# The effect in units of the endpoint


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("auc", [0.5, 0.7, 0.95])
def test_expected_metrics_have_their_closed_forms(auc: float, share: float) -> None:
    separation = stats.norm.ppf(auc) / math.sqrt(2)
    right = stats.norm.cdf(separation)
    for metric, expected in {
        "auc": auc,
        "accuracy": right,
        "recall": right,
        "balanced_accuracy": right,
    }.items():
        assert measure_expected(metric, auc, share) == pytest.approx(expected, abs=2e-3)
    brier = integrate.quad(
        lambda z: (1 - stats.norm.cdf(z)) ** 2 * stats.norm.pdf(z - separation), -9, 9
    )[0]
    assert measure_expected("brier", auc, share) == pytest.approx(brier, abs=1e-3)


def test_effects_are_translated_into_auc() -> None:
    assert find_target(QUESTION, ASSUMED, TWICE) == pytest.approx(0.91, abs=1e-3)
    assert find_target(replace(QUESTION, margin=0.05), ASSUMED, MARGIN) == pytest.approx(
        0.9, abs=1e-3
    )
    accuracy = replace(QUESTION, metric="accuracy")
    right = stats.norm.cdf(stats.norm.ppf(0.85) / math.sqrt(2)) + 0.03
    expected = stats.norm.cdf(math.sqrt(2) * stats.norm.ppf(right))
    assert find_target(accuracy, ASSUMED, MARGIN) == pytest.approx(expected, abs=2e-3)
    brier = replace(QUESTION, metric="brier")  # an error, and a tenth of it is the margin
    target = find_target(brier, ASSUMED, TWICE)
    assert target is not None
    assert measure_expected("brier", target, 0.5) == pytest.approx(
        0.8 * measure_expected("brier", 0.85, 0.5), rel=1e-3
    )


def test_gains_that_leave_the_scale_are_impossible() -> None:
    good = replace(ASSUMED, baseline_auc=0.96)
    assert find_target(QUESTION, good, TWICE) is None
    assert simulate_chances(KNEES, QUESTION, good, TWICE) is None
    assert find_target(QUESTION, good, NONE) == 0.96


# What is taken to be true


def test_luck_of_images_is_that_of_drawn_scores() -> None:
    """The same model written anew: pairs of scores with a stated correlation, by scikit-learn."""
    assumed = Assumed(0.85, 0.0, Population(shared=0.6, leaning=0.1))
    rng = np.random.default_rng(5)
    separation = stats.norm.ppf(0.85) / math.sqrt(2)
    labels = np.arange(80) % 2
    differences = []
    for _ in range(800):
        scores = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=80)
        scores += ((2 * labels - 1) * separation)[:, None]
        one, other = (roc_auc_score(labels, scores[:, column]) for column in (0, 1))
        differences.append(one - other)
    assert measure_luck(assumed, "auc", 80) == pytest.approx(np.std(differences), rel=0.1)


def test_luck_of_many_images_follows_from_that_of_fewer() -> None:
    """Against scores of 5000 images per seed, drawn anew."""
    few = Assumed(0.85, 0.02, Population(shared=0.5, leaning=0.1))
    rng = np.random.default_rng(6)
    separation = stats.norm.ppf(0.85) / math.sqrt(2)
    labels = np.arange(5000) % 2
    differences = []
    for _ in range(500):
        scores = rng.normal(size=(5000, 1)) * math.sqrt(0.5)
        scores = scores + rng.normal(size=(5000, 2)) * math.sqrt(0.5)
        scores += (2 * labels - 1)[:, None] * (separation + 0.02 * rng.normal(size=2))
        one, other = (roc_auc_score(labels, scores[:, column]) for column in (0, 1))
        differences.append(one - other)
    assert measure_luck(few, "auc", 5000) == pytest.approx(np.std(differences), rel=0.12)


def test_images_that_tell_leave_the_luck_of_trainings() -> None:
    enough = count_telling(ASSUMED, "auc", 1e-9)
    of_trainings = measure_luck(ASSUMED, "auc", 10**12)
    assert measure_luck(ASSUMED, "auc", round(enough)) == pytest.approx(
        math.sqrt(17 / 16) * of_trainings, rel=1e-3
    )
    assert count_telling(ASSUMED, "auc", 1e-9, 10) == pytest.approx(10 * enough)


def test_images_that_tell_are_more_where_trainings_have_no_luck() -> None:
    lucky = replace(ASSUMED, skill=0.0)
    enough = count_telling(lucky, "auc", 0.03)
    assert measure_luck(lucky, "auc", round(enough)) == pytest.approx(0.03 / 8, rel=1e-3)
    assert enough == count_telling(lucky, "auc", 0.03, 10) > count_telling(ASSUMED, "auc", 0.03)
    assert count_telling(lucky, "auc", 0.0) == math.inf


def test_images_that_tell_hold_the_rarer_class() -> None:
    rare = assume(0.05, positive_share=0.01).assumed
    assert count_telling(rare, "brier", 0.03) * 0.01 >= 200


def test_disagreement_is_that_of_simulated_arms() -> None:
    arms = {"original": SimulatedArm(0.85, 0.0), "lime": SimulatedArm(0.85, 0.0)}
    found = draw_run(Scheme(1, Parts(0, 0, 40_000)), arms, 1, ASSUMED.population, (0, 0))
    right = [(g.predicted == g.labels) for g in found.groups.values()]
    assert np.mean(right[0] != right[1]) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("sd", [0.025, 0.08])
def test_pilot_gives_spread_and_baseline(sd: float) -> None:
    arms = [
        {"arm": "original", "metrics": {"auc": {"mean": auc}}, "model": model}
        for model, auc in (("a", 0.8), ("b", 0.7), ("c", None))
    ]
    comparison = {"metric": "auc", "n_test": 74.0, "arms": arms}
    found = assume_from_pilot(
        comparison, AssumedSd(sd, ""), 0.2, baseline="original", positive_share=0.4
    )
    assert found.assumed.baseline_auc == pytest.approx(0.75)
    assert found.assumed.population.positive_share == 0.4
    assert measure_luck(found.assumed, "auc", 74) == pytest.approx(sd, rel=0.12)
    assert (found.assumed.skill == 0) == (sd == 0.025)
    assert f"standard deviation of the difference over seeds {sd:.3f}" in found.basis


def test_sd_is_by_formula_where_there_is_one() -> None:
    found = assume(0.2, positive_share=0.5)
    assert find_sd(found, 0.2, "accuracy", 74).value == pytest.approx(math.sqrt(0.2 / 74))
    of_auc = find_sd(found, 0.2, "auc", 74)
    assert of_auc.value == measure_luck(found.assumed, "auc", 74)
    assert "simulated, 74 test images" in of_auc.basis
    with pytest.raises(ValueError, match="0 images"):
        find_sd(found, 0.2, "auc", 0)


# Which design to run


def make_assessed(
    words: str,
    equivalent: float,
    gain: float,
    *,
    cost: float = 1.0,
    false_gain: float = 0.0,
    needs_images: bool = False,
) -> Assessed:
    none = {"equivalent": round(100 * equivalent), "real gain": round(100 * false_gain)}
    return Assessed(
        Alternative(words, SMALL, needs_images),
        Chances(none, 100),
        Chances({"real gain": round(100 * gain)}, 100),
        cost,
        hours=cost,
    )


DESIGNS = [
    make_assessed("weak", 0.1, 0.5),
    make_assessed("costly", 0.95, 1.0, cost=9),
    make_assessed("enough", 0.85, 0.9, cost=4),
    make_assessed("collected", 0.9, 1.0, cost=2, needs_images=True),
]


def choose(
    designs: list[Assessed], hours: float | None = None
) -> tuple[str | None, bool, str | None]:
    found = recommend(designs, alpha=0.05, power=0.8, hours=hours)
    names = [one and one.design.words for one in (found.best, found.at_hand)]
    return names[0], found.settles, names[1]


def test_recommendation_depends_on_the_hours() -> None:
    assert choose(DESIGNS) == ("enough", True, None)
    assert choose(DESIGNS, 9) == ("enough", True, None)
    assert choose(DESIGNS, 3) == ("collected", True, "weak")
    assert choose(DESIGNS, 1) == ("weak", False, None)
    assert choose(DESIGNS, 0.5) == (None, False, None)


def test_designs_that_find_gains_too_often_are_never_recommended() -> None:
    loose = make_assessed("loose", 0.94, 1.0, cost=0.5, false_gain=0.06)
    assert choose([*DESIGNS, loose]) == ("enough", True, None)
    assert choose([loose]) == (None, False, None)
    just = make_assessed("just", 0.94, 1.0, cost=0.5, false_gain=0.05)
    assert choose([*DESIGNS, just])[0] == "just"


def test_best_chance_counts_where_none_settles() -> None:
    better = make_assessed("better", 0.3, 0.95, cost=7)
    assert choose([DESIGNS[0], better]) == ("better", False, None)
    assert choose([make_assessed("nothing", 0.0, 0.0)]) == (None, False, None)
    impossible = replace(make_assessed("no room", 0.9, 0.0), twice=None)
    assert choose([impossible]) == ("no room", False, None)


def test_choice_is_told_with_the_chances_of_other_tables() -> None:
    def confirm(one: Assessed) -> Assessed:
        if one.design.words == "enough":
            return replace(one, none=Chances({"real gain": 9}, 100))
        return replace(one, none=Chances({"equivalent": 50}, 100))

    found = recommend(DESIGNS[:3], alpha=0.05, power=0.8, hours=None, confirm=confirm)
    assert found.best is not None
    assert found.best.design.words == "costly"
    assert found.best.equivalent == 0.5
    assert not found.settles


def test_a_false_gain_in_the_first_tables_is_not_forgiven() -> None:
    loose = make_assessed("loose", 0.94, 1.0, cost=0.5, false_gain=0.06)
    found = recommend(
        [loose], alpha=0.05, power=0.8, hours=None,
        confirm=lambda one: replace(one, none=Chances({"equivalent": 99}, 100)),
    )  # fmt: skip
    assert found.best is None


def test_either_truth_must_be_found() -> None:
    one_sided = make_assessed("gains only", 0.65, 1.0)
    assert one_sided.settled > 0.8
    assert choose([one_sided]) == ("gains only", False, None)


def test_alternatives_differ_from_the_plan_in_one_thing() -> None:
    found = {one.words: one for one in list_alternatives(KNEES, (7, 2, 1))}
    assert list(found) == [
        "20 seeds",
        "30 seeds",
        "50 seeds",
        "5 folds, 2 repeats (10 seeds)",
        "5 folds, 10 repeats (50 seeds)",
        "ratio 6:2:2, 10 seeds",
        "2 times as many images, 10 seeds",
        "4 times as many images, 10 seeds",
        "744 test images from elsewhere, the same for all seeds, 10 seeds",
    ]
    assert [one.words for one in found.values() if one.needs_images] == list(found)[-3:]
    assert found["ratio 6:2:2, 10 seeds"].scheme.parts.test == pytest.approx(148.8)
    four = found["4 times as many images, 10 seeds"].scheme.parts
    assert vars(four) == pytest.approx({n: 4 * v for n, v in vars(KNEES.parts).items()})
    outside = found[list(found)[-1]].scheme
    assert outside.fixed
    assert outside.parts == Parts(pytest.approx(744 * 7 / 9), pytest.approx(744 * 2 / 9), 744)


def test_alternatives_of_folds_and_of_fixed_test_sets() -> None:
    in_folds = Scheme(12, count_parts(744, (7, 2, 1), 3), folds=3)
    seeds = [one.scheme.n_seeds for one in list_alternatives(in_folds, (7, 2, 1))[:4]]
    assert seeds == [21, 30, 51, 10]  # multiples of 3; then 5 folds
    given = Scheme(10, Parts(500, 100, 200), fixed=True)
    found = list_alternatives(given, (7, 2, 1), may_fold=False)
    assert all(one.scheme.fixed and one.scheme.folds is None for one in found)
    assert [one.scheme.parts.test for one in found] == [200, 200, 200, 400, 800]
    assert {one.scheme.parts.train for one in found} == {500}


def test_external_set_helps_equivalence() -> None:
    planned = Alternative("planned", KNEES)
    outside = list_alternatives(KNEES, (7, 2, 1))[-1]
    chances = [
        assess_design(one, QUESTION, ASSUMED, cost=1, hours=None, n_tables=20).equivalent
        for one in (planned, outside)
    ]
    assert chances[0] < 0.3 < 0.6 < chances[1]


def test_one_seed_is_not_called_several() -> None:
    parts = Parts(train=70, validation=20, test=10)
    words = [one.words for one in list_alternatives(Scheme(1, parts), (7, 2, 1))]
    assert "2 times as many images, 1 seed" in words
    assert not any(" 1 seeds" in one for one in words)
