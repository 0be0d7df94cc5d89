"""The budget of the variance, and the gain that a protocol makes: against known values."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats
from tiny_runs import compute_here

from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_json, write_table
from osteo_ray.commands.main import main
from osteo_ray.config.build import build
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.variants import SOURCES, ProtocolsConfig, VarianceConfig
from osteo_ray.experiment.protocol_gains import join_gains, subtract_gains
from osteo_ray.pipeline.compare.prepare import divide_for_search
from osteo_ray.statistics.sizes import Sizes
from osteo_ray.statistics.variance import divide_variance, share_variance


def make_config(**settings: Any) -> VarianceConfig:
    return build(VarianceConfig, {"data": "/knees", "repeats": 3, **settings})


def test_each_rerun_changes_one_source_and_all_are_covered() -> None:
    config = make_config(first_seed=7)
    numbers = config.seed_numbers
    assert len(numbers) == 1 + 3 * len(SOURCES)
    base = config.seeds_of(0)
    assert set(base) == {7}
    assert config.source_of(0) is None
    changed = {source: set() for source in SOURCES}
    for number in numbers[1:]:
        seeds = config.seeds_of(number)
        different = [name for name in SOURCES if getattr(seeds, name) != getattr(base, name)]
        assert different == [config.source_of(number)]
        changed[different[0]].add(getattr(seeds, different[0]))
    assert all(values == {8, 9, 10} for values in changed.values())


def test_settings_are_searched_on_a_split_that_is_no_rerun(tmp_path: Path) -> None:
    images = pd.DataFrame(
        {name: [f"i{n}" for n in range(12)] for name in ("image_id", "path", "digest")}
        | {"label": ["normal", "worn"] * 6, "group": range(12), "used": True}
    )
    run = Run(tmp_path)
    write_table(run.images, pa.Table.from_pandas(images))
    searched = {"tuning": {"trials": 2}, "first_seed": 7}
    split = divide_for_search(run, make_config(**searched))
    assert sorted(set(split)) == ["test", "train", "validation"]
    # It is that of a comparison, whose number no rerun has.
    config = build(CompareConfig, {"data": "/knees", **searched})
    assert split.tolist() == divide_for_search(run, config).tolist()


def test_a_run_of_more_reruns_is_another_run() -> None:
    assert make_config().identity() != make_config(repeats=4).identity()
    assert make_config().arms == ("original", "lime")


def test_shares_are_those_of_the_variances() -> None:
    values = {"split": np.array([0.7, 0.8, 0.9]), "order": np.array([0.7, 0.75, 0.65])}
    shares = share_variance(values)
    variances = [0.01, 0.0025]
    assert [one.share for one in shares] == pytest.approx([0.8, 0.2])
    assert [one.sd**2 for one in shares] == pytest.approx(variances)
    assert [one.n_runs for one in shares] == [3, 3]
    # With two sources the share is a function of F, whose quantiles are known.
    ratio = 4.0
    for one, end in ((shares[0].low, 0.025), (shares[0].high, 0.975)):
        quantile = ratio * stats.f.ppf(end, 2, 2)
        assert one == pytest.approx(quantile / (1 + quantile), abs=0.02)
    assert share_variance(values) == shares


def test_nothing_that_varies_has_no_shares() -> None:
    (share,) = share_variance({"split": np.array([0.7, 0.7])})
    assert (share.sd, share.share, share.low, share.high) == (0.0, None, None, None)


def test_budget_is_found_from_results() -> None:
    config = make_config()
    rows = []
    for number in config.seed_numbers:
        split = config.seeds_of(number).split
        for arm, mean in (("original", 0.7), ("lime", 0.8)):
            lime = config.seeds_of(number).lime if arm == "lime" else 0
            row = {"model": "m", "seed": number, "arm": arm, "split": "test"}
            rows.append({**row, "accuracy": mean + 0.01 * split + 0.02 * lime})
    changed = {number: config.source_of(number) for number in config.seed_numbers}
    budget = divide_variance(pd.DataFrame(rows), "accuracy", changed)
    assert [entry["result"] for entry in budget] == ["original", "lime", "lime minus original"]
    assert {one["n_runs"] for entry in budget for one in entry["sources"]} == {1 + config.repeats}
    shares = [{one["source"]: one["share"] for one in entry["sources"]} for entry in budget]
    assert shares[0]["split"] == pytest.approx(1)
    assert shares[1]["split"] == pytest.approx(0.2)
    assert shares[1]["lime"] == pytest.approx(0.8)
    assert shares[2]["lime"] == pytest.approx(1)
    assert all(shares[0][source] == pytest.approx(0) for source in SOURCES[1:])
    lost = [row for row in rows if config.source_of(row["seed"]) != "order"]
    left = divide_variance(pd.DataFrame(lost), "accuracy", changed)
    assert "order" not in {one["source"] for one in left[0]["sources"]}


def test_gains_on_splits_of_their_own_are_subtracted_by_welch() -> None:
    rng = np.random.default_rng(0)
    clean, paper = rng.normal(0.01, 0.02, 8), rng.normal(0.1, 0.05, 6)
    sides = [(float(x.mean()), float(x.std(ddof=1)), len(x)) for x in (clean, paper)]
    found = subtract_gains(*sides, sizes=Sizes(n_test=0, n_train=1), alpha=0.05)
    expected = stats.ttest_ind(paper, clean, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found == pytest.approx(
        (paper.mean() - clean.mean(), interval.low, interval.high, expected.pvalue)
    )
    wider = subtract_gains(*sides, sizes=Sizes(n_test=1, n_train=7), alpha=0.05)
    assert wider[1] < found[1]
    assert wider[2] > found[2]


def _tell(difference: float | None, sd: float | None) -> dict[str, Any]:
    contrast = {"model": "m", "arm": "lime", "baseline": "original", "n_seeds": 5}
    other = {**contrast, "baseline": "silhouette", "difference": 9.0, "sd": 1.0}
    return {
        "contrasts": [{**contrast, "difference": difference, "sd": sd}, other],
        "n_test": 10.0, "n_train": 70.0, "alpha": 0.05,
    }  # fmt: skip


def test_gains_of_two_comparisons_are_joined() -> None:
    (gain,) = join_gains([_tell(0.01, 0.02), _tell(0.12, 0.03)])
    assert (gain.model, gain.arm, gain.clean, gain.paper) == ("m", "lime", 0.01, 0.12)
    assert gain.difference == pytest.approx(0.11)
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low < 0.11 < gain.high
    (unknown,) = join_gains([_tell(0.01, 0.0), _tell(0.12, 0.03)])
    assert (unknown.clean, unknown.difference, unknown.p) == (0.01, None, None)


@pytest.mark.parametrize(
    "given", [{"split": "given"}, {"split": "site", "seeds": 2}, {"protocol": "paper"}]
)
def test_split_that_neither_protocol_would_have_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"neither --protocol nor --split.*got --protocol .*split"):
        build(ProtocolsConfig, given)
    assert build(ProtocolsConfig, {"split": "grouped"}).to_compare("paper", "out").split == "random"


def test_both_protocols_see_the_same_images() -> None:
    config = build(ProtocolsConfig, {"data": "/knees", "seeds": 3})
    clean, paper = (config.to_compare(name, f"/runs/{name}") for name in ("clean", "paper"))
    assert (clean.split, paper.split) == ("grouped", "random")
    assert clean.conflict_policy == paper.conflict_policy == "drop"
    assert (clean.seeds, clean.arms) == (paper.seeds, paper.arms) == (3, ("original", "lime"))


# Both commands, whole

FLAGS = (
    *("--models", "test_byobnet", "--weights", "none", "--image-size", "32", "--epochs", "2"),
    *("--lime-samples", "12", "--lime.top-k", "2"),
    *("--phantom.n-images", "48", "--phantom.size-px", "48", "--statistics.metric", "auc"),
    "--no-grid",
)


@pytest.mark.long
def test_variance_command(
    local_ray: None, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch
) -> None:
    compute_here(monkeypatch)
    out = tmp_path / "run"
    assert main(["variance", "--out", str(out), "--repeats", "2", *FLAGS]) == 0
    assert f"Written: {out / 'variance.json'}" in capfd.readouterr().out
    written = read_json(out / "variance.json")
    assert (written["metric"], written["missing"]) == ("auc", [])
    table = pd.read_parquet(out / "predictions.parquet")
    config = make_config(repeats=2)
    assert set(zip(table["seed"], table["arm"], strict=True)) == {
        (number, arm) for number in config.seed_numbers for arm in ("original", "lime")
    }

    def predict(number: int, arm: str) -> pd.DataFrame:
        rows = table[(table["seed"] == number) & (table["arm"] == arm)]
        return rows.drop(columns="seed").reset_index(drop=True)

    # The original arm does not depend on the samples of LIME; every other source changes it.
    for number in config.seed_numbers[1:]:
        same = predict(number, "original").equals(predict(0, "original"))
        assert same == (config.source_of(number) == "lime"), number
    test = table[table["split"] == "test"]
    positive = test["label"] == "osteoporosis"
    auc = test.groupby(["seed", "arm"]).apply(
        lambda rows: (
            stats.mannwhitneyu(
                rows.loc[positive, "p_osteoporosis"], rows.loc[~positive, "p_osteoporosis"]
            ).statistic
            / (positive[rows.index].sum() * (~positive[rows.index]).sum())
        )
    )
    budget = {row["result"]: row for row in written["budget"]}
    assert set(budget) == {"original", "lime", "lime minus original"}
    for arm in ("original", "lime"):
        found = {share["source"]: share["sd"] for share in budget[arm]["sources"]}
        assert set(found) == set(SOURCES)
        for source, sd in found.items():
            numbers = [n for n in config.seed_numbers if config.source_of(n) in (None, source)]
            expected = np.std([auc[number, arm] for number in numbers], ddof=1)
            assert sd == pytest.approx(expected, abs=1e-12), (arm, source)


@pytest.mark.long
def test_protocols_command(
    local_ray: None, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch
) -> None:
    compute_here(monkeypatch)
    assert main(["protocols", "--out", str(tmp_path), "--seeds", "4", *FLAGS]) == 0
    printed = capfd.readouterr().out
    gains = {}
    for name, split in (("clean", "grouped"), ("paper", "random")):
        run = tmp_path / name
        assert f"Report: {run / 'report.html'}" in printed
        assert (run / "report.html").is_file()
        results = pd.read_parquet(run / "results.parquet").query("split == 'test'")
        means = results.groupby("arm")["auc"].mean()
        gains[name] = means["lime"] - means["original"]
        images, splits = (pd.read_parquet(run / f"{it}.parquet") for it in ("images", "splits"))
        torn = splits.merge(images, on="image_id").groupby(["seed", "group"])["split"].nunique()
        assert (torn.max() > 1) == (split == "random")
    (gain,) = read_json(tmp_path / "protocols.json")
    assert (gain["model"], gain["arm"]) == ("test_byobnet", "lime")
    assert (gain["clean"], gain["paper"]) == pytest.approx((gains["clean"], gains["paper"]))
    assert gain["difference"] == pytest.approx(gains["paper"] - gains["clean"])
