"""The rule of the verdict on constructed results, and the content of comparison.json."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from osteo_ray.compare.contrasts import Contrast, compare_arms
from osteo_ray.compare.significance import adjust_holm, corrected_t_test, wilcoxon_p
from osteo_ray.compare.verdict import (
    CONTROLS,
    Verdict,
    build_comparison,
    judge_model,
    judge_overall,
)
from osteo_ray.config import ARM_NAMES, METRIC_NAMES

PLAN: dict[str, Any] = {
    "metric": "accuracy", "alpha": 0.05, "margin": 0.03, "n_train": 112.0, "n_test": 16.0
}  # fmt: skip
REAL = {"original": 0.70, "lime": 0.85, "random_mask": 0.70, "silhouette": 0.60}


def _results(
    means: Mapping[str, float], *, n_seeds: int = 10, sd: float = 0.02, model: str = "m"
) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for arm, mean in means.items():
        for seed in range(n_seeds):
            values = dict.fromkeys(METRIC_NAMES, mean + sd * float(rng.normal()))
            key = {"model": model, "seed": seed, "arm": arm, "split": "test"}
            rows.append({**key, "n_images": 16, **values})
            # rows of the validation set must not count
            rows.append({**rows[-1], "split": "validation", "accuracy": 0.0})
    return pd.DataFrame(rows)


def _compare(results: pd.DataFrame, arms: Sequence[str] = ARM_NAMES) -> list[Contrast]:
    pairs = [(arm, "original") for arm in arms if arm != "original"]
    pairs += [("lime", control) for control in CONTROLS if {"lime", control} <= set(arms)]
    return compare_arms(results, pairs=pairs, **PLAN)


def _judge(results: pd.DataFrame, arms: Sequence[str] = ARM_NAMES) -> Verdict:
    return judge_model(_compare(results, arms), alpha=0.05)


def _build(results: pd.DataFrame, **changes: Any) -> dict[str, Any]:
    settings = {
        **PLAN, "arms": ARM_NAMES, "seeds": range(10), "classes": ["normal", "worn"],
        "positive_class": "worn", "split": "grouped", "missing": [],
    }  # fmt: skip
    return build_comparison(results, **{**settings, **changes})


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, "real gain", "neither control explains"),
        ({"silhouette": 0.85}, "leakage", "outline of the mask may carry the label"),
        ({"silhouette": 0.95}, "leakage", "The outline alone scores better than the images"),
        ({"random_mask": 0.85}, "any crop", "by chance may do as well"),
        ({"random_mask": 0.85, "silhouette": 0.85}, "leakage", "outline"),
        ({"lime": 0.55}, "real loss", "loses"),
        ({"lime": 0.70}, "equivalent", "inside ± 0.03"),
    ],
)
def test_rule(changes: dict[str, float], verdict: str, words: str) -> None:
    judged = _judge(_results({**REAL, **changes}, sd=0.01))
    assert judged.verdict == verdict
    assert judged.model == "m"
    assert words in judged.reason
    assert "10 seeds, 95 % interval" in judged.reason


def test_noise_is_inconclusive_and_says_what_it_would_take() -> None:
    judged = _judge(_results({**REAL, "lime": 0.72}, sd=0.1))
    assert judged.verdict == "inconclusive"
    assert "would be found with power 0.8" in judged.reason
    assert "for the observed one it takes" in judged.reason


@pytest.mark.parametrize("control", ["silhouette", "random_mask"])
def test_missing_control_is_never_a_real_gain(control: str) -> None:
    arms = [arm for arm in ARM_NAMES if arm != control]
    results = _results(REAL)
    judged = _judge(results, arms)
    assert judged.verdict == "inconclusive"
    assert judged.reason.endswith(f"But a control is missing: {control}.")
    # planned, but no training of it finished
    judged = _judge(results[results["arm"] != control])
    assert judged.verdict == "inconclusive"
    assert f"But a control is missing: {control} (" in judged.reason


def test_one_failed_control_decides_without_the_other() -> None:
    results = _results({**REAL, "random_mask": 0.85})
    assert _judge(results, ["original", "lime", "random_mask"]).verdict == "any crop"


def test_without_lime_there_is_nothing_to_judge() -> None:
    judged = _judge(_results(REAL), ["original", "silhouette"])
    assert (judged.verdict, "lime was not planned" in judged.reason) == ("inconclusive", True)


def test_small_but_sure_gain_says_that_it_does_not_matter() -> None:
    means = {"original": 0.70, "lime": 0.71, "random_mask": 0.5, "silhouette": 0.5}
    judged = _judge(_results(means, sd=0.001))
    assert judged.verdict == "real gain"
    assert "the margin said not to matter" in judged.reason


def test_figures_of_a_contrast() -> None:
    results = pd.concat([_results(REAL), _results({**REAL, "lime": 0.72}, model="k")])
    contrasts = _compare(results)
    assert [(c.model, c.arm, c.baseline) for c in contrasts] == [
        (model, arm, baseline)
        for model in ("m", "k")
        for arm, baseline in [
            ("lime", "original"),
            ("random_mask", "original"),
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
    expected = corrected_t_test(differences, n_test=16, n_train=112)
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
    assert "seeds 3, 7" in judge_model(contrasts, alpha=0.05).reason


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
    results = pd.concat([original, *(original.assign(arm=arm) for arm in ARM_NAMES[1:])])
    first = _compare(results)[0]
    assert (first.difference, first.low, first.high) == (0.0, 0.0, 0.0)
    assert (first.p_corrected_t, first.p_wilcoxon, first.p_equivalence) == (1.0, 1.0, None)
    judged = _judge(results)
    assert judged.verdict == "inconclusive"
    assert "All differences are the same" in judged.reason


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
    shifted = lime.assign(arm="silhouette", accuracy=lime["accuracy"] - 0.1)
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
    assert list(comparison) == [
        "schema_version", "metric", "alpha", "margin", "n_train", "n_test", "seeds", "classes",
        "positive_class", "split", "arms", "contrasts", "verdicts", "verdict", "missing",
        "operating_points", "per_seed",
    ]  # fmt: skip
    assert comparison["schema_version"] == 1
    assert comparison["seeds"] == list(range(10))
    assert [arm["arm"] for arm in comparison["arms"]] == list(ARM_NAMES)
    assert set(comparison["arms"][0]["metrics"]) == set(METRIC_NAMES)
    silhouette = comparison["arms"][-1]["metrics"]
    assert silhouette["auc"]["mean"] is None
    assert silhouette["auc"]["note"] == "Undefined for every seed."
    assert comparison["verdicts"][0]["model"] == "m"
    assert comparison["verdict"]["verdict"] == "real gain"


def test_random_split_and_missing_trainings_are_said() -> None:
    missing = [{"model": "gone", "seed": 0, "arm": "original", "reason": "no memory"}]
    comparison = _build(_results(REAL), split="random", missing=missing)
    reason = comparison["verdict"]["reason"]
    assert "Copies of test images were in training" in reason
    assert "1 planned training is missing" in reason
    assert comparison["missing"] == missing
    # a model that failed altogether keeps the whole from being a real gain
    assert [v["verdict"] for v in comparison["verdicts"]] == ["real gain", "inconclusive"]
    assert comparison["verdict"]["verdict"] == "inconclusive"


def test_nothing_but_the_originals() -> None:
    comparison = _build(_results({"original": 0.7}), arms=["original"])
    assert comparison["contrasts"] == comparison["verdicts"] == []
    assert comparison["verdict"] == {
        "verdict": "inconclusive",
        "reason": "No arm was held against original.",
    }
