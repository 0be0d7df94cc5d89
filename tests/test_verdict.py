"""The rule of the verdict on constructed results, and the content of comparison.json."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from osteo_ray.arms.pairs import list_controls, list_primary, list_secondary
from osteo_ray.arms.registry import ARMS
from osteo_ray.experiment.comparison import Analysis, build_comparison
from osteo_ray.experiment.verdict import Circumstances, Verdict, judge_model, judge_overall
from osteo_ray.statistics.chance import AboveChance
from osteo_ray.statistics.contrasts import Contrast, ContrastPlan, compare_arms
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.significance import adjust_holm, corrected_t_test, wilcoxon_p
from osteo_ray.statistics.sizes import Sizes

PLAN = ContrastPlan("accuracy", 0.05, 0.03, Sizes(n_test=16.0, n_train=112.0))
REAL = {"original": 0.70, "lime": 0.85, "random_mask": 0.70, "silhouette": 0.60}
USUAL = tuple(REAL)


def _results(
    means: Mapping[str, float], *, n_seeds: int = 10, sd: float = 0.02, model: str = "m"
) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for arm, mean in means.items():
        for seed in range(n_seeds):
            values = dict.fromkeys(METRICS, mean + sd * float(rng.normal()))
            key = {"model": model, "seed": seed, "arm": arm, "split": "test"}
            rows.append({**key, "n_images": 16, **values})
            # rows of the validation set must not count
            rows.append({**rows[-1], "split": "validation", "accuracy": 0.0})
    return pd.DataFrame(rows)


def _compare(results: pd.DataFrame, arms: Sequence[str] = USUAL) -> list[Contrast]:
    return compare_arms(results, PLAN, pairs=list_primary(arms))


def _judge(results: pd.DataFrame, arms: Sequence[str] = USUAL, **known: Any) -> Verdict:
    return judge_model(
        _compare(results, arms),
        model="m",
        arms=arms,
        alpha=0.05,
        circumstances=Circumstances(**known),
    )


def _analyse(**changes: Any) -> Analysis:
    settings: dict[str, Any] = {
        **vars(PLAN), "models": ("m",), "arms": USUAL, "seeds": tuple(range(10)),
        "classes": ("normal", "worn"), "positive_class": "worn",
    }  # fmt: skip
    return Analysis(**{**settings, **changes})


def _build(results: pd.DataFrame, missing: Sequence[Any] = (), **changes: Any) -> dict[str, Any]:
    return build_comparison(results, _analyse(**changes), missing=missing)


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, "real gain", "So no control explains the gain"),
        ({"silhouette": 0.85}, "leakage", "does better than the images"),
        ({"silhouette": 0.95}, "leakage", "does better than the images"),
        ({"silhouette": 0.85, "original": 0.80, "random_mask": 0.7}, "leakage", "outline"),
        (
            {"random_mask": 0.85},
            "any crop",
            "masks that ignore what is in the image perform as well",
        ),
        ({"random_mask": 0.85, "silhouette": 0.85}, "leakage", "outline"),
        ({"lime": 0.55}, "real loss", "makes the model worse"),
        ({"lime": 0.70}, "equivalent", "inside ± 0.03"),
        ({"original_retrained": 0.85}, "second training", "a second training without masks"),
        ({"original_retrained": 0.71}, "real gain", "lime minus original_retrained"),
        ({"original_retrained": 0.85, "random_mask": 0.85}, "second training", "second"),
        ({"other_image_mask": 0.85}, "any crop", "lime minus other_image_mask"),
        ({"centre_mask": 0.85}, "any crop", "lime minus centre_mask"),
        ({"mean_mask": 0.85}, "any crop", "lime minus mean_mask"),
        (
            {"complement": 0.85},
            "shortcut outside the region",
            "LIME removed predicts the label as well",
        ),
        ({"complement": 0.60}, "real gain", "lime minus complement"),
        ({"lime_crossfit": 0.85}, "real gain", "lime_crossfit minus original"),
        (
            {"lime_crossfit": 0.70},
            "leakage",
            "only if the model that made them was trained on the labels",
        ),
        ({"lime_true_label": 0.85}, "leakage", "masks that know the answer"),
        ({"lime_true_label": 0.99}, "real gain", "no control explains"),
    ],
)
def test_rule(changes: dict[str, float], verdict: str, words: str) -> None:
    means = {**REAL, **changes}
    judged = _judge(_results(means, sd=0.01), tuple(means))
    assert judged.verdict == verdict
    assert judged.model == "m"
    assert words in judged.reason
    assert "10 seeds, 95 % interval" in judged.reason


@pytest.mark.parametrize(
    ("above_chance", "verdict"),
    [
        ({"original": True}, "shortcut outside the region"),
        ({"original": False}, "equivalent"),
        ({"original": None}, "equivalent"),
        ({}, "equivalent"),
        ({"original": True, "permuted_labels": True}, "leakage"),
    ],
)
def test_label_that_is_read_everywhere_is_a_shortcut(above_chance: Any, verdict: str) -> None:
    means = {**REAL, "lime": 0.7, "complement": 0.7}
    arms = (*means, "permuted_labels")
    judged = _judge(_results(means, sd=0.01), arms, above_chance=above_chance)
    assert judged.verdict == verdict


# Each condition of the rule by itself, on contrasts whose p values are set by hand.


def _set(arm: str, baseline: str, p_holm: float = 0.5, **figures: Any) -> Contrast:
    nothing = ("accuracy", 10, tuple(range(10)), (0.0,) * 10, 0.03)
    return Contrast("m", arm, baseline, *nothing, difference=0.1, p_holm=p_holm, **figures)


@pytest.mark.parametrize(
    ("p_lead", "p_worse", "verdict"),
    [
        (0.01, 0.01, "shortcut outside the region"),
        (0.90, 0.01, "inconclusive"),  # the judged arm may lead it by more than the margin
        (0.01, 0.90, "inconclusive"),  # it may be worse than the baseline by more than the margin
    ],
)
def test_shortcut_is_as_good_as_both(p_lead: float, p_worse: float, verdict: str) -> None:
    contrasts = [
        _set("lime", "original"),
        _set("lime", "complement", p_non_superiority=p_lead),
        _set("complement", "original", p_non_inferiority=p_worse),
    ]
    known = Circumstances(above_chance={"original": True})
    arms = ("original", "lime", "complement")
    judged = judge_model(contrasts, model="m", arms=arms, alpha=0.05, circumstances=known)
    assert judged.verdict == verdict


@pytest.mark.parametrize(
    ("p_gain", "p_lead", "verdict"),
    [(0.01, 0.01, "leakage"), (0.9, 0.01, "inconclusive"), (0.01, 0.9, "inconclusive")],
)
def test_memory_gains_over_both(p_gain: float, p_lead: float, verdict: str) -> None:
    contrasts = [
        _set("lime_crossfit", "original"),
        _set("lime", "original", p_gain),
        _set("lime", "lime_crossfit", p_lead),
    ]
    arms = ("original", "lime", "lime_crossfit")
    assert judge_model(contrasts, model="m", arms=arms, alpha=0.05).verdict == verdict


@pytest.mark.parametrize(
    ("p_gain", "p_worse", "verdict"),
    [(0.01, 0.01, "leakage"), (0.9, 0.01, "real gain"), (0.01, 0.9, "real gain")],
)
def test_oracle_that_gains_and_is_not_better(p_gain: float, p_worse: float, verdict: str) -> None:
    contrasts = [
        _set("lime", "original", 0.001),
        _set("lime", "silhouette", 0.001),
        _set("lime", "random_mask", 0.001),
        _set("lime_true_label", "original", p_gain),
        _set("lime", "lime_true_label", p_non_inferiority=p_worse),
    ]
    arms = (*USUAL, "lime_true_label")
    assert judge_model(contrasts, model="m", arms=arms, alpha=0.05).verdict == verdict


def test_loss_comes_before_a_shortcut() -> None:
    means = {**REAL, "lime": 0.5, "complement": 0.7}
    judged = _judge(_results(means, sd=0.01), tuple(means), above_chance={"original": True})
    assert judged.verdict == "real loss"


def test_circumstances_that_take_a_gain_away() -> None:
    results = _results(REAL, sd=0.01)
    assert _judge(results, copies_leak=True).verdict == "leakage"
    shuffled = _judge(results, (*USUAL, "permuted_labels"), above_chance={"permuted_labels": True})
    assert (shuffled.verdict, "With shuffled labels" in shuffled.reason) == ("leakage", True)
    on = _judge(results, goes_on=True)
    assert (on.verdict, on.reason.endswith("missing: original_retrained.")) == (
        "inconclusive",
        True,
    )


def test_error_that_falls_is_a_gain() -> None:
    results = _results({arm: 1 - mean for arm, mean in REAL.items()}, sd=0.01)
    contrasts = compare_arms(results, replace(PLAN, metric="brier"), pairs=list_primary(USUAL))
    judged = judge_model(contrasts, model="m", arms=USUAL, alpha=0.05)
    assert judged.verdict == "real gain"


def test_every_arm_is_compared_with_something() -> None:
    names = tuple(ARMS)
    pairs = [*list_primary(names), *list_secondary(names)]
    assert len(set(pairs)) == len(pairs)
    against = {arm for arm, baseline in pairs if baseline == "original"}
    assert against == set(names) - {"original", "permuted_labels"}
    assert {baseline for arm, baseline in pairs if arm == "lime_crossfit"} >= set(
        list_controls(names)
    )
    assert ARMS["permuted_labels"].shuffled
    assert list_primary(["original", "silhouette"]) == []
    assert list_secondary(["original", "silhouette"]) == [("silhouette", "original")]


def test_undecided_control_is_named_with_what_it_takes() -> None:
    results = _results({**REAL, "random_mask": 0.80}, sd=0.02)
    noisy = results["arm"] == "random_mask"
    results.loc[noisy, "accuracy"] += np.random.default_rng(3).normal(0, 0.1, noisy.sum())
    judged = _judge(results)
    assert judged.verdict == "inconclusive"
    assert "But random_mask may perform as well: this is undecided." in judged.reason
    assert "takes over 1000 seeds, and possibly no number suffices." in judged.reason


@pytest.mark.parametrize(
    ("smallest", "needed", "words"),
    [
        (0.25, 14, "detect a true difference of 0.250 with power 0.8; detecting a difference as"),
        (0.25, 14, "as large as the observed one takes 14 seeds, 4 more than there are."),
        (0.25, 10, "as large as the observed one takes no more seeds than there are."),
        (0.25, None, "takes over 1000 seeds, and possibly no number suffices."),
        (1.25, None, "no possible difference is detectable with power 0.8"),
    ],
)
def test_power_in_words(smallest: float, needed: int | None, words: str) -> None:
    gain = Contrast(
        "m", "lime", "original", "accuracy", 10, tuple(range(10)), (0.1,) * 10, 0.03,
        difference=0.1, p_holm=0.4, smallest_detectable=smallest, seeds_needed=needed,
    )  # fmt: skip
    judged = judge_model([gain], model="m", arms=USUAL, alpha=0.05)
    assert judged.verdict == "inconclusive"
    assert words in judged.reason


def test_noise_is_inconclusive_and_says_what_it_would_take() -> None:
    judged = _judge(_results({**REAL, "lime": 0.72}, sd=0.1))
    assert judged.verdict == "inconclusive"
    assert "These seeds detect a true difference of" in judged.reason
    assert "as large as the observed one takes" in judged.reason


@pytest.mark.parametrize("control", ["silhouette", "random_mask"])
def test_missing_control_is_never_a_real_gain(control: str) -> None:
    arms = [arm for arm in USUAL if arm != control]
    results = _results(REAL)
    judged = _judge(results, arms)
    assert judged.verdict == "inconclusive"
    assert judged.reason.endswith(f"But a required control is missing: {control}.")
    # planned, but no training of it finished
    judged = _judge(results[results["arm"] != control])
    assert judged.verdict == "inconclusive"
    assert f"But a required control is missing: {control} (" in judged.reason


def test_one_failed_control_decides_without_the_other() -> None:
    results = _results({**REAL, "random_mask": 0.85})
    assert _judge(results, ["original", "lime", "random_mask"]).verdict == "any crop"


def test_without_lime_there_is_nothing_to_judge() -> None:
    judged = _judge(_results(REAL), ["original", "silhouette"])
    assert (
        judged.verdict,
        "no such arm as lime or lime_crossfit was planned" in judged.reason,
    ) == ("inconclusive", True)


def test_small_but_sure_gain_does_not_matter() -> None:
    for lime in (0.71, 0.69):
        means = {"original": 0.70, "lime": lime, "random_mask": 0.5, "silhouette": 0.5}
        judged = _judge(_results(means, sd=0.001))
        assert judged.verdict == "equivalent"
        assert "The arms differ, but by less than the margin of 0.03" in judged.reason


def test_figures_of_a_contrast() -> None:
    results = pd.concat([_results(REAL), _results({**REAL, "lime": 0.72}, model="k")])
    contrasts = _compare(results)
    assert [(c.model, c.arm, c.baseline) for c in contrasts] == [
        (model, arm, baseline)
        for model in ("m", "k")
        for arm, baseline in [
            ("lime", "original"),
            ("silhouette", "original"),
            ("lime", "silhouette"),
            ("lime", "random_mask"),
        ]
    ]
    test = results[(results["split"] == "test") & (results["model"] == "m")]
    table = test.pivot(index="seed", columns="arm", values="accuracy")
    first = contrasts[0]
    differences = (table["lime"] - table["original"]).to_numpy()
    assert first.differences == pytest.approx(differences, abs=1e-12)
    assert first.seeds == tuple(range(10))
    expected = corrected_t_test(differences, PLAN.sizes)
    figures = (first.difference, first.sd, first.low, first.high, first.p_corrected_t)
    assert figures == pytest.approx(
        (expected.mean, expected.sd, expected.low, expected.high, expected.p)
    )
    assert first.p_wilcoxon == wilcoxon_p(differences)
    assert [c.p_holm for c in contrasts] == adjust_holm([c.p_corrected_t for c in contrasts])
    assert first.note is None


def test_row_order_does_not_matter() -> None:
    results = _results(REAL)
    assert _compare(results) == _compare(results.sample(frac=1, random_state=0))


def test_seeds_of_one_arm_only_are_left_out_and_named() -> None:
    results = _results(REAL)
    gone = (results["arm"] == "lime") & results["seed"].isin([3, 7])
    contrasts = _compare(results[~gone])
    assert contrasts[0].seeds == (0, 1, 2, 4, 5, 6, 8, 9)
    assert contrasts[0].note == "Left out, as an arm is missing: seeds 3, 7."
    assert contrasts[1].note is None
    judged = judge_model(contrasts, model="m", arms=USUAL, alpha=0.05)
    assert "seeds 3, 7" in judged.reason


def test_undefined_metric_is_left_out_and_named() -> None:
    results = _results(REAL)
    results.loc[(results["arm"] == "lime") & (results["seed"] == 4), "accuracy"] = math.nan
    first = _compare(results)[0]
    assert first.n_seeds == 9
    assert first.note == "Left out, as accuracy is undefined: seeds 4."


@pytest.mark.parametrize("n_seeds", [0, 1])
def test_too_few_seeds_give_no_p(n_seeds: int) -> None:
    results = _results(REAL)
    results = results[(results["arm"] != "lime") | (results["seed"] < n_seeds)]
    first = _compare(results)[0]
    assert (first.n_seeds, first.p_corrected_t, first.p_wilcoxon) == (n_seeds, None, None)
    assert (first.p_holm, first.p_equivalence, first.equivalent) == (None, None, False)
    assert first.note is not None
    assert f"at least 2 seeds with both arms, but there are {n_seeds}." in first.note
    judged = _judge(results)
    assert judged.verdict == "inconclusive"
    assert "cannot be tested" in judged.reason


@pytest.mark.parametrize(("n_seeds", "noted"), [(2, "0.5"), (5, "0.062"), (6, None)])
def test_wilcoxon_floor_is_noted(n_seeds: int, noted: str | None) -> None:
    note = _compare(_results(REAL, n_seeds=n_seeds))[0].note
    if noted is None:
        assert note is None
    else:
        assert (
            note
            == f"With {n_seeds} seeds Wilcoxon's and the sign-flip p cannot fall below {noted}."
        )


def test_identical_arms() -> None:
    original = _results({"original": 0.7})
    results = pd.concat([original, *(original.assign(arm=arm) for arm in USUAL[1:])])
    first = _compare(results)[0]
    assert (first.difference, first.low, first.high) == (0.0, 0.0, 0.0)
    assert (first.p_corrected_t, first.p_wilcoxon) == (1.0, 1.0)
    assert first.p_equivalence is not None
    assert 0 < first.p_equivalence < 0.05
    judged = _judge(results)
    assert judged.verdict == "equivalent"
    assert "as if they differed on one image of one seed" in judged.reason
    few = results[results["seed"] < 3]
    assert _judge(few).verdict == "inconclusive"


def test_same_gain_on_every_seed_is_not_significant_by_default() -> None:
    results = _results(REAL, sd=0.0)
    first = _compare(results)[0]
    assert first.difference == pytest.approx(0.15)
    assert (first.p_corrected_t, first.p_holm, first.low, first.high) == (None,) * 4
    assert first.smallest_detectable is None
    judged = _judge(results)
    assert judged.verdict == "inconclusive"
    assert "All differences are the same" in judged.reason


def test_control_without_spread_cannot_clear_or_condemn() -> None:
    results = _results(REAL)
    lime = results[results["arm"] == "lime"]
    shifted = lime.assign(arm="silhouette", accuracy=lime["accuracy"] - 0.2)
    judged = _judge(pd.concat([results[results["arm"] != "silhouette"], shifted]))
    assert judged.verdict == "inconclusive"
    assert "control is missing: silhouette (All differences are the same" in judged.reason


def test_refuses_a_training_that_stands_twice() -> None:
    results = _results(REAL)
    with pytest.raises(ValueError, match="one row per model, seed and arm"):
        _compare(pd.concat([results, results[:1]]))


@pytest.mark.parametrize(
    ("kinds", "overall"),
    [
        (["real gain", "real gain"], "real gain"),
        (["real gain", "inconclusive"], "inconclusive"),
        (["real gain", "real loss"], "inconclusive"),
        (["real gain", "leakage"], "leakage"),
        (["equivalent", "equivalent"], "equivalent"),
        (["any crop"], "any crop"),
        ([], "inconclusive"),
    ],
)
def test_overall(kinds: list[Any], overall: str) -> None:
    verdicts = [Verdict(f"m{number}", kind, "why") for number, kind in enumerate(kinds)]
    judged = judge_overall(verdicts)
    assert (judged.model, judged.verdict) == (None, overall)
    if len(kinds) > 1:
        assert all(f"m{number}: {kind}" in judged.reason for number, kind in enumerate(kinds))


def test_comparison_is_plain_json() -> None:
    results = _results(REAL)
    results["seed"] = results["seed"].astype("int64")
    results.loc[results["arm"] == "silhouette", "auc"] = math.nan
    comparison = _build(results, seeds=tuple(np.arange(10)))
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison
    assert comparison["schema_version"] == 2
    assert comparison["seeds"] == list(range(10))
    assert comparison["judged"] == "lime"
    families = {(c["arm"], c["baseline"]): c["family"] for c in comparison["contrasts"]}
    assert families["lime", "original"] == "primary"
    assert families["random_mask", "original"] == "secondary"
    assert [arm["arm"] for arm in comparison["arms"]] == list(USUAL)
    assert set(comparison["arms"][0]["metrics"]) == set(METRICS)
    silhouette = comparison["arms"][-1]["metrics"]
    assert silhouette["auc"]["mean"] is None
    assert silhouette["auc"]["note"] == "Undefined for every seed."
    assert comparison["verdicts"][0]["model"] == "m"
    assert comparison["verdict"]["verdict"] == "real gain"


def test_families_are_corrected_apart() -> None:
    comparison = _build(_results(REAL, sd=0.05))
    for family in ("primary", "secondary"):
        contrasts = [c for c in comparison["contrasts"] if c["family"] == family]
        found = [c["p_holm"] for c in contrasts]
        assert found == adjust_holm([c["p_corrected_t"] for c in contrasts])


def test_chance_decides_through_the_comparison() -> None:
    means = {**REAL, "permuted_labels": 0.7}
    analysis = _analyse(arms=tuple(means))
    chance = [AboveChance("m", "permuted_labels", 0.2, 0.001)]
    comparison = build_comparison(_results(means, sd=0.01), analysis, chance=chance)
    assert comparison["verdict"]["verdict"] == "leakage"
    assert comparison["chance"][0]["excess"] == 0.2


def test_warnings_and_missing_trainings_are_said() -> None:
    missing = [{"model": "gone", "seed": 0, "arm": "original", "reason": "no memory"}]
    known = {"split": "random", "protocol": "paper", "copies_leak": True}
    comparison = _build(_results(REAL), missing, models=("m", "gone"), **known)
    reason = comparison["verdict"]["reason"]
    assert "Copies of test images were in the training set" in reason
    assert "a model trained on another split, which includes test images" in reason
    assert "1 planned training is missing" in reason
    assert comparison["missing"] == missing
    assert (
        "share the split that the source gives"
        in _build(_results(REAL), split="given")["verdict"]["reason"]
    )


def test_model_that_failed_altogether_keeps_the_whole_from_a_real_gain() -> None:
    comparison = _build(_results(REAL), models=("m", "gone"))
    assert [v["verdict"] for v in comparison["verdicts"]] == ["real gain", "inconclusive"]
    assert comparison["verdict"]["verdict"] == "inconclusive"


def test_nothing_but_the_originals() -> None:
    comparison = _build(_results({"original": 0.7}), arms=("original",))
    assert comparison["contrasts"] == []
    assert comparison["verdict"] == {
        "verdict": "inconclusive",
        "reason": "There is nothing to judge, since no such arm as lime or lime_crossfit was "
        "planned.",
    }
