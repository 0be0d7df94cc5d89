"""Contrasts and shares from tables of predictions, with the bootstrap done again row by row."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from osteo_ray.base.errors import InputError
from osteo_ray.statistics.bootstrap import draw_weights, estimate_interval
from osteo_ray.statistics.contrasts import Contrast, ContrastPlan, compare_arms
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.posterior import correlated_posterior
from osteo_ray.statistics.power import smallest_detectable
from osteo_ray.statistics.predictions import NAMES, encode_predictions
from osteo_ray.statistics.resampling import Resampled, resample_metric
from osteo_ray.statistics.results_table import compute_results
from osteo_ray.statistics.share import share_explained
from osteo_ray.statistics.significance import equivalence_p, non_inferiority_p, sign_flip_p
from osteo_ray.statistics.sizes import Sizes

CLASSES = ["normal", "worn"]
PLAN = ContrastPlan("accuracy", 0.05, 0.03, Sizes(n_test=16.0, n_train=112.0))
PAIRS = [("lime", "original"), ("random_mask", "original"), ("lime", "random_mask")]
SKILLS = {"original": 0.3, "lime": 2.0, "random_mask": 1.2}


def _images(n: int = 60, copies: int = 2) -> pd.DataFrame:
    groups = np.arange(n) // copies * 7 + 3  # numbers need not be dense
    return pd.DataFrame({"image_id": [f"i{k:03d}" for k in range(n)], "group": groups})


def _predict(
    skills: Mapping[str, float] = SKILLS,
    *,
    n_seeds: int = 5,
    n_test: int = 16,
    models: Any = ("m",),
) -> pa.Table:
    rng = np.random.default_rng(0)
    ids = _images()["image_id"].to_numpy()
    parts = []
    for seed in range(n_seeds):
        tested = np.concatenate(
            [rng.choice(np.arange(k, 60, 2), n_test // 2, replace=False) for k in (0, 1)]
        )
        label = tested % 2
        for model in models:
            for arm, skill in skills.items():
                worn = 1 / (1 + np.exp(-((2 * label - 1) * skill + rng.normal(size=n_test))))
                key = {"model": model, "seed": seed, "arm": arm, "split": "test"}
                names = {"image_id": ids[tested], "label": np.array(CLASSES)[label]}
                part = pd.DataFrame({**names, "p_normal": 1 - worn, "p_worn": worn}).assign(**key)
                parts.append(part)
                # other splits play no role
                parts.append(part.assign(split="validation", p_normal=0.5, p_worn=0.5))
    return pa.Table.from_pandas(pd.concat(parts), preserve_index=False)


def _resample(predictions: pa.Table, metric: str = "accuracy", **changes: Any) -> Resampled:
    settings: dict[str, Any] = {"images": _images(), "metric": metric, "n_draws": 40}
    coded = encode_predictions(predictions, CLASSES, "worn")
    return resample_metric(coded, **{**settings, **changes})


def _results(predictions: pa.Table) -> pd.DataFrame:
    return compute_results(encode_predictions(predictions, CLASSES, "worn"))


def _compare(predictions: pa.Table, **changes: Any) -> list[Contrast]:
    named = {field.name for field in fields(ContrastPlan)} & set(changes)
    plan = replace(PLAN, **{name: changes.pop(name) for name in named})
    settings = {"pairs": PAIRS, "resampled": _resample(predictions, plan.metric), **changes}
    return compare_arms(_results(predictions), plan, **settings)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "auc", "brier", "calibration_error"])
def test_draws_are_metrics_of_resampled_rows(metric: str) -> None:
    """Each draw again: groups drawn with all their rows, metrics of the longer table."""
    predictions, images = _predict(models=("m", "k")), _images()
    resampled = _resample(predictions, metric)
    weights = draw_weights(images["group"].nunique(), 40, 0)
    of_group = dict(zip(sorted(set(images["group"])), weights.T, strict=True))
    of_image = {i: of_group[g] for i, g in zip(images["image_id"], images["group"], strict=True)}
    table = predictions.to_pandas().query("split == 'test'")
    for draw in range(0, 40, 13):
        times = table["image_id"].map(lambda name, draw=draw: int(of_image[name][draw]))
        rows = table.iloc[np.repeat(np.arange(len(table)), times)].reset_index(drop=True)
        rows["image_id"] += "#" + rows.groupby(["model", "seed", "arm", "image_id"]).cumcount().map(
            str
        )
        for row in _results(pa.Table.from_pandas(rows, preserve_index=False)).itertuples():
            found = resampled.draws[row.model, row.arm, row.seed][draw]
            assert found == pytest.approx(getattr(row, metric), abs=1e-12, nan_ok=True)
    assert len(resampled.draws) == 2 * 3 * 5


def test_order_and_encoding_of_the_table_do_not_matter() -> None:
    predictions = _predict()
    shuffled = predictions.take(np.random.default_rng(0).permutation(len(predictions)))
    encoded = shuffled
    for name in NAMES:
        at = encoded.schema.get_field_index(name)
        encoded = encoded.set_column(at, name, encoded[name].dictionary_encode())
    halves = pa.concat_tables([encoded.slice(0, 100), encoded.slice(100)])
    expected = _resample(predictions)
    for table in (shuffled, halves):
        found = _resample(table)
        assert set(found.draws) == set(expected.draws)
        for key, values in expected.draws.items():
            np.testing.assert_array_equal(found.draws[key], values)


def test_shared_groups_are_counted() -> None:
    tested = {0: np.array([1, 2, 3]), 1: np.array([3, 4]), 2: np.array([2, 3, 9])}
    resampled = Resampled("accuracy", {}, tested)
    assert resampled.count_shared([0, 1, 2]) == 2
    assert resampled.count_shared([0, 1]) == 1


def test_figures_of_a_contrast() -> None:
    predictions = _predict()
    first = _compare(predictions)[0]
    table = _results(predictions).query("split == 'test'")
    table = table.pivot(index="seed", columns="arm", values="accuracy")
    differences = np.round((table["lime"] - table["original"]).to_numpy(), 12)
    assert first.differences == pytest.approx(differences)
    resampled = _resample(predictions)
    draws = np.stack(
        [resampled.draws["m", "lime", s] - resampled.draws["m", "original", s] for s in range(5)], 1
    )
    interval = estimate_interval(differences, draws, resampled.count_shared(range(5)))
    assert interval is not None
    assert (first.bootstrap_low, first.bootstrap_high) == (interval.low, interval.high)
    variance = interval.from_images + interval.from_seeds
    assert first.variance_from_images == pytest.approx(interval.from_images / variance)
    assert first.p_sign_flip == sign_flip_p(differences)
    assert first.p_non_inferiority == non_inferiority_p(differences, 0.03, PLAN.sizes)
    assert first.improvement == np.mean(np.sign(differences) / 2 + 0.5)
    posterior = correlated_posterior(differences, PLAN.sizes, margin=0.03)
    assert posterior is not None
    assert (
        first.probability_worse, first.probability_equivalent, first.probability_better
    ) == (posterior.worse, posterior.equivalent, posterior.better)  # fmt: skip


def test_intervals_end_where_differences_end() -> None:
    """Two seeds that disagree: by the t distribution with one degree of freedom, ± 5."""
    results = _results(_predict(n_seeds=2))
    lime = (results["arm"] == "lime") & (results["split"] == "test")
    results.loc[lime, ["accuracy", "mcc"]] = np.array([[0.2, 0.2], [1.0, 1.0]])
    for metric, widest in (("accuracy", 1.0), ("mcc", 2.0)):
        first = compare_arms(results, replace(PLAN, metric=metric), pairs=PAIRS)[0]
        assert (first.low, first.high) == (-widest, widest)
        cut = METRICS[metric].cut_difference
        assert (cut(-9.0), cut(0.1), cut(9.0)) == (-widest, 0.1, widest)
        assert math.isnan(cut(math.nan))


def test_contrasts_are_those_asked_for() -> None:
    contrasts = _compare(_predict(models=("m", "k")), models=["k", "m"])
    assert [(c.model, c.arm, c.baseline) for c in contrasts] == [
        (model, *pair) for model in ("k", "m") for pair in PAIRS
    ]


@pytest.mark.parametrize("models", [("m",), ("m", "k")])
def test_power_is_that_of_a_test_corrected_over_models(models: tuple[str, ...]) -> None:
    """As the verdict is, and the plan before it, however many controls are beside."""
    for contrast in _compare(_predict(models=models)):
        assert contrast.sd is not None
        assert contrast.smallest_detectable == smallest_detectable(
            contrast.sd, contrast.n_seeds, PLAN.sizes, PLAN.alpha / len(models)
        )


def test_where_less_is_better_a_fall_is_a_gain() -> None:
    assert not METRICS["brier"].higher_is_better
    results = _results(_predict())
    results["brier"] = 1 - results["accuracy"]
    up, down = (
        compare_arms(results, replace(PLAN, metric=metric), pairs=PAIRS)[0]
        for metric in ("accuracy", "brier")
    )
    assert down.difference == pytest.approx(-(up.difference or 0))
    assert down.p_corrected_t == pytest.approx(up.p_corrected_t)
    assert down.improvement == up.improvement
    assert down.p_non_inferiority == pytest.approx(up.p_non_inferiority)
    assert down.probability_better == pytest.approx(up.probability_better)


def test_without_draws_the_bootstrap_is_left_out() -> None:
    first = _compare(_predict(), resampled=None)[0]
    assert (first.bootstrap_low, first.bootstrap_high, first.note) == (
        None,
        None,
        "With 5 seeds Wilcoxon's and the sign-flip p cannot fall below 0.062.",
    )


def test_missing_predictions_are_noted() -> None:
    predictions = _predict(n_seeds=6)
    some = predictions.to_pandas().query("not (seed == 3 and arm == 'lime')")
    resampled = _resample(pa.Table.from_pandas(some, preserve_index=False))
    first = _compare(predictions, resampled=resampled)[0]
    assert first.note == "No bootstrap interval: predictions of seeds 3 are missing."
    assert (first.n_seeds, first.bootstrap_low) == (6, None)


def test_tiny_test_sets_are_noted() -> None:
    """Two test images of one group each: most resampled sets lack a class, so recall is unknown."""
    predictions = _predict(n_seeds=6, n_test=2)
    first = _compare(predictions, metric="auc")[0]
    assert first.bootstrap_low is None
    assert "so small that most samples of them leave auc undefined" in (first.note or "")


def test_identical_arms_are_no_tiny_p() -> None:
    table = _predict(n_seeds=6).to_pandas()
    same = table[table["arm"] == "original"].assign(arm="lime")
    table = pd.concat([table[table["arm"] != "lime"], same])
    first = _compare(pa.Table.from_pandas(table, preserve_index=False))[0]
    assert (first.difference, first.bootstrap_low, first.bootstrap_high) == (0.0, 0.0, 0.0)
    assert (first.p_corrected_t, first.p_sign_flip, first.improvement) == (1.0, 1.0, 0.5)
    assert (first.probability_better, first.variance_from_images) == (None, None)
    assert "tested as if they differed on one image of one seed" in (first.note or "")
    once = np.array([1 / PLAN.sizes.n_test, 0, 0, 0, 0, 0])
    bound = (PLAN.margin, PLAN.sizes)
    assert first.p_non_inferiority == pytest.approx(non_inferiority_p(once, *bound))
    assert first.p_equivalence == pytest.approx(equivalence_p(once, *bound))
    assert first.p_non_superiority == first.p_equivalence > 0


def test_left_out_seeds_are_named() -> None:
    predictions = _predict(n_seeds=8)
    results = _results(predictions)
    results.loc[(results["arm"] == "lime") & (results["seed"] == 4), "accuracy"] = math.nan
    results = results[~((results["arm"] == "original") & results["seed"].isin([0, 6]))]
    resampled = _resample(predictions)
    contrasts = compare_arms(results, PLAN, pairs=PAIRS, resampled=resampled)
    assert contrasts[0].seeds == (1, 2, 3, 5, 7)
    assert (contrasts[0].note or "").startswith(
        "Left out, as an arm is missing: seeds 0, 6. "
        "Left out, as accuracy is undefined: seeds 4. With 5 seeds"
    )
    assert contrasts[0].bootstrap_low is not None
    assert contrasts[2].seeds == (0, 1, 2, 3, 5, 6, 7)
    share = share_explained(results, resampled, model="m", arm="lime", control="random_mask")
    assert share.n_seeds == 5
    assert (share.note or "").startswith("Left out, as an arm is missing: seeds 0, 6.")


def _edit(predictions: pa.Table, rows: str, **values: Any) -> pa.Table:
    table = predictions.to_pandas()
    chosen = table.eval(rows).to_numpy()
    for name, value in values.items():
        table.loc[chosen, name] = value(table.loc[chosen, name])
    return pa.Table.from_pandas(table, preserve_index=False)


def test_refuses_arms_of_a_seed_on_other_images() -> None:
    # the next image of the same class, which this seed may not have tested
    def shift(ids: Sequence[str]) -> list[str]:
        return [f"i{(int(name[1:]) + 2) % 60:03d}" for name in ids]

    mixed = _edit(_predict(), "arm == 'lime' and seed == 2", image_id=shift)
    with pytest.raises(InputError, match="all arms of seed 2 to be tested on the same images"):
        _resample(mixed)


def test_refuses_other_labels_of_the_same_images() -> None:
    mixed = _edit(_predict(), "arm == 'lime' and seed == 2", label=lambda old: "worn")
    with pytest.raises(InputError, match="arm lime of m"):
        _resample(mixed)


def test_labels_may_differ_in_arms_that_are_left_out() -> None:
    """Shuffled labels are no contrast: the other arms are held against each other without them."""
    mixed = _edit(_predict(), "arm == 'random_mask' and seed == 2", label=lambda old: "worn")
    coded = encode_predictions(mixed, CLASSES, "worn").select(lambda key: key.arm != "random_mask")
    found = resample_metric(coded, _images(), metric="accuracy", n_draws=40)
    expected = _resample(_predict())
    assert {arm for _, arm, _ in found.draws} == {"original", "lime"}
    for key, values in found.draws.items():
        np.testing.assert_array_equal(values, expected.draws[key])


def test_refuses_an_image_twice() -> None:
    predictions = _predict()
    with pytest.raises(InputError, match="Do not mix the tables of two runs"):
        _resample(pa.concat_tables([predictions, predictions]))


def test_refuses_unknown_images() -> None:
    with pytest.raises(InputError, match="every predicted image in the table of images"):
        _resample(_predict(), images=_images()[:30])


def test_refuses_results_of_two_runs() -> None:
    results = _results(_predict())
    mixed = results.copy()
    mixed.loc[(mixed["arm"] == "lime") & (mixed["seed"] == 1), "n_images"] = 99
    with pytest.raises(InputError, match="results have 99 and 16 images"):
        compare_arms(mixed, PLAN, pairs=PAIRS)
    with pytest.raises(ValueError, match="one row per model, seed and arm"):
        compare_arms(pd.concat([results, results]), PLAN, pairs=PAIRS)


def test_refuses_draws_of_another_metric() -> None:
    predictions = _predict()
    with pytest.raises(ValueError, match="Expected draws of accuracy, but got draws of auc"):
        _compare(predictions, resampled=_resample(predictions, "auc"))


def test_no_predictions_at_all() -> None:
    empty = _resample(_predict().slice(0, 0))
    assert (empty.draws, empty.tested) == ({}, {})


def test_share_is_the_ratio_of_the_gains() -> None:
    predictions = _predict(n_seeds=12)
    results, resampled = _results(predictions), _resample(predictions)
    lime, random, _ = compare_arms(results, PLAN, pairs=PAIRS)
    share = share_explained(results, resampled, model="m", arm="lime", control="random_mask")
    assert lime.difference is not None
    assert random.difference is not None
    assert share.share == pytest.approx(random.difference / lime.difference)
    assert share.low is not None
    assert share.high is not None
    assert share.low < share.share < share.high
    assert (share.n_seeds, share.note) == (12, None)
    wider = share_explained(
        results, resampled, model="m", arm="lime", control="random_mask", alpha=0.01
    )
    assert wider.low is None or wider.low < share.low


def test_no_gain_has_no_share() -> None:
    predictions = _predict({"original": 1.0, "lime": 1.0, "random_mask": 1.0}, n_seeds=6)
    share = share_explained(
        _results(predictions), _resample(predictions), model="m", arm="lime", control="random_mask"
    )
    assert (share.share, share.low, share.high) == (None, None, None)
    assert share.note == "No share: the gain may be 0, and then any share would fit."


@pytest.mark.parametrize(("n_seeds", "said"), [(0, "there are 0."), (1, "there is 1.")])
def test_share_of_too_few_seeds(n_seeds: int, said: str) -> None:
    predictions = _predict()
    results = _results(predictions)
    results = results[(results["arm"] != "random_mask") | (results["seed"] < n_seeds)]
    share = share_explained(
        results, _resample(predictions), model="m", arm="lime", control="random_mask"
    )
    assert (share.share, share.n_seeds) == (None, n_seeds)
    assert f"at least 2 seeds with all three arms, but {said}" in (share.note or "")
