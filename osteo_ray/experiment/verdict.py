"""From contrasts to a verdict: is the gain of training on masked images real?

The rule is applied to each model, on its test images. It goes over the roles of the planned arms
(`arms.roles`). The *judged* arm is the planned candidate with the highest precedence:
`lime_crossfit` if it is planned, otherwise `lime`. *Better* means that the corrected t-test gives
p < alpha after Holm's correction over all models and primary contrasts. A control *explains* a gain
if the judged arm leads it by less than the margin (one-sided corrected t-test, p < alpha).

1. A sanity check (`permuted_labels`) is better than chance: **leakage**, since the pipeline itself
   leaks.
2. The judged arm is better or worse than the baseline, `original`, but by less than the margin (two
   one-sided tests): **equivalent**. If it is worse by more: **real loss**.
3. The judged arm is better than the baseline. The first of these that holds decides:
   - a control whose verdict is *leakage* (`silhouette`) explains the gain, or is itself better than
     the baseline: **leakage**, by the outline of the mask;
   - an oracle (`lime_true_label`) is better than the baseline, and the judged arm is no worse than
     the oracle by the margin: **leakage**, since the masks cannot be distinguished from masks that
     know the answer;
   - copies of test images were in the training set: **leakage**;
   - another control explains the gain. The verdict is the one that the control names, and controls
     are examined in this order: **second training** (`original_retrained`), **any crop**
     (`random_mask`, `other_image_mask`, `centre_mask`, `mean_mask`), **shortcut outside the
     region** (`complement`);
   - the judged arm is better than every planned control and than every required one (`silhouette`
     and `random_mask`; also `original_retrained` if training goes on from the first model):
     **real gain**;
   - otherwise **inconclusive**.
4. Neither a gain nor a loss is shown. The first of these that holds decides:
   - a candidate of lower precedence (`lime`, where `lime_crossfit` is judged) is better than the
     baseline and than the judged arm: **leakage**, by masks that carry memorised labels;
   - the baseline is better than chance, and a control that stands for the rest of the image
     (`complement`) is worse than neither the judged arm nor the baseline by the margin:
     **shortcut outside the region**;
   - the difference lies inside ± margin (two one-sided tests): **equivalent**;
   - otherwise **inconclusive**.

Overall: the verdict on which all models agree; otherwise leakage if any model shows it; otherwise
inconclusive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.arms.pairs import choose_judged, list_controls
from osteo_ray.arms.registry import ARMS, find_roles
from osteo_ray.arms.roles import Candidate, Control, Explanation, Oracle, SanityCheck
from osteo_ray.experiment.planning import MOST_SEEDS
from osteo_ray.statistics.contrasts import Contrast
from osteo_ray.statistics.metrics.registry import METRICS

VerdictName = Explanation | Literal["real gain", "real loss", "equivalent", "inconclusive"]
VERDICTS: dict[VerdictName, str] = {
    "real gain": "the judged arm beats the baseline and every control",
    "leakage": "the label reaches the classifier by a way that is not the image: the outline of "
    "the mask alone predicts it as well or better than the images do, or masks that know the "
    "answer do no better, or copies of test images were in the training set, or shuffled labels "
    "could be learned",
    "second training": "the judged arm gains, but a second training on the original images gains "
    "as much",
    "any crop": "the judged arm gains, but masks that ignore what is in the image gain as much",
    "shortcut outside the region": "what the masks remove predicts the label as well",
    "real loss": "the judged arm is worse than the baseline by more than the margin",
    "equivalent": "the difference is smaller than the margin",
    "inconclusive": "nothing of the above is shown",
}
"""Every verdict and what it means, in words; ‘as well’ is by less than the margin, tested."""


@dataclass(frozen=True)
class Verdict:
    """A verdict with its reason in words: on one model, or on all models if `model` is None."""

    model: str | None
    verdict: VerdictName
    reason: str


@dataclass(frozen=True)
class Circumstances:
    """What else is known about the results of a model.

    Attributes:
        copies_leak: Whether copies of test images were in the training set.
        goes_on: Whether the masked arms start from the weights of the first model.
        above_chance: Whether an arm that was compared with chance is better than chance, by the
            name of the arm; None or no entry if that is unknown.
    """

    copies_leak: bool = False
    goes_on: bool = False
    above_chance: Mapping[str, bool | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Evidence:
    """The contrasts of one model, and what the rule asks of them."""

    pairs: Mapping[tuple[str, str], Contrast]
    judged: str
    alpha: float

    def get(self, arm: str, baseline: str) -> Contrast | None:
        """Return a contrast, or None if it could not be tested."""
        contrast = self.pairs.get((arm, baseline))
        return contrast if contrast is not None and contrast.p_holm is not None else None

    def is_better(self, arm: str, baseline: str) -> bool:
        contrast = self.get(arm, baseline)
        return contrast is not None and _is_gain(contrast, self.alpha)

    def explains(self, control: str) -> bool:
        """Tell whether the judged arm leads a control by less than the margin."""
        contrast = self.get(self.judged, control)
        p = None if contrast is None else contrast.p_non_superiority
        return p is not None and p < self.alpha

    def is_no_worse(self, arm: str, baseline: str) -> bool:
        contrast = self.get(arm, baseline)
        p = None if contrast is None else contrast.p_non_inferiority
        return p is not None and p < self.alpha

    def describe(self, arm: str, baseline: str) -> str:
        contrast = self.pairs.get((arm, baseline))
        return "" if contrast is None else " " + _describe(contrast, self.alpha)


def judge_model(
    contrasts: Sequence[Contrast],
    *,
    model: str,
    arms: Sequence[str],
    alpha: float,
    circumstances: Circumstances = Circumstances(),
) -> Verdict:
    """Apply the rule of this module to the primary contrasts of one model.

    Args:
        contrasts: Those of `arms.pairs.list_primary`. A pair that is missing is no evidence.
        model: The timm name.
        arms: The planned arms.
        alpha: Error rate.
        circumstances: What else is known.
    """
    judged = choose_judged(arms)
    evidence = _Evidence({(c.arm, c.baseline): c for c in contrasts}, judged, alpha)
    gain = evidence.pairs.get((judged, ORIGINAL))
    if gain is None:
        known = " or ".join(find_roles(ARMS, Candidate))
        reason = f"There is nothing to judge, since no such arm as {known} was planned."
        return Verdict(model, "inconclusive", reason)
    found = " ".join(filter(None, (_describe(gain, alpha), gain.note)))
    for name, check in find_roles(arms, SanityCheck).items():
        if circumstances.above_chance.get(name):
            return Verdict(model, "leakage", f"{check.words} {found}")
    if gain.p_holm is None or gain.difference is None:
        return Verdict(model, "inconclusive", f"The gain cannot be tested. {found}")
    if gain.p_holm >= alpha:
        return _judge_no_change(evidence, gain, found, circumstances, arms)
    if gain.equivalent:
        small = (
            f"The arms differ, but by less than the margin of {gain.margin:g}, which was declared "
            "not to matter."
        )
        return Verdict(model, "equivalent", f"{small} {found}")
    noun = _name_masks(judged)
    if not _is_gain(gain, alpha):
        return Verdict(model, "real loss", f"Training on {noun} makes the model worse. {found}")
    found = f"Training on {noun} makes the model better. {found}"
    return _judge_gain(evidence, gain, found, circumstances, arms)


def _judge_no_change(
    evidence: _Evidence,
    gain: Contrast,
    found: str,
    circumstances: Circumstances,
    arms: Sequence[str],
) -> Verdict:
    judged, model = evidence.judged, gain.model
    candidates = find_roles(arms, Candidate)
    memorised = candidates[judged].if_only_lower_gains
    for lower in candidates if memorised else ():
        if evidence.is_better(lower, ORIGINAL) and evidence.is_better(lower, judged):
            found += evidence.describe(lower, ORIGINAL) + evidence.describe(lower, judged)
            return Verdict(model, "leakage", f"{memorised} {found}")
    for name, control in list_controls(arms).items():
        if (
            control.if_as_good_as_baseline
            and circumstances.above_chance.get(ORIGINAL)
            and evidence.explains(name)
            and evidence.is_no_worse(name, ORIGINAL)
        ):
            found += evidence.describe(name, ORIGINAL)
            return Verdict(model, control.verdict, f"{control.if_as_good_as_baseline} {found}")
    if gain.equivalent:
        inside = f"The difference lies inside ± {gain.margin:g} (p {_format_p(gain.p_equivalence)})"
        reason = f"{inside}: {_name_masks(judged)} make no difference that matters. {found}"
        return Verdict(model, "equivalent", reason)
    reason = f"Neither a gain nor a loss nor equivalence is shown. {found}"
    return Verdict(model, "inconclusive", f"{reason}{_describe_power(gain)}")


def _judge_gain(
    evidence: _Evidence,
    gain: Contrast,
    found: str,
    circumstances: Circumstances,
    arms: Sequence[str],
) -> Verdict:
    judged, model = evidence.judged, gain.model
    controls = list_controls(arms)
    for name, control in controls.items():
        if control.verdict == "leakage":
            if control.if_better_than_baseline and evidence.is_better(name, ORIGINAL):
                found += evidence.describe(name, ORIGINAL)
                reason = f"{found} So {control.if_better_than_baseline}."
                return Verdict(model, control.verdict, reason)
            if evidence.explains(name):
                return _name_explanation(evidence, found, name, control)
    for name, oracle in find_roles(arms, Oracle).items():
        if evidence.is_better(name, ORIGINAL) and evidence.is_no_worse(judged, name):
            found += evidence.describe(judged, name)
            return Verdict(model, "leakage", f"{found} So {oracle.words}.")
    if circumstances.copies_leak:
        reason = (
            f"{found} But copies of test images were in the training set, and what was memorised "
            "looks like a gain."
        )
        return Verdict(model, "leakage", reason)
    for name, control in controls.items():
        if evidence.explains(name):
            return _name_explanation(evidence, found, name, control)
    return _judge_against_controls(evidence, gain, found, circumstances, arms)


def _judge_against_controls(
    evidence: _Evidence,
    gain: Contrast,
    found: str,
    circumstances: Circumstances,
    arms: Sequence[str],
) -> Verdict:
    """Tell a real gain from an inconclusive one: every control must be beaten."""
    judged, model = evidence.judged, gain.model
    missing, undecided = [], []
    for name, control in list_controls(tuple(ARMS)).items():
        if name not in arms and not control.is_required(goes_on=circumstances.goes_on):
            continue
        if evidence.get(judged, name) is None:
            contrast = evidence.pairs.get((judged, name))
            note = contrast.note if contrast is not None else None
            missing.append(name + (f" ({note})" if note else ""))
            continue
        found += evidence.describe(judged, name)
        if not evidence.is_better(judged, name):
            undecided.append(name)
    if missing:
        reason = f"{found} But a required control is missing: {', '.join(missing)}."
        return Verdict(model, "inconclusive", reason)
    if undecided:
        weakest = evidence.pairs[judged, undecided[0]]
        reason = f"{found} But {' and '.join(undecided)} may perform as well: this is undecided."
        return Verdict(model, "inconclusive", f"{reason}{_describe_power(weakest)}")
    return Verdict(model, "real gain", f"{found} So no control explains the gain.")


def _name_explanation(evidence: _Evidence, found: str, name: str, control: Control) -> Verdict:
    contrast = evidence.pairs[evidence.judged, name]
    found += evidence.describe(evidence.judged, name)
    p = _format_p(contrast.p_non_superiority)
    lead = f"{evidence.judged} leads it by less than {contrast.margin:g} (p {p})"
    return Verdict(contrast.model, control.verdict, f"{found} So {control.words}: {lead}.")


def judge_overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Combine the verdicts on all models into one, whose `model` is None."""
    kinds = {verdict.verdict for verdict in verdicts}
    listing = "; ".join(f"{verdict.model}: {verdict.verdict}" for verdict in verdicts)
    if not verdicts:
        return Verdict(None, "inconclusive", f"No arm was compared with {ORIGINAL}.")
    if len(verdicts) == 1:
        return replace(verdicts[0], model=None)
    if len(kinds) == 1:
        return Verdict(None, verdicts[0].verdict, f"All models agree ({listing}).")
    if "leakage" in kinds:
        return Verdict(None, "leakage", f"At least one model shows leakage ({listing}).")
    return Verdict(None, "inconclusive", f"The models disagree ({listing}).")


def _name_masks(judged: str) -> str:
    """Return what a candidate's classifier is trained on, in words."""
    return find_roles([judged], Candidate)[judged].noun


def _describe(contrast: Contrast, alpha: float) -> str:
    pair = f"{contrast.arm} minus {contrast.baseline}: "
    if contrast.difference is None:
        return f"{pair}no seed has results of both arms."
    figures = [f"{contrast.metric} {contrast.difference:+.3f} over {contrast.n_seeds} seeds"]
    if contrast.low is not None and contrast.high is not None:
        level = f"{100 * (1 - alpha):g} % interval"
        figures.append(f"{level} {contrast.low:+.3f} to {contrast.high:+.3f}")
    if contrast.p_holm is not None:
        figures.append(f"p {_format_p(contrast.p_holm)} after Holm's correction")
    return f"{pair}{', '.join(figures)}."


def _describe_power(contrast: Contrast) -> str:
    """Say what these seeds could detect, and how many it takes for the observed difference."""
    if contrast.smallest_detectable is None:
        return ""
    smallest = contrast.smallest_detectable
    could = (
        f"These seeds detect a true difference of {smallest:.3f} with power 0.8"
        if smallest < 1
        else "With so few seeds, no possible difference is detectable with power 0.8"
    )
    if contrast.seeds_needed is None:
        more = f"takes over {MOST_SEEDS} seeds, and possibly no number suffices"
    elif contrast.seeds_needed > contrast.n_seeds:
        n_more = contrast.seeds_needed - contrast.n_seeds
        more = f"takes {contrast.seeds_needed} seeds, {n_more} more than there are"
    else:
        more = "takes no more seeds than there are"
    return f" {could}; detecting a difference as large as the observed one {more}."


def _is_gain(contrast: Contrast, alpha: float) -> bool:
    significant = contrast.p_holm is not None and contrast.p_holm < alpha
    if not significant or contrast.difference is None:
        return False
    return METRICS[contrast.metric].sign * contrast.difference > 0


def _format_p(p: float | None) -> str:
    return "unknown" if p is None else "< 0.001" if p < 0.001 else f"= {p:.3f}"
