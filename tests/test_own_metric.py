"""A metric that a test defines and registers goes all the way to the verdict."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import cohen_kappa_score

from osteo_ray.config.build import build_config
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.comparison import analyse
from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.metrics.registry import METRICS, check_endpoint, list_endpoints
from osteo_ray.statistics.predictions import Group
from osteo_ray.statistics.resampling import measure_resampled
from osteo_ray.statistics.sample import Sample, divide
from osteo_ray.statistics.settings import StatisticsSettings
from osteo_ray.statistics.sizes import Sizes

CLASSES = ("normal", "worn")
ARMS = ("original", "lime", "random_mask", "silhouette")


def _measure_kappa(sample: Sample) -> Values:
    n = sample.n_images
    by_chance = (sample.given * sample.called).sum(-1)
    return divide(n * sample.hits.sum(-1) - by_chance, n**2 - by_chance)


KAPPA = Metric("kappa", "Cohen's kappa", _measure_kappa, lowest=-1.0)
DISAGREEMENT = Metric(
    "disagreement", "Disagreement", lambda sample: 1 - _measure_kappa(sample), False
)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    for metric in (KAPPA, DISAGREEMENT):
        monkeypatch.setitem(METRICS, metric.name, metric)


def _predict(n_seeds: int = 8, n_images: int = 40) -> tuple[pa.Table, pd.DataFrame]:
    """Make predictions in which lime is right more often; each seed leaves two images out."""
    rng = np.random.default_rng(0)
    labels = np.arange(n_images) % 2
    ids = [f"i{number:02}" for number in range(n_images)]
    parts = []
    for seed in range(n_seeds):
        for arm in ARMS:
            skill = 3.0 if arm == "lime" else 0.5
            worn = 1 / (1 + np.exp(-(skill * (labels - 0.5) + rng.normal(size=n_images))))
            key = {"model": "m", "seed": seed, "arm": arm, "split": "test", "image_id": ids}
            scores = {"label": np.array(CLASSES)[labels], "p_normal": 1 - worn, "p_worn": worn}
            tested = np.arange(n_images) // 2 != seed
            parts.append(pd.DataFrame({**key, **scores})[tested])
    images = pd.DataFrame({"image_id": ids, "group": np.arange(n_images) // 2})
    return pa.Table.from_pandas(pd.concat(parts), preserve_index=False), images


def _analysis(metric: str) -> Analysis:
    return Analysis(
        models=("m",),
        arms=ARMS,
        seeds=tuple(range(8)),
        metric=metric,
        alpha=0.05,
        margin=0.03,
        sizes=Sizes(n_test=38, n_train=1000),
        classes=CLASSES,
        positive_class="worn",
    )


@pytest.mark.usefixtures("own")
def test_it_is_in_results_summaries_contrasts_and_verdict() -> None:
    assert build_config({"statistics": {"metric": "kappa"}}).statistics.metric == "kappa"
    predictions, images = _predict()
    results, comparison = analyse(predictions, images, _analysis("kappa"))
    rows = predictions.to_pandas()
    first = rows[(rows["seed"] == 0) & (rows["arm"] == "original")]
    called = np.where(first["p_worn"] > first["p_normal"], "worn", "normal")
    found = results[(results["seed"] == 0) & (results["arm"] == "original")]["kappa"].item()
    assert found == pytest.approx(cohen_kappa_score(first["label"], called), abs=1e-12)
    by_arm = results.groupby("arm")["kappa"].mean()
    summary = next(row for row in comparison["arms"] if row["arm"] == "lime")
    assert summary["metrics"]["kappa"]["mean"] == pytest.approx(by_arm["lime"])
    contrast = comparison["contrasts"][0]
    assert (contrast["metric"], contrast["arm"], contrast["baseline"]) == (
        "kappa", "lime", "original",
    )  # fmt: skip
    assert contrast["difference"] == pytest.approx(by_arm["lime"] - by_arm["original"])
    assert contrast["bootstrap_low"] < contrast["difference"] < contrast["bootstrap_high"]
    assert comparison["verdict"]["verdict"] == "real gain"


@pytest.mark.usefixtures("own")
def test_where_less_of_it_is_better_a_fall_is_the_gain() -> None:
    predictions, images = _predict()
    _, gains = analyse(predictions, images, _analysis("kappa"))
    _, falls = analyse(predictions, images, _analysis("disagreement"))
    up, down = gains["contrasts"][0], falls["contrasts"][0]
    assert down["difference"] == pytest.approx(-up["difference"])
    assert up["probability_better"] > 0.9
    assert down["probability_better"] == pytest.approx(up["probability_better"])
    assert falls["verdict"]["verdict"] == "real gain"


@pytest.mark.usefixtures("own")
def test_its_interval_ends_where_it_does() -> None:
    predictions, images = _predict()
    wide = replace(_analysis("kappa"), sizes=Sizes(n_test=1, n_train=0.001))
    _, comparison = analyse(predictions, images, wide)
    figures = comparison["arms"][0]["metrics"]
    assert (figures["kappa"]["low"], figures["kappa"]["high"]) == (-1.0, 1.0)
    assert (figures["mcc"]["low"], figures["accuracy"]["low"]) == (-1.0, 0.0)


@pytest.mark.usefixtures("own")
def test_it_is_resampled_by_the_same_formula() -> None:
    rng = np.random.default_rng(1)
    labels, worn = rng.integers(2, size=30), rng.uniform(size=30)
    group = Group(np.arange(30), labels, np.stack([1 - worn, worn], axis=1))
    weights = rng.poisson(1, (30, 4)).astype(np.uint8)
    found = measure_resampled("kappa", [group], weights, positive=1)
    expected = [
        cohen_kappa_score(labels, group.predicted, sample_weight=times) for times in weights.T
    ]
    assert found[:, 0] == pytest.approx(expected, abs=1e-12)


def test_settings_write_the_name_of_the_metric_and_refuse_others() -> None:
    settings = StatisticsSettings(metric="auc")
    assert settings.model_dump(mode="json")["metric"] == "auc"
    with pytest.raises(ValueError, match=r"but got `acuracy`\. Did you mean `accuracy`"):
        StatisticsSettings(metric="acuracy")
    described = StatisticsSettings.model_fields["metric"].description or ""
    assert all(name in described for name in list_endpoints())


def test_a_metric_may_be_kept_from_being_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"precision", "recall", "specificity", "f1", "calibration_error", "grade_error"}
    assert set(METRICS) - set(list_endpoints()) == refused
    because = "it rewards nobody; take auc"
    monkeypatch.setitem(METRICS, "kappa", replace(KAPPA, refused_because=because))
    assert "kappa" not in list_endpoints()
    with pytest.raises(ValueError, match=f"but got `kappa`: {because}"):
        check_endpoint("kappa")


@pytest.mark.parametrize("name", ["precision", "recall", "specificity", "f1", "calibration_error"])
def test_metrics_that_degenerate_classifiers_win_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"it rewards a c.*; take ") as raised:
        StatisticsSettings(metric=name)
    taken = str(raised.value).split("; take ")[1]
    assert any(endpoint in taken for endpoint in list_endpoints())
