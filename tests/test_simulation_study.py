"""Simulated experiments are what they say, and tests and intervals are right on them."""

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats
from sklearn.metrics import roc_auc_score

from osteo_ray.commands.main import main
from osteo_ray.commands.validate_tables import list_missed, show_rates
from osteo_ray.experiment.simulated import SimulatedArm, simulate_predictions
from osteo_ray.pipeline.validate.rule_settings import (
    RULE_SETTINGS,
    RuleSetting,
    expect_accuracy,
    expect_auc,
)
from osteo_ray.pipeline.validate.rule_study import _drop_trainings
from osteo_ray.pipeline.validate.simulation import CLASSES, Setting, draw_experiment, list_splits
from osteo_ray.pipeline.validate.simulation_study import (
    BARS,
    SETTINGS,
    Rate,
    SettingFinding,
    run_experiments,
    summarize_setting,
    validate_tables,
)
from osteo_ray.pipeline.validate.situation import (
    draw_situation,
    judge_table,
    plan_situation,
)
from osteo_ray.statistics.inference import estimate_mean
from osteo_ray.statistics.predictions import encode_predictions
from osteo_ray.statistics.results_table import compute_results
from osteo_ray.statistics.sequential import plan_looks
from osteo_ray.statistics.sizes import Sizes

NAMED = {setting.name: setting for setting in SETTINGS}
NAMED_RULE = {setting.name: setting for setting in RULE_SETTINGS}


def test_results_are_those_of_the_predictions() -> None:
    setting = NAMED["a gain, half by chance"]
    experiment = draw_experiment(setting, 3)
    expected = compute_results(encode_predictions(experiment.predictions, CLASSES, "worn"))
    keys = ["model", "seed", "arm", "split", "n_images", "accuracy"]
    found = experiment.results.sort_values(["model", "seed", "arm"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(found[keys], expected[keys], check_dtype=False)
    assert experiment.sizes == Sizes(n_test=120, n_train=840)


def test_experiments_differ_by_number_and_seed_only() -> None:
    setting = SETTINGS[0]
    assert draw_experiment(setting, 1).predictions.equals(draw_experiment(setting, 1).predictions)
    first = draw_experiment(setting, 1).results["accuracy"]
    assert not first.equals(draw_experiment(setting, 2).results["accuracy"])
    assert not first.equals(draw_experiment(setting, 1, seed=1).results["accuracy"])


def test_the_truth_is_the_mean_over_experiments() -> None:
    setting = dataclasses.replace(NAMED["a gain, half by chance"], n_images=400, common=0.2)
    accuracies = pd.concat(
        [draw_experiment(setting, k).results.assign(number=k) for k in range(150)]
    )
    means = accuracies.groupby(["number", "arm"])["accuracy"].mean().unstack()
    for arm, gain in setting.gains:
        t = (means[arm].mean() - 0.8 - gain) / (means[arm].std() / np.sqrt(150))
        assert abs(t) < stats.t.isf(0.0005, 149)


def test_copies_are_right_and_wrong_together() -> None:
    setting = dataclasses.replace(NAMED["copies"], difficulty=8.0)
    table = draw_experiment(setting, 0).predictions.to_pandas()
    table = table[(table["arm"] == "lime") & (table["seed"] == 0)]
    table["right"] = (table["p_worn"] > 0.5) == (table["label"] == "worn")
    radiograph = table["image_id"].astype(int) // 3
    assert (table.groupby(radiograph).size() == 3).all()  # splits keep them together
    assert table.groupby(radiograph)["right"].std().mean() < 0.5 * table["right"].std()


def test_folds_test_each_image_once_per_repeat() -> None:
    tested = np.array([split == "test" for split in list_splits(NAMED["5 folds, twice"])])
    assert (tested[:5].sum(0) == 1).all()
    assert (tested[5:].sum(0) == 1).all()


def test_rate_is_missed_beyond_its_noise_only() -> None:
    hits = pd.Series([True] * 7 + [False] * 93)
    assert not Rate.of(hits, (0.0, 0.05)).is_missed
    assert Rate.of(pd.concat([hits] * 10), (0.0, 0.05)).is_missed
    assert not Rate.of(pd.concat([hits] * 10)).is_missed
    low, high = stats.binomtest(7, 100).proportion_ci(method="exact")
    rate = Rate.of(pd.concat([hits, pd.Series([None])]))
    assert (rate.n, rate.low, rate.high) == (100, pytest.approx(low), pytest.approx(high))


def test_small_simulation_keeps_its_bars() -> None:
    """Wide bars for few experiments; `osteo-ray validate tables` has narrow ones."""
    for name in ("no difference", "few seeds, images alone", "a gain, half by chance"):
        setting = dataclasses.replace(NAMED[name], n_images=400)
        finding = summarize_setting(setting, run_experiments(setting, range(40), seed=5))
        assert list_missed([finding]) == []
        rates = finding.rates
        assert 0.88 <= rates["bootstrap covers"].value <= 1
        if "power" in rates:
            assert finding.planned_power is not None
            assert rates["power"].value == pytest.approx(finding.planned_power, abs=0.2)
        else:
            assert rates["false alarms"].value <= 0.05
            assert finding.planned_power is None


def test_wrong_intervals_are_caught() -> None:
    """What all trainings share is in no interval of a bootstrap: held to its bar, it misses."""
    luck = dataclasses.replace(
        NAMED["the data set's luck"], common=0.5, n_images=400, bootstrap_covers=True
    )
    finding = summarize_setting(luck, run_experiments(luck, range(30), seed=0))
    assert "the data set's luck: bootstrap covers" in " ".join(list_missed([finding]))
    spared = dataclasses.replace(luck, bootstrap_covers=False)
    rows = run_experiments(spared, range(4), seed=0)
    assert summarize_setting(spared, rows).rates["bootstrap covers"].bar is None


def test_power_is_held_to_the_plan_where_its_assumption_holds() -> None:
    setting = NAMED["a gain, seeds alike as assumed"]
    rows = run_experiments(setting, range(60), seed=0)
    finding = summarize_setting(setting, rows)
    assert finding.planned_power is not None
    assert finding.rates["power"].bar == pytest.approx(
        (finding.planned_power - 0.03, finding.planned_power + 0.03)
    )
    assert not finding.rates["power"].is_missed
    wrong = summarize_setting(setting, rows.assign(power=[False] * 30 + [True] * 30))
    assert "seeds alike as assumed: power 50.0 %" in " ".join(list_missed([wrong]))


def test_shown_with_bars_and_what_was_planned() -> None:
    rates = {name: Rate.of(pd.Series([True] * 3 + [False]), bar) for name, bar in BARS.items()}
    rates["power"] = Rate.of(pd.Series([True] * 400))  # the widest figures
    finding = SettingFinding(
        Setting("many seeds, images made up", n_seeds=30), rates, planned_power=0.5, n_test=120
    )
    console = Console(width=80, file=io.StringIO())
    show_rates(console, [finding])
    text = console.file.getvalue()
    assert "30 seeds, 120 test images" in text
    assert "power (planned: 50.0)" in text
    assert "MISSED" in text  # three of four false alarms
    assert "…" not in text


# The whole rule


def test_truths_of_the_rule_are_the_means_over_experiments() -> None:
    """Of both endpoints, with the luck of trainings."""
    rng = np.random.default_rng(0)
    arm = SimulatedArm(0.85, skill=0.3)
    tested = [np.arange(1000)] * 60
    found = {"auc": list[float](), "accuracy": list[float]()}
    for _ in range(5):
        table = simulate_predictions({"original": arm}, tested, n_images=1000, rng=rng).to_pandas()
        for _, part in table.groupby("seed"):
            positive = part["label"] == "osteoporosis"
            found["auc"].append(roc_auc_score(positive, part["p_osteoporosis"]))
            found["accuracy"].append(((part["p_osteoporosis"] > 0.5) == positive).mean())
    assert np.mean(found["auc"]) == pytest.approx(expect_auc(arm), abs=0.012)
    assert np.mean(found["accuracy"]) == pytest.approx(expect_accuracy(arm), abs=0.012)
    assert expect_auc(arm) < 0.84  # not the AUC without that luck


@pytest.mark.parametrize("setting", RULE_SETTINGS, ids=lambda setting: setting.name)
def test_rule_keeps_its_bars_on_a_few_experiments(setting: RuleSetting) -> None:
    finding = summarize_setting(setting, run_experiments(setting, range(2), seed=1))
    assert list_missed([finding]) == []
    assert set(finding.rates) == {f"false {one}" for one in setting.false} | {
        *setting.told,
        "deciding interval covers",
    }
    if setting.name == "rule: a gain":
        assert setting.true_gain == pytest.approx(0.08, abs=0.001)


def test_rule_that_trusts_one_test_set_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The corrected t does not see the luck of shared test images; with it, bars are missed."""
    setting = NAMED_RULE["rule: one test set of 200, images alone vary"]
    monkeypatch.setattr("osteo_ray.experiment.judging.is_fixed", lambda predictions: False)
    monkeypatch.setattr(
        "osteo_ray.experiment.evidence.estimate_mean",
        lambda values, draws, *others, **named: estimate_mean(values, None, *others, **named),
    )
    finding = summarize_setting(setting, run_experiments(setting, range(60), seed=0))
    missed = " ".join(list_missed([finding]))
    assert "false real" in missed
    assert "deciding interval covers" in missed


def test_whoever_extends_a_run_stops_at_a_gain_and_pays_for_it() -> None:
    gain = NAMED_RULE["rule: a gain"]
    setting = dataclasses.replace(
        gain, situation=dataclasses.replace(gain.situation, n_seeds=9), extensions=(5, 7, 9)
    )
    judged: list[tuple[int, float]] = []

    def judge(table, analysis):
        judged.append((table["seed"].to_numpy().max() + 1, analysis.alpha))
        return judge_table(table, analysis)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("osteo_ray.pipeline.validate.rule_study.judge_table", judge)
        rows = run_experiments(setting, range(1), seed=0)
        assert rows["real gain"].all()
        assert judged == [(5, pytest.approx(0.04))]
        judged.clear()
        null = dataclasses.replace(NAMED_RULE["rule: extended until it shows"], false=())
        run_experiments(null, range(1), seed=0)
    assert judged == [
        (n, pytest.approx(alpha))
        for n, alpha in zip(
            (5, 7, 9, 11, 13, 15), (0.04, 0.005, 0.0025, 0.00125, 6.25e-4, 3.125e-4), strict=True
        )
    ]


def test_looks_spend_what_the_product_spends() -> None:
    setting = NAMED_RULE["rule: looks at 5 and 8 seeds"]
    alphas: list[float] = []

    def judge(table, analysis):
        alphas.append(analysis.alpha)
        return judge_table(table, analysis)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("osteo_ray.pipeline.validate.rule_study.judge_table", judge)
        run_experiments(setting, range(1), seed=0)
    planned = plan_situation(setting.situation)
    plan = plan_looks((5, 8), 12, planned.sizes, alpha=0.05, spending="obrien_fleming")
    assert alphas == pytest.approx([look.nominal_p for look in plan.looks][: len(alphas)])


def test_trainings_are_missing_at_random() -> None:
    table = draw_situation(NAMED_RULE["rule: hold-outs"].situation, 0)
    kept = _drop_trainings(table, 0.3, np.random.default_rng(0)).to_pandas()
    whole = table.to_pandas().groupby(["arm", "seed"]).size()
    counts = kept.groupby(["arm", "seed"]).size()
    assert (counts == whole[counts.index]).all()  # trainings are missing whole
    assert 0.5 < len(counts) / len(whole) < 0.9


@pytest.mark.ray
def test_cluster_and_plain_loop_agree(local_ray: None) -> None:
    setting = dataclasses.replace(SETTINGS[0], n_images=200, n_seeds=3)
    done: list[SettingFinding] = []
    findings = validate_tables(4, 7, settings=[setting], on_finding=done.append)
    assert findings == done == [summarize_setting(setting, run_experiments(setting, range(4), 7))]


def test_command_refuses_nonsense(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "tables", "--experiments", "0"]) == 2
    assert "at least one experiment" in capsys.readouterr().err
