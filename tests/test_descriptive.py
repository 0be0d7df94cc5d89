"""Arms over seeds, operating points and pairs of arms seed by seed, on small tables."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.comparison import analyse
from osteo_ray.statistics.descriptive import summarize_arms, summarize_seeds
from osteo_ray.statistics.per_seed import describe_operating_points, describe_pairs
from osteo_ray.statistics.predictions import Predictions, encode_predictions
from osteo_ray.statistics.results_table import compute_results
from osteo_ray.statistics.sizes import Sizes

CLASSES = ["normal", "worn"]
ARMS = ("original", "lime")
SIZES: dict[str, Any] = {"sizes": Sizes(n_test=20.0, n_train=60.0), "alpha": 0.05}
PLAN: dict[str, Any] = {"models": ["m"], "seeds": [0, 1], "alpha": 0.05}


def _rows(n: int = 12, seeds: tuple[int, ...] = (0, 1)) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for seed in seeds:
        for arm in ARMS:
            for split in ("validation", "test"):
                for image in range(n):
                    p = float(rng.uniform())
                    label = CLASSES[image % 2]
                    rows.append(("m", seed, arm, split, f"i{image:02}", label, 1 - p, p))
    names = ["model", "seed", "arm", "split", "image_id", "label", "p_normal", "p_worn"]
    return pd.DataFrame(rows, columns=names)


def _encode(rows: pd.DataFrame, classes: list[str] = CLASSES) -> Predictions:
    return encode_predictions(pa.Table.from_pandas(rows, preserve_index=False), classes, "worn")


def _pairs(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return describe_pairs(_encode(rows), [("lime", "original")], **PLAN)


def test_interval_is_the_corrected_one() -> None:
    values = np.array([0.70, 0.72, 0.75, 0.71])
    found = summarize_seeds(values, np.arange(4), **SIZES)
    half = stats.t.ppf(0.975, 3) * values.std(ddof=1) * np.sqrt(1 / 4 + 20 / 60)
    assert found.mean == pytest.approx(values.mean())
    assert found.sd == pytest.approx(values.std(ddof=1))
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half))
    assert found.note is None


def test_interval_ends_where_the_metric_ends() -> None:
    values = np.array([0.1, 0.9])
    found = summarize_seeds(values, np.arange(2), **SIZES)
    assert (found.low, found.high) == (0, 1)
    assert summarize_seeds(values - 1, np.arange(2), **SIZES, bounds=(-1.0, 1.0)).low == -1


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ([np.nan, np.nan], "Undefined for every seed."),
        ([], "Undefined for every seed."),
        (
            [0.5, np.nan],
            "Undefined for seed 8. An interval needs at least 2 seeds, but there is 1.",
        ),
        ([0.5, 0.5], "All seeds have the same value, so there is no interval."),
        ([0.0, 0.0], "All seeds have the same value, so there is no interval."),
        ([np.nan, 0.5, np.nan, 0.6], "Undefined for seeds 7, 9."),
    ],
)
def test_notes_say_what_is_missing(values: list[float], note: str) -> None:
    found = summarize_seeds(np.array(values), np.arange(7, 7 + len(values)), **SIZES)
    assert found.note == note
    assert (found.low is None) == (found.high is None) == (found.n_seeds < 2 or found.sd == 0)


def test_summary_uses_test_rows_and_counts_defined_seeds() -> None:
    results = pd.DataFrame(
        {
            "model": "m",
            "seed": [0, 1, 2, 0],
            "arm": "original",
            "split": ["test", "test", "test", "validation"],
            "accuracy": [0.5, 0.7, 0.9, 0.0],
            "auc": [0.6, np.nan, np.nan, 0.0],
            "mcc": [-0.9, 0.9, 0.0, 0.0],
        }
    )
    (summary,) = summarize_arms(results, **SIZES)
    assert (summary["model"], summary["arm"], summary["n_seeds"]) == ("m", "original", 3)
    assert list(summary["metrics"]) == ["accuracy", "auc", "mcc"]
    accuracy, auc = summary["metrics"]["accuracy"], summary["metrics"]["auc"]
    assert (accuracy["mean"], accuracy["sd"]) == pytest.approx((0.7, 0.2))
    assert (auc["mean"], auc["sd"], auc["n_seeds"]) == (0.6, None, 1)
    assert summary["metrics"]["mcc"]["low"] == -1


def test_operating_points_have_wilson_intervals() -> None:
    rows = _rows()
    coded = _encode(rows)
    found = describe_operating_points(compute_results(coded), coded, alpha=0.05)
    assert [(row["seed"], row["arm"]) for row in found] == [
        (seed, arm) for seed in (0, 1) for arm in ("lime", "original")
    ]
    for row in found:
        test = rows[(rows["seed"] == row["seed"]) & (rows["arm"] == row["arm"])]
        test = test[test["split"] == "test"]
        ill = test["label"] == "worn"
        for suffix, called in (
            ("", test["p_worn"] > test["p_normal"]),
            ("_at_threshold", test["p_worn"] >= row["threshold"]),
        ):
            for name, k, n in (
                (f"sensitivity{suffix}", int((called & ill).sum()), int(ill.sum())),
                (f"specificity{suffix}", int((~called & ~ill).sum()), int((~ill).sum())),
            ):
                interval = stats.binomtest(k, n).proportion_ci(method="wilson")
                assert row[name] == pytest.approx(k / n)
                assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx(
                    tuple(interval), abs=1e-12
                )
        assert (row["n_positive"], row["n_negative"]) == (6, 6)
        called_the_same = None in (row["ppv_at_threshold"], row["npv_at_threshold"])
        assert (row["note"] is not None) == called_the_same


def test_operating_points_say_what_is_missing() -> None:
    rows = _rows()
    test = rows["split"] == "test"
    ill = rows["label"] == "worn"

    def describe(kept: pd.DataFrame) -> dict[str, Any]:
        coded = _encode(kept)
        return describe_operating_points(compute_results(coded), coded, alpha=0.05)[0]

    found = describe(rows[ill | ~test])
    assert found["note"] == "No negative test images."
    assert found["specificity"] is found["specificity_low"] is None
    assert found["sensitivity"] is not None
    found = describe(rows[ill | test])
    assert found["note"] == "No threshold: the validation images lack a class."
    assert found["threshold"] is found["sensitivity_at_threshold"] is None
    assert describe(rows[test])["note"] == "No threshold: there are no validation images."
    found = describe(rows.assign(p_worn=0.7, p_normal=0.3))
    assert found["note"] == "At the threshold, all test images are called the same class."
    assert found["npv_at_threshold"] is None


def test_pairs_are_described_per_seed() -> None:
    rows = _rows()
    found = _pairs(rows)
    assert [(row["seed"], row["arm"], row["baseline"]) for row in found] == [
        (0, "lime", "original"),
        (1, "lime", "original"),
    ]
    test = rows[(rows["split"] == "test") & (rows["seed"] == 1)].set_index("image_id")
    right = {
        arm: (part["p_worn"] > part["p_normal"]) == (part["label"] == "worn")
        for arm, part in test.groupby("arm")
    }
    n01, n10 = (
        ((~right["lime"]) & right["original"]).sum(),
        (right["lime"] & ~right["original"]).sum(),
    )
    row = found[1]
    assert (row["n_images"], row["n01"], row["n10"]) == (12, n01, n10)
    assert row["mcnemar_p"] == pytest.approx(stats.binomtest(int(n01), int(n01 + n10)).pvalue)
    results = compute_results(_encode(rows)).query("split == 'test' and seed == 1")
    auc = results.set_index("arm")["auc"]
    assert row["auc_difference"] == pytest.approx(auc["lime"] - auc["original"])
    assert row["auc_low"] < row["auc_difference"] < row["auc_high"]
    assert 0 < row["delong_p"] <= 1
    assert row["note"] is None


def test_interval_of_delong_ends_where_auc_ends() -> None:
    rows = _rows()
    test = rows[(rows["split"] == "test") & rows["image_id"].isin(["i00", "i01", "i02", "i03"])]
    assert test.groupby(["arm", "seed"])["label"].value_counts().eq(2).all()
    is_worn, place = test["label"] == "worn", test["image_id"].isin(["i00", "i01"])
    # Of two by two images: `original` ranks one of four pairs right, `lime` three.
    worn = np.where(is_worn, np.where(place, 0.6, 0.2), np.where(place, 0.5, 0.4))
    p_worn = np.where(test["arm"] == "lime", worn, 1 - worn)
    row = _pairs(test.assign(p_worn=p_worn, p_normal=1 - p_worn))[0]
    assert -1 <= row["auc_low"] < row["auc_difference"] < row["auc_high"] == 1


def test_pairs_say_what_is_missing() -> None:
    rows = _rows()
    test, lime, second = rows["split"] == "test", rows["arm"] == "lime", rows["seed"] == 1
    first, lost = _pairs(rows[~(lime & second)])
    assert first["note"] is None
    assert lost["note"] == "No test predictions of lime."
    assert lost["mcnemar_p"] is lost["delong_p"] is lost["n01"] is None
    other = _pairs(rows[~(lime & second & test & (rows["image_id"] == "i03"))])[1]
    assert other["note"] == "The two arms were tested on different images."
    one_class = _pairs(rows[~test | (rows["label"] == "worn")])[0]
    assert one_class["note"] == "AUC needs test images of both classes."
    assert one_class["mcnemar_p"] is not None
    assert one_class["auc_difference"] is one_class["delong_p"] is None
    few = _pairs(rows[~test | (rows["label"] == "worn") | (rows["image_id"] == "i00")])[0]
    assert few["note"] == "DeLong's test needs at least 2 test images of each class."
    assert few["auc_difference"] is not None
    same = _pairs(rows.assign(p_worn=0.7, p_normal=0.3))[0]
    assert same["note"].startswith("The AUCs differ by the same on every image")
    assert (same["auc_difference"], same["mcnemar_p"], same["delong_p"]) == (0, 1, None)


def test_three_classes_have_mcnemar_only() -> None:
    coded = _encode(_rows().assign(p_other=0.0), ["normal", "other", "worn"])
    assert describe_operating_points(compute_results(coded), coded, alpha=0.05) == []
    for row in describe_pairs(coded, [("lime", "original")], **PLAN):
        assert row["note"] == "DeLong's test is for two classes."
        assert row["mcnemar_p"] is not None
        assert row["delong_p"] is None


def test_comparison_holds_all_of_it_as_plain_json() -> None:
    rows = _rows()
    rows = rows[~((rows["arm"] == "lime") & (rows["seed"] == 1))]
    images = pd.DataFrame({"image_id": sorted(set(rows["image_id"])), "group": np.arange(12)})
    analysis = Analysis(
        models=("m",), arms=ARMS, seeds=(0, 1), metric="accuracy", margin=0.03,
        classes=tuple(CLASSES), positive_class="worn", **SIZES,
    )  # fmt: skip
    table = pa.Table.from_pandas(rows, preserve_index=False)
    results, comparison = analyse(table, images, analysis)
    pd.testing.assert_frame_equal(results, compute_results(_encode(rows)))
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison
    assert len(comparison["operating_points"]) == 3
    assert [row["note"] for row in comparison["per_seed"]] == [None, "No test predictions of lime."]


@pytest.mark.parametrize("split", ["random", "given", "site", "unknown"])
def test_a_random_split_is_blamed_for_copies_only_where_there_was_one(split: str) -> None:
    rows = _rows()
    images = pd.DataFrame({"image_id": sorted(set(rows["image_id"])), "group": np.arange(12)})
    analysis = Analysis(
        models=("m",), arms=ARMS, seeds=(0, 1), metric="accuracy", margin=0.03, split=split,
        classes=tuple(CLASSES), positive_class="worn", copies_leak=True, **SIZES,
    )  # fmt: skip
    _, found = analyse(pa.Table.from_pandas(rows, preserve_index=False), images, analysis)
    reason = found["verdict"]["reason"]
    assert "Copies of test images were in the training set" in reason
    assert ("as the split was random" in reason) == (split == "random")


def test_shuffled_labels_are_held_against_chance_and_nothing_else() -> None:
    """Their labels are not those of the other arms, which would be refused in a contrast."""
    rows = _rows()
    shuffled = rows[rows["arm"] == "lime"].assign(arm="permuted_labels")
    shuffled["label"] = np.roll(shuffled["label"].to_numpy(), 1)
    arms = (*ARMS, "permuted_labels")
    analysis = Analysis(
        models=("m",), arms=arms, seeds=(0, 1), metric="auc", margin=0.03,
        classes=tuple(CLASSES), positive_class="worn", **SIZES,
    )  # fmt: skip
    images = pd.DataFrame({"image_id": sorted(set(rows["image_id"])), "group": np.arange(12)})
    table = pa.Table.from_pandas(pd.concat([rows, shuffled]), preserve_index=False)
    _, comparison = analyse(table, images, analysis)
    assert set(comparison["shuffled"]) == {"permuted_labels"}
    contrasts = [(one["arm"], one["baseline"]) for one in comparison["contrasts"]]
    assert contrasts == [("lime", "original")]
    assert comparison["contrasts"][0]["bootstrap_low"] is not None


def test_two_way_intervals_end_where_the_metric_ends() -> None:
    values, seeds = np.array([0.9, 0.95]), np.arange(2)
    summary = summarize_seeds(
        values, seeds, Sizes(n_test=10, n_train=70), alpha=0.05, fixed=True, two_way=(-0.1, 1.2)
    )
    assert (summary.low, summary.high) == (0.0, 1.0)
