"""The rule of the verdict, question by question, on evidence made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from made_evidence import DESIGN, N_DRAWS, N_SEEDS, REAL, judge, make_evidence

from osteo_ray.arms.registry import ARMS
from osteo_ray.experiment.evidence import Evidence
from osteo_ray.experiment.roles import assign_roles
from osteo_ray.experiment.verdict import (
    SETTLED,
    VERDICTS,
    Margin,
    Verdict,
    judge_overall,
)


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, "real gain", "no control accounts for it"),
        ({"silhouette": 0.90}, "leakage", "outline of the mask"),
        ({"silhouette": 0.97}, "leakage", "outline of the mask"),
        ({"original_retrained": 0.89}, "second training", "a second training"),
        ({"random_mask": 0.89}, "any crop", "random_mask accounts for"),
        ({"other_image_mask": 0.89}, "any crop", "other_image_mask accounts for"),
        ({"centre_mask": 0.89}, "any crop", "centre_mask accounts for"),
        ({"mean_mask": 0.89}, "any crop", "mean_mask accounts for"),
        ({"complement": 0.89}, "shortcut outside the region", "complement accounts for"),
        ({"random_mask": 0.89, "silhouette": 0.89}, "leakage", "silhouette"),
        ({"random_mask": 0.83}, "real gain", "random_mask accounts for 2"),
        ({"original_retrained": 0.83}, "real gain", "original_retrained accounts for"),
        ({"original": 0.50, "original_retrained": 0.5, "silhouette": 0.52, "random_mask": 0.5},
         "real gain", "silhouette accounts for"),
        ({"complement": 0.80}, "real gain", "does not share the gain"),
        ({"lime_true_label": 0.905}, "real gain", "no control accounts for it"),
        ({"gradcam": 0.90}, "real gain", "no control accounts for it"),
        ({"lime_crossfit": 0.90}, "real gain", "lime_crossfit minus original"),
        ({"lime_crossfit": 0.80}, "leakage", "lime minus original"),
        ({"lime": 0.70}, "real loss", "worse"),
        ({"lime": 0.80}, "equivalent", "the default margin"),
        ({"lime": 0.80, "complement": 0.80}, "equivalent", "masks change nothing"),
        (dict.fromkeys(REAL, 0.5), "nothing learned", "do better than chance"),
    ],
)  # fmt: skip
def test_rule(changes: dict[str, float], verdict: str, words: str) -> None:
    found = judge(make_evidence({**REAL, **changes}))
    assert (found.verdict, found.model) == (verdict, "m")
    assert words in found.reason
    assert found.next
    if verdict != "nothing learned":
        assert "over 10 seeds, 95 % interval" in found.reason


def test_missing_seeds_are_asked_for_first() -> None:
    nine = {"lime": tuple(range(9))}
    found = judge(make_evidence(REAL, seeds=nine))
    assert found.verdict == "inconclusive"
    assert "lime: seed 9" in found.reason
    assert found.next.startswith("Make what is missing")  # tables may come from anything
    # a control that lacks seeds is as good as none
    two = {"random_mask": (0, 1)}
    found = judge(make_evidence(REAL, seeds=two))
    assert found.verdict == "inconclusive"
    assert "random_mask lacks seeds 2, 3, 4" in found.reason
    # where there is nothing to explain, none is missed
    assert judge(make_evidence({**REAL, "lime": 0.80}, seeds=two)).verdict == "equivalent"


def test_chance_that_is_not_ruled_out_is_not_called_bad_training_alone() -> None:
    found = judge(make_evidence(REAL, sd=1.0))  # AUC around .8 and .9, but the seeds are far apart
    assert found.verdict == "nothing learned"
    assert "Where AUC is far above 0.5 already, add seeds or test images instead." in found.next


def test_trainings_that_were_counted_twice_are_no_evidence() -> None:
    repeated = {"lime": (3,), "original": tuple(range(1, 10))}
    found = judge(replace(make_evidence(REAL), repeated=repeated))
    assert found.verdict == "inconclusive"
    assert "seed 3 of lime repeats the predictions of an earlier one; seeds 1, 2" in found.reason
    # of a control, only where there is a gain to explain
    evidence = replace(make_evidence(REAL), repeated={"random_mask": (1, 2)})
    found = judge(evidence)
    assert found.verdict == "inconclusive"
    assert "seeds 1, 2 of random_mask repeat the predictions of an earlier one" in found.reason
    evidence = replace(make_evidence({**REAL, "lime": 0.80}), repeated={"random_mask": (1, 2)})
    assert judge(evidence).verdict == "equivalent"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [({}, "real gain"), ({"lime": 0.80}, "equivalent"), ({"lime": 0.70}, "real loss")],
)
def test_few_groups_settle_nothing(changes: dict[str, float], verdict: str) -> None:
    evidence = make_evidence({**REAL, **changes})
    wide = Margin(0.3, "your margin")  # within which even nine groups show a difference to lie
    known = {"margin": wide} if verdict == "equivalent" else {}
    assert judge(replace(evidence, fewest_groups=10), **known).verdict == verdict
    found = judge(replace(evidence, fewest_groups=9), **known)
    assert found.verdict == "inconclusive"
    assert f"It would be {verdict}, but of some class only 9 groups of images" in found.reason
    # what takes a gain away stands
    leaking = make_evidence({**REAL, "silhouette": 0.90})
    assert judge(replace(leaking, fewest_groups=2)).verdict == "leakage"


@pytest.mark.parametrize(("n_groups", "verdict"), [(54, "inconclusive"), (55, "equivalent")])
def test_equivalence_takes_images_not_seeds(n_groups: int, verdict: str) -> None:
    """By hand: 1.645 standard errors of 1/n, one-sided at 5 %, fit into .03 from n = 55 on."""
    evidence = make_evidence({**REAL, "lime": 0.80}, sd=1e-6)
    assert judge(evidence).verdict == "equivalent"
    found = judge(replace(evidence, fewest_groups=n_groups))
    assert found.verdict == verdict
    lacking = "takes 55 groups of test images (patients, or sets of copies) of each class, and of"
    assert (f"{lacking} some class there are 54." in found.reason) == (verdict == "inconclusive")
    # a metric that ranges over 2 takes twice as many
    mcc = replace(evidence, metrics={"auc": replace(evidence.metrics["auc"], bounds=(-1, 1))})
    assert judge(replace(mcc, fewest_groups=2 * n_groups)).verdict == verdict
    endless = replace(evidence.metrics["auc"], bounds=(0, np.inf))
    one = replace(evidence, metrics={"auc": endless}, fewest_groups=n_groups)
    assert judge(one).verdict == verdict
    # where seeds differ too much as well, more groups would not do
    apart = replace(make_evidence({**REAL, "lime": 0.80}, sd=0.2), fewest_groups=n_groups)
    assert "groups" not in judge(apart).reason


@pytest.mark.parametrize("arm", ["original", "lime", "random_mask"])
@pytest.mark.parametrize(("auc", "turned"), [(0.2, True), (0.44, True), (0.475, False)])
def test_classes_the_wrong_way_round(arm: str, auc: float, turned: bool) -> None:
    """Whichever arm: a gain over exchanged columns is none, nor is one over such a control."""
    found = judge(make_evidence({**REAL, arm: auc}, sd=0.004))
    assert ("the wrong way round" in found.reason) == turned
    if turned:
        assert found.verdict == "inconclusive"
        assert f"{arm}: AUC {auc:.1f}"[:-1] in found.reason
        assert "exchanged" in found.next


def turn(evidence: Evidence, arm: str, seeds: tuple[int, ...]) -> Evidence:
    """Exchange the columns of an arm on some seeds."""
    auc = evidence.metrics["auc"]
    values = {seed: 1 - v if seed in seeds else v for seed, v in auc.values[arm].items()}
    draws = {seed: 1 - v if seed in seeds else v for seed, v in auc.draws[arm].items()}
    turned = replace(auc, values={**auc.values, arm: values}, draws={**auc.draws, arm: draws})
    return replace(evidence, metrics={"auc": turned})


@pytest.mark.parametrize("arm", ["original", "lime", "random_mask"])
def test_classes_the_wrong_way_round_on_some_seeds(arm: str) -> None:
    """70 images of each class: at chance, AUC has a standard error of √(141 / 58800) = .0490."""
    evidence = replace(make_evidence(REAL), chance_errors=dict.fromkeys(range(10), 0.0490))
    assert judge(evidence).verdict == "real gain"
    found = judge(turn(evidence, arm, (1, 4)))
    assert found.verdict == "inconclusive"
    assert f"wrong way round ({arm} on seeds 1, 4: AUC 0." in found.reason
    assert " or less" in found.reason
    # At 3.1 standard errors of .10 below .47 none is turned: each of 5 arms and 10 seeds might be.
    wide = replace(evidence, chance_errors=dict.fromkeys(range(10), 0.12))
    assert "wrong way round" not in judge(turn(wide, arm, (1, 4))).reason
    # A classifier may sort masks of another kind than it was trained on either way.
    other = make_evidence({**REAL, "random_trained": 0.88})
    other = replace(other, chance_errors=evidence.chance_errors)
    assert "wrong way" not in judge(turn(other, "random_trained", (1,))).reason


def test_untrained_networks_that_rank_either_way_have_learned_nothing() -> None:
    """By their first weights, AUC is 0.2 on half of the seeds, and 0.8 on the others."""
    scattered = make_evidence(dict.fromkeys(REAL, 0.80))
    scattered = replace(scattered, chance_errors=dict.fromkeys(range(10), 0.0490))
    for arm in REAL:
        scattered = turn(scattered, arm, (0, 2, 4, 6, 8))
    assert judge(scattered).verdict == "nothing learned"


def test_endpoint_that_is_undefined_is_not_missing() -> None:
    evidence = make_evidence(REAL)
    auc = evidence.metrics["auc"]
    values = {arm: {s: v for s, v in of.items() if s != 4} for arm, of in auc.values.items()}
    found = judge(replace(evidence, metrics={"auc": replace(auc, values=values)}))
    assert found.verdict == "inconclusive"
    assert "AUC is undefined on seed 4, whose test images lack a class" in found.reason
    assert "missing" not in found.reason
    assert "Run the same command again" not in found.next


@pytest.mark.parametrize("control", ["silhouette", "random_mask"])
def test_gain_without_a_needed_control_is_not_called_real(control: str) -> None:
    means = {name: mean for name, mean in REAL.items() if name != control}
    found = judge(make_evidence(means))
    assert found.verdict == "inconclusive"
    assert f"{control} was not planned" in found.reason


def test_second_training_is_needed_where_training_goes_on() -> None:
    means = {name: mean for name, mean in REAL.items() if name != "original_retrained"}
    evidence = make_evidence(means)
    assert judge(evidence).verdict == "real gain"
    found = judge(evidence, assign_roles(tuple(means), goes_on=True))
    assert "original_retrained was not planned" in found.reason


def test_control_that_may_account_for_half_leaves_the_gain_open() -> None:
    means = {**REAL, "random_mask": 0.86}
    found = judge(make_evidence(means, sd=0.06))
    assert found.verdict == "inconclusive"
    assert "open whether random_mask" in found.reason


def test_shuffled_labels_above_chance_end_it() -> None:
    roles = assign_roles((*REAL, "permuted_labels"))
    for p, verdict in ((0.04, "leakage"), (0.06, "real gain"), (None, "real gain")):
        found = judge(make_evidence(REAL), roles, p_shuffled={"permuted_labels": p})
        assert found.verdict == verdict


def test_copies_make_a_gain_leakage() -> None:
    assert judge(make_evidence(REAL), copies_leak=True).verdict == "leakage"
    assert judge(make_evidence({**REAL, "lime": 0.8}), copies_leak=True).verdict == "equivalent"


def test_gain_counts_only_where_no_guard_gets_worse() -> None:
    worse = {**REAL, "lime": 0.70}
    found = judge(make_evidence(REAL, endpoint="accuracy", others={"auc": worse}))
    assert found.verdict == "inconclusive"
    assert "auc is shown to get worse" in found.reason
    found = judge(make_evidence(REAL, others={"balanced_accuracy": worse}))
    assert found.verdict == "inconclusive"
    assert "balanced_accuracy is shown to get worse" in found.reason
    better = {**REAL, "lime": 0.86}
    assert judge(make_evidence(REAL, others={"balanced_accuracy": better})).verdict == "real gain"


def test_gain_by_the_threshold_alone_is_none() -> None:
    same = dict.fromkeys(REAL, 0.85)
    found = judge(make_evidence(REAL, endpoint="accuracy", others={"auc": same}))
    assert found.verdict == "inconclusive"
    assert "only the threshold moved" in found.reason


def test_loss_counts_only_where_no_guard_improves() -> None:
    loss = {**REAL, "lime": 0.70}
    found = judge(make_evidence(loss, endpoint="accuracy", others={"auc": REAL}))
    assert found.verdict == "inconclusive"
    assert "auc is shown to get better" in found.reason


def test_nothing_is_equivalent_while_a_guard_moves() -> None:
    same = {**REAL, "lime": 0.80}
    found = judge(make_evidence(same, endpoint="accuracy", others={"auc": {**REAL, "lime": 0.6}}))
    assert found.verdict == "inconclusive"


def test_gain_of_an_arm_at_chance_is_none() -> None:
    auc = {"original": 0.70, "lime": 0.5} | {n: 0.5 for n in REAL if n not in ("original", "lime")}
    found = judge(make_evidence(REAL, endpoint="accuracy", others={"auc": auc}))
    assert found.verdict == "inconclusive"


def test_difference_that_is_sure_and_small_is_equivalent() -> None:
    found = judge(make_evidence({**REAL, "lime": 0.808}, sd=0.002))
    assert found.verdict == "equivalent"
    assert found.reason.startswith("A difference is shown, but it is smaller than")


def test_an_error_gains_by_getting_smaller() -> None:
    errors = {name: 0.30 - 0.25 * mean for name, mean in REAL.items()}
    evidence = make_evidence(
        errors, endpoint="brier", others={"auc": REAL}, sd=0.001, higher_is_better=False
    )
    assert judge(evidence, margin=Margin(0.01, "your margin")).verdict == "real gain"
    loss = {**errors, "lime": 0.2}
    evidence = make_evidence(
        loss, endpoint="brier", others={"auc": {**REAL, "lime": 0.7}}, sd=0.001,
        higher_is_better=False,
    )  # fmt: skip
    assert judge(evidence, margin=Margin(0.01, "your margin")).verdict == "real loss"


def test_constant_differences_are_not_called_uncertain() -> None:
    means = {"original": 0.5, "lime": 1.0, "silhouette": 0.5, "random_mask": 0.5}
    found = judge(make_evidence(means, sd=0.0))
    assert found.verdict == "real gain"


def test_correction_over_models_counts() -> None:
    evidence = make_evidence({**REAL, "lime": 0.86})
    assert judge(evidence).verdict == "real gain"
    assert judge(evidence, p_gain=0.051).verdict == "inconclusive"


def test_alpha_of_the_conclusion_is_the_level_of_its_intervals() -> None:
    assert "99 % interval" in judge(make_evidence(REAL), alpha=0.01).reason


def test_fixed_test_set_is_judged_by_the_two_way_error() -> None:
    # all seeds test the same images, whose luck they share: the draws move together
    rng = np.random.default_rng(3)
    evidence = make_evidence({**REAL, "lime": 0.84})
    luck = 0.03 * rng.normal(size=N_DRAWS)
    measured = evidence.metrics["auc"]
    draws = {
        arm: {seed: one + (luck if arm == "lime" else 0) for seed, one in of_arm.items()}
        for arm, of_arm in measured.draws.items()
    }
    fixed = replace(
        evidence,
        metrics={"auc": replace(measured, draws=draws)},
        design=replace(DESIGN, fixed=True, n_train=10_000),
        groups=dict.fromkeys(range(N_SEEDS), np.arange(100)),
    )
    assert judge(evidence).verdict == "real gain"
    assert judge(fixed).verdict == "inconclusive"


def test_remarks_overturn_nothing() -> None:
    means = {**REAL, "complement": 0.80, "lime_true_label": 0.905}
    evidence = make_evidence(means, collapsed={"original": 0.1, "lime": 0.0})
    found = judge(replace(evidence, equal=(("gradcam", "lime"),)))
    assert found.verdict == "real gain"
    said = " ".join(found.remarks)
    assert "original predicts one class for all test images on 10 %" in said
    assert "lime predicts one class" not in said
    assert "lime_true_label" in said
    assert "gradcam and lime predict the same for every test image of every seed" in said


def test_every_verdict_has_a_meaning() -> None:
    assert set(VERDICTS) > SETTLED
    assert {role.verdict for arm in ARMS.values() if hasattr(role := arm.role, "verdict")} <= set(
        VERDICTS
    )


def overall(*names: str) -> Verdict:
    return judge_overall([Verdict(f"m{n}", name, "Because.") for n, name in enumerate(names)])


@pytest.mark.parametrize(
    ("names", "verdict"),
    [
        (("real gain",), "real gain"),
        (("real gain", "real gain"), "real gain"),
        (("real gain", "nothing learned"), "real gain"),
        (("inconclusive", "real gain"), "real gain"),
        (("equivalent", "nothing learned"), "equivalent"),
        (("real gain", "leakage"), "leakage"),
        (("real gain", "real loss"), "inconclusive"),
        (("any crop", "equivalent"), "any crop"),
        (("inconclusive", "nothing learned"), "inconclusive"),
        (("nothing learned", "nothing learned"), "nothing learned"),
        ((), "inconclusive"),
    ],
)
def test_verdicts_are_joined(names: tuple[str, ...], verdict: str) -> None:
    assert overall(*names).verdict == verdict
    assert overall(*names[::-1]).verdict == verdict
    assert overall(*names).model is None


def test_models_that_decide_nothing_do_not_agree() -> None:
    assert "agree" not in overall("inconclusive", "inconclusive").reason
    assert "All models agree" in overall("equivalent", "equivalent").reason


# A gain that must survive where masks cannot encode the class

ENCODING = {**REAL, "random_trained": 0.90}


def test_gain_that_survives_on_random_masks_is_real() -> None:
    found = judge(make_evidence(ENCODING))
    assert found.verdict == "real gain"
    assert "random_trained keeps 10" in found.reason  # 100 % or so


@pytest.mark.parametrize("left", [0.80, 0.70, 0.82])
def test_gain_that_vanishes_on_random_masks_is_leakage(left: float) -> None:
    found = judge(make_evidence({**ENCODING, "random_trained": left}))
    assert found.verdict == "leakage"
    assert "a classifier that never trained on LIME masks does not have it" in found.reason
    assert "Do not credit the masks with it: random_trained lacks it." in found.next


def test_gain_of_which_half_may_survive_is_open() -> None:
    found = judge(make_evidence({**ENCODING, "random_trained": 0.848}, sd=0.03))
    assert found.verdict == "inconclusive"
    assert "it is open whether it survives in random_trained" in found.reason
    assert "random_trained keeps" in found.reason


def test_gain_that_is_not_shown_to_survive_is_open() -> None:
    steady = make_evidence({**ENCODING, "random_trained": 0.86})
    assert judge(steady).verdict == "real gain"
    noisy = make_evidence({**ENCODING, "random_trained": 0.86}, sd=0.2)
    measured = steady.metrics["auc"]
    values, draws = (
        {**dict(old), "random_trained": getattr(noisy.metrics["auc"], name)["random_trained"]}
        for name, old in (("values", measured.values), ("draws", measured.draws))
    )
    mixed = replace(steady, metrics={"auc": replace(measured, values=values, draws=draws)})
    share = mixed.estimate_share("random_trained", "lime", "original", 0.05)
    assert share is not None
    assert share.share > 0.5
    found = judge(mixed)
    assert found.verdict == "inconclusive"
    assert "it is open whether it survives in random_trained" in found.reason


def test_open_controls_of_both_kinds_are_named() -> None:
    both = {**ENCODING, "random_mask": 0.852, "random_trained": 0.848}
    found = judge(make_evidence(both, sd=0.03))
    assert found.verdict == "inconclusive"
    assert (
        "it is open whether random_mask would account for at least half of it, and whether it "
        "survives in random_trained" in found.reason
    )


def test_what_masks_remove_does_not_hide_that_they_encode() -> None:
    means = {**ENCODING, "random_trained": 0.80, "complement": 0.90}
    assert judge(make_evidence(means)).verdict == "leakage"
    assert judge(make_evidence({**means, "random_trained": 0.90})).verdict == (
        "shortcut outside the region"
    )


@pytest.mark.parametrize(
    ("control", "verdict"), [("random_mask", "any crop"), ("original_retrained", "second training")]
)
def test_simpler_explanations_come_before_encoding(control: str, verdict: str) -> None:
    means = {**ENCODING, "random_trained": 0.80, control: 0.90}
    assert judge(make_evidence(means)).verdict == verdict


def test_random_trained_on_some_seeds_only_is_missing() -> None:
    found = judge(make_evidence(ENCODING, seeds={"random_trained": (0, 1)}))
    assert found.verdict == "inconclusive"
    assert "random_trained lacks seeds 2, 3" in found.reason


def test_one_seed_is_told_in_a_sentence() -> None:
    found = judge(replace(make_evidence(REAL), seeds=(0,)))
    assert found.verdict == "inconclusive"
    assert found.reason == "A test needs at least 2 seeds, but there is 1."
