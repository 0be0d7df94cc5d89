"""Drift by hand: what is compared, what is tolerated, which environments are the same; samples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from osteo_ray.base.errors import InputError
from osteo_ray.base.machine import describe_machine, hash_code, name_cpu
from osteo_ray.base.runs import Run
from osteo_ray.commands.reproduce import parse_reproduce
from osteo_ray.config.build import build_config
from osteo_ray.config.reproduce import ReproduceConfig, ToleranceSettings
from osteo_ray.data.masks import measure_overlap, pack_mask
from osteo_ray.experiment.reproduction import mask_differences
from osteo_ray.experiment.reproduction.differences import (
    compare_effects,
    compare_images,
    compare_metrics,
    compare_predictions,
    compare_verdicts,
)
from osteo_ray.experiment.reproduction.drift import Compared, judge, summarize_drift
from osteo_ray.experiment.reproduction.environment import compare_environments, expects_equal_bits
from osteo_ray.experiment.reproduction.mask_differences import compare_masks, expect_overlap
from osteo_ray.experiment.reproduction.trial_sample import draw_sample
from osteo_ray.pipeline.reproduce.compare_runs import find_largest_shift
from osteo_ray.pipeline.reproduce.stored import StoredRun

TOLERANCES = ToleranceSettings(probability=0.05, decisions=0.25)
CLASSES = ["normal", "worn"]


def make_predictions(worn: list[float]) -> pd.DataFrame:
    p = np.array(worn)
    return pd.DataFrame(
        {
            "split": "test",
            "image_id": [f"image-{number}" for number in range(len(p))],
            "label": "worn",
            "p_normal": 1 - p,
            "p_worn": p,
        }
    )


def compare_worn(before: list[float], after: list[float], **changes: Any) -> Compared:
    later = make_predictions(after).assign(**changes)
    return compare_predictions("one", make_predictions(before), later, CLASSES, TOLERANCES)


# Predictions


def test_equal_predictions_are_equal_in_any_order() -> None:
    table = make_predictions([0.1, 0.7, 0.4])
    found = compare_predictions("one", table, table.iloc[::-1], CLASSES, TOLERANCES)
    assert found.equal
    assert found.beyond == ()
    assert set(found.figures.values()) == {0.0}


def test_one_bit_is_not_equal_but_tolerated() -> None:
    found = compare_worn([0.1, 0.7], [np.nextafter(0.1, 1), 0.7])
    assert not found.equal
    assert found.beyond == ()
    assert 0 < found.figures["largest probability difference"] < 1e-16


def test_figures_of_predictions_by_hand() -> None:
    # Off by .2, .1, 0 and 0 in both columns; the second crosses one half.
    found = compare_worn([0.1, 0.45, 0.9, 0.6], [0.3, 0.55, 0.9, 0.6])
    assert found.figures["largest probability difference"] == pytest.approx(0.2)
    assert found.figures["mean probability difference"] == pytest.approx(0.3 / 4)
    assert found.figures["changed decisions"] == 0.25
    assert found.beyond == ("probabilities differ by 0.075 on average, 0.2 at most",)


def test_too_many_changed_decisions() -> None:
    found = compare_worn([0.49, 0.49, 0.9], [0.51, 0.51, 0.9])
    assert found.beyond == ("66.7 % of the images are classified differently",)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"label": ["worn", "normal"]}, "2 images, splits or labels differ"),
        ({"p_worn": [np.nan, 0.2]}, "not finite"),
    ],
)
def test_predictions_that_cannot_be_subtracted(change: dict[str, Any], told: str) -> None:
    assert told in compare_worn([0.1, 0.2], [0.1, 0.2], **change).beyond[0]


def test_predictions_of_other_classes() -> None:
    table = make_predictions([0.1])
    other = table.rename(columns={"p_worn": "p_torn"})
    found = compare_predictions("one", table, other, CLASSES, TOLERANCES)
    assert found.beyond == ("other classes are predicted",)


# Masks


def make_masks(*masks: str | None) -> pa.Table:
    """Masks of two by four pixels, as strings of 0 and 1; None is an image with an error."""
    rows = [
        {
            "image_id": f"image-{number}",
            "keep_mask": b"" if mask is None else pack_mask(np.array(list(mask)) == "1"),
            "error": "Expected …" if mask is None else None,
        }
        for number, mask in enumerate(masks)
    ]
    schema = [("image_id", pa.string()), ("keep_mask", pa.binary()), ("error", pa.string())]
    return pa.Table.from_pylist(rows, schema=pa.schema(schema))


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("11110000", "11110000", 1.0),
        ("11110000", "00111100", 2 / 6),
        ("11110000", "00001111", 0.0),
        ("00000000", "00000000", 1.0),
        ("00000000", "00000001", 0.0),
    ],
)
def test_overlap_by_hand(one: str, other: str, overlap: float) -> None:
    packed = [pack_mask(np.array(list(mask)) == "1") for mask in (one, other)]
    assert measure_overlap(packed[0], packed[1]) == pytest.approx(overlap)


def test_masks_of_other_sizes_do_not_overlap() -> None:
    assert measure_overlap(b"\xff", b"\xff\xff") == 0


def hold_masks(stored: pa.Table, rerun: pa.Table, most_failures: float = 0.0) -> Compared:
    return compare_masks(
        *("one", lambda: [stored], lambda: [rerun]),
        least_overlap=0.6,
        most_failures=most_failures,
    )


def test_masks_equal_with_the_same_errors() -> None:
    found = hold_masks(make_masks("11110000", None), make_masks("11110000", None))
    assert found.equal
    assert found.figures == {"mean mask overlap": 1.0}


def test_flipped_mask_is_seen() -> None:
    found = hold_masks(make_masks("11110000", "11000000"), make_masks("00001111", "11000000"))
    assert not found.equal
    assert found.figures == {"mean mask overlap": 0.5}
    assert found.beyond == ("masks overlap by 0.500 on average, but at least 0.600 is expected",)


def test_image_that_is_explained_in_one_of_the_two_only() -> None:
    found = hold_masks(make_masks("11110000", None), make_masks("11110000", "1" * 8))
    assert found.beyond == ("1 of 2 images are explained in only one of the two",)


def test_few_such_images_are_tolerated() -> None:
    masks = make_masks("11110000", None), make_masks("11110000", "1" * 8)
    assert hold_masks(*masks, most_failures=0.5).beyond == ()
    assert not hold_masks(*masks, most_failures=0.5).equal


def test_many_masks_in_other_files_are_compared_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mask_differences, "_AT_A_TIME", 3)
    rng = np.random.default_rng(0)
    drawn = ["".join(row) for row in rng.choice(["0", "1"], (40, 8))]
    redrawn = [
        one if place % 3 else "".join(rng.permutation(list(one))) for place, one in enumerate(drawn)
    ]
    stored, rerun = make_masks(*drawn), make_masks(*redrawn)
    mixed = stored.take(rng.permutation(40))
    read: list[int] = []

    def read_stored() -> Iterator[pa.Table]:
        read.append(1)
        for start in range(0, 40, 7):
            yield mixed.slice(start, 7)

    found = compare_masks(
        *("one", read_stored, lambda: [rerun.slice(0, 25), rerun.slice(25)]),
        least_overlap=0.0,
        most_failures=0.0,
    )
    pairs = [
        (pack_mask(np.array(list(one)) == "1"), pack_mask(np.array(list(other)) == "1"))
        for one, other in zip(drawn, redrawn, strict=True)
    ]
    n_unlike = sum(one != other for one, other in pairs)
    assert 3 < n_unlike < 40
    assert found.figures["mean mask overlap"] == np.mean([measure_overlap(*one) for one in pairs])
    assert not found.equal
    assert len(read) == 1 + -(-n_unlike // 3)  # hashes, and then only what differs


def test_run_without_the_mask_of_an_image() -> None:
    found = hold_masks(make_masks("1" * 8), make_masks("1" * 8, "1" * 8))
    assert found.missing == "the run has no mask of 1 images"


# Metrics


def make_results(accuracy: list[float], auc: list[float | None]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": "m",
            "arm": "lime",
            "seed": range(len(accuracy)),
            "split": "test",
            "accuracy": accuracy,
            "auc": np.array(auc, float),
        }
    )


def test_metrics_are_tolerated_by_the_mean_over_seeds() -> None:
    # +.08 and -.02: .03 on average, though one seed is off by more than the tolerance.
    (found,) = compare_metrics(
        make_results([0.8, 0.7], [None, 0.9]),
        make_results([0.88, 0.68], [None, 0.9]),
        "accuracy",
        most=0.05,
    )
    assert not found.equal
    assert found.beyond == ()
    assert found.figures["metric difference"] == pytest.approx(0.03)


def test_missing_values_of_metrics_are_equal_to_each_other() -> None:
    table = make_results([0.8, 0.7], [None, 0.9])
    (found,) = compare_metrics(table, table.iloc[::-1], "auc", most=0.05)
    assert found.equal
    assert found.figures == {"metric difference": 0.0}


def test_metric_that_no_seed_has_gives_no_figure() -> None:
    table = make_results([0.8], [None])
    (found,) = compare_metrics(table, table, "auc", most=0.05)
    assert found.equal
    assert found.figures == {}


@pytest.mark.parametrize(("before", "after"), [(0.9, None), (None, 0.9)])
def test_metric_that_only_one_of_the_two_has_is_beyond_tolerance(
    before: float | None, after: float | None
) -> None:
    stored, later = make_results([0.8, 0.7], [0.9, before]), make_results([0.8, 0.7], [0.9, after])
    (found,) = compare_metrics(stored, later, "auc", most=0.05)
    assert not found.equal
    assert found.beyond == ("auc is known in only one of the two for 1 seeds",)


def test_metrics_beyond_tolerance_and_missing_ones() -> None:
    stored = make_results([0.8, 0.7], [0.9, 0.9])
    later = make_results([0.9, 0.8], [0.9, 0.9])
    (found,) = compare_metrics(stored, later, "accuracy", most=0.05)
    assert found.beyond == ("accuracy differs by 0.100, mean over 2 seeds",)
    (found,) = compare_metrics(stored.iloc[:1], later, "accuracy", most=0.05)
    assert found.missing == "the run lacks 1 results"


# Effects and verdicts


def make_comparison(difference: float | None, sd: float | None, verdict: str) -> dict[str, Any]:
    contrast = {
        "model": "m", "arm": "lime", "baseline": "original", "n_seeds": 4,
        "difference": difference, "differences": [difference], "sd": sd,
    }  # fmt: skip
    return {
        "n_test": 20,
        "n_train": 80,
        "contrasts": [contrast],
        "verdicts": [{"model": "m", "verdict": verdict}],
        "verdict": {"verdict": verdict, "reason": ""},
    }


@pytest.mark.parametrize(
    ("before", "after", "sd", "beyond", "shift"),
    [
        # The corrected standard error is .04 · sqrt(1/4 + 20/80) = .0283.
        (0.02, 0.03, 0.04, False, 0.01 / 0.04 / 0.5**0.5),
        (0.02, 0.04, 0.04, True, 0.02 / 0.04 / 0.5**0.5),
        (0.02, 0.06, 0.0, False, None),  # no standard error: the tolerance of metrics
        (0.02, 0.08, None, True, None),
        (None, None, None, False, None),
        (0.02, None, 0.04, True, None),
    ],
)
def test_effects_by_hand(
    before: float | None, after: float | None, sd: float | None, beyond: bool, shift: float | None
) -> None:
    (found,) = compare_effects(
        make_comparison(before, sd, "equivalent"),
        make_comparison(after, sd, "x"),
        most_errors=0.5,
        most=0.05,
    )
    assert bool(found.beyond) == beyond
    assert found.equal == (before == after)
    assert found.figures == ({} if shift is None else {"effect shift": pytest.approx(shift)})


def test_contrast_that_the_rerun_lacks() -> None:
    lacking = {**make_comparison(0.1, 0.1, "x"), "contrasts": []}
    (found,) = compare_effects(make_comparison(0.1, 0.1, "x"), lacking, most_errors=0.5, most=0.05)
    assert found.missing


def test_verdicts() -> None:
    stored = make_comparison(0.1, 0.1, "real gain")
    assert all(one.equal for one in compare_verdicts(stored, stored))
    found = compare_verdicts(stored, make_comparison(0.1, 0.1, "inconclusive"))
    assert [(one.name, one.beyond) for one in found] == [
        ("m", ("real gain → inconclusive",)),
        ("overall", ("real gain → inconclusive",)),
    ]


# Images


def make_images(**changes: Any) -> pd.DataFrame:
    columns = {
        "path": ["a", "b", "c"],
        "digest": ["1", "2", "3"],
        "label": "worn",
        "group": [0, 0, 1],
        "used": True,
    }
    return pd.DataFrame({**columns, **changes})


SPLITS = pd.DataFrame({"seed": 0, "image_id": ["a", "b", "c"], "split": "train"})


def tell_images(present: pd.DataFrame, splits: pd.DataFrame = SPLITS) -> dict[str, tuple[str, ...]]:
    found = compare_images(make_images(), present, SPLITS, splits)
    return {one.name: one.beyond for one in found if one.beyond}


def test_images_are_the_same_whatever_the_numbers_of_groups() -> None:
    assert tell_images(make_images()) == {}
    assert tell_images(make_images(group=[7, 7, 2])) == {}


def test_changed_images_are_named() -> None:
    assert tell_images(make_images(digest=["1", "x", "y"])) == {
        "content": ("b and 1 more with other pixels",)
    }
    assert tell_images(make_images(path=["a", "b", "d"])) == {"content": ("c gone", "d new")}
    assert tell_images(make_images(label=["worn", "normal", "worn"])) == {
        "labels": ("b with another class",)
    }
    assert tell_images(make_images(group=[0, 1, 1])) == {
        "groups": ("images are grouped differently",)
    }
    assert tell_images(make_images(), SPLITS.assign(split="test")) == {
        "splits": ("they are drawn differently",)
    }


# What all of it amounts to

EQUAL, CLOSE = Compared("equal", True), Compared("close", False)
FAR, GONE = Compared("far", False, ("by 3",)), Compared("gone", False, missing="why")


@pytest.mark.parametrize(
    ("compared", "equal_expected", "outcome"),
    [
        ([EQUAL, EQUAL], True, "identical"),
        ([EQUAL, EQUAL], False, "identical"),
        ([EQUAL, CLOSE], False, "within tolerance"),
        ([EQUAL, CLOSE], True, "drifted"),
        ([EQUAL, FAR], False, "drifted"),
        ([EQUAL, GONE], False, "missing"),
        ([GONE, FAR], False, "drifted"),
    ],
)
def test_outcome_of_a_kind(compared: list[Compared], equal_expected: bool, outcome: str) -> None:
    drift = summarize_drift("things", compared, equal_expected=equal_expected)
    assert drift.outcome == outcome
    assert drift.n_compared + drift.n_missing == len(compared)
    assert len(drift.said) == drift.n_drifted + drift.n_missing
    assert judge([drift], n_failures=0) == outcome
    assert judge([drift], n_failures=1) == "failed"


def test_worst_figures_are_kept() -> None:
    compared = [
        Compared("one", False, (), {"mean mask overlap": 0.9, "effect shift": 0.1}),
        Compared("two", False, (), {"mean mask overlap": 0.7, "effect shift": 0.3}),
    ]
    drift = summarize_drift("things", compared, equal_expected=True)
    assert drift.figures == {"mean mask overlap": 0.7, "effect shift": 0.3}
    assert drift.said[0] == (
        "one: equal bits were expected, but they differ (mean mask overlap 0.9, effect shift 0.1)"
    )


# Environments

THEN = {
    "versions": {"torch": "2.11.0", "ray": "2.59.0"},
    "hardware": {"cpu": "EPYC", "threads_per_worker": 1, "memory_gib": 15.9, "gpu": ""},
}


def change(part: str, **values: Any) -> dict[str, Any]:
    return {**THEN, part: {**THEN[part], **values}}


def test_same_environment() -> None:
    assert compare_environments(THEN, THEN) == ()
    assert expects_equal_bits(())
    assert compare_environments(THEN, change("hardware", memory_gib=3.0)) == ()


@pytest.mark.parametrize(
    ("present", "told", "equal"),
    [
        (change("versions", torch="2.12.0"), "torch 2.11.0 → 2.12.0", False),
        (change("versions", ray="2.60.0"), "ray 2.59.0 → 2.60.0", True),
        (change("hardware", cpu="Xeon"), "CPU EPYC → Xeon", False),
        (change("hardware", cpu=None), "CPU EPYC → unknown", False),
        (change("hardware", threads_per_worker=2), "threads per worker 1 → 2", False),
        (change("hardware", gpu="H100"), "GPU none → H100", False),
        (change("hardware", libc="glibc 2.36"), "C library unknown → glibc 2.36", False),
    ],
)
def test_changes_are_named_and_unknown_is_not_equal(
    present: dict[str, Any], told: str, equal: bool
) -> None:
    changes = compare_environments(THEN, present)
    assert [str(one) for one in changes] == [told]
    assert expects_equal_bits(changes) == equal


def test_what_neither_record_tells_is_unknown() -> None:
    silent = change("hardware", cpu=None)
    (found,) = compare_environments(silent, silent)
    assert not found.is_known
    assert found.matters


def test_record_of_an_early_run_is_unknown_throughout() -> None:
    changes = compare_environments({}, THEN)
    assert {one.name for one in changes} == {"torch", "ray", "cpu", "threads_per_worker", "gpu"}
    assert not expects_equal_bits(changes)


def test_machine_describes_itself_alike_each_time() -> None:
    assert describe_machine() == describe_machine()
    assert describe_machine()["cpu"]
    assert name_cpu("") == ""
    assert hash_code() == hash_code()


# Samples


@pytest.mark.parametrize(("n_models", "n_arms"), [(1, 6), (2, 6), (3, 4), (4, 4), (5, 2)])
def test_sample_has_every_model_and_arm_as_soon_as_it_can(n_models: int, n_arms: int) -> None:
    models, arms = [f"m{k}" for k in range(n_models)], [f"a{k}" for k in range(n_arms)]
    whole = draw_sample(models, arms, range(3), n_models * n_arms * 3, seed=1)
    assert len(set(whole)) == len(whole) == n_models * n_arms * 3
    first = whole[: max(n_models, n_arms)]
    assert {one.model for one in first} == set(models)
    assert {one.arm for one in first} == set(arms)
    cells = {(one.model, one.arm) for one in whole[: n_models * n_arms]}
    assert len(cells) == n_models * n_arms
    for n in (1, 2, n_arms):
        assert draw_sample(models, arms, range(3), n, seed=1) == whole[:n]
    assert draw_sample(models, arms, range(3), len(whole), seed=2) != whole


def test_share_becomes_a_number_of_trainings() -> None:
    assert ReproduceConfig(share=0.1).count_sample(50) == 5
    assert ReproduceConfig(share=0.001).count_sample(50) == 1
    assert ReproduceConfig(share=1.0).count_sample(50) is None
    assert ReproduceConfig(sample=50).count_sample(50) is None
    assert ReproduceConfig().count_sample(50) is None


def test_seed_is_one_that_a_ledger_can_hold() -> None:
    assert parse_reproduce(["r", "--seed", str(2**63 - 1)]).seed == 2**63 - 1
    with pytest.raises(InputError, match="Expected --seed to be at most 9223372036854775807"):
        parse_reproduce(["r", "--seed", str(2**63)])


def test_sample_and_share_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="either --sample or --share"):
        ReproduceConfig(sample=3, share=0.1)


def test_nothing_is_expected_of_masks_whose_stability_is_unknown() -> None:
    rows = [
        {"stability": 0.9, "error": None},
        {"stability": None, "error": None},
        {"stability": None, "error": "The image is flat."},
    ]
    schema = pa.schema([("stability", pa.float64()), ("error", pa.string())])
    assert expect_overlap(pa.Table.from_pylist(rows, schema)) == pytest.approx(0.45)
    assert expect_overlap(pa.Table.from_pylist(rows[2:], schema)) == 0


def test_shift_of_an_error_is_held_against_a_share_of_what_the_baseline_had(tmp_path: Path) -> None:
    config = build_config({"statistics": {"metric": "brier"}})
    stored = StoredRun(Run(tmp_path), config, {}, {"margin": 0.0158}, ())
    assert find_largest_shift(stored, ToleranceSettings()) == 0.0158  # and not 0.1
    assert find_largest_shift(stored, ToleranceSettings(metric=0.02)) == 0.02
