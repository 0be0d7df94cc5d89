"""From contrasts to a verdict: is the gain of training on LIME masks real?

The rule, per model, on test images. *Judged* is the arm `lime_crossfit` if it is planned, else
`lime`. *Better* means that the corrected t-test gives p < alpha after Holm's correction over all
models and primary contrasts. A control *explains* the gain if the judged arm is better than it by
less than the margin (one-sided corrected t-test, p < alpha).

1. `permuted_labels` is better than chance: **leakage**, the pipeline itself leaks.
2. Judged better or worse than original, but by less than the margin (two one-sided tests):
   **equivalent**. Otherwise judged worse than original: **real loss**.
3. Judged better than original. The first that holds:
   - `silhouette` explains it, or is better than original: **leakage**, by the outline of the mask;
   - judged is no worse (by the margin) than `lime_true_label`, which is better than original:
     **leakage**, as it cannot be told from masks that know the answer;
   - copies of test images were in training: **leakage**;
   - `original_retrained` explains it: **second training**;
   - `random_mask`, `other_image_mask`, `centre_mask` or `mean_mask` explains it: **any crop**;
   - `complement` explains it: **shortcut outside the region**;
   - judged is better than every control that was planned, among them `silhouette` and
     `random_mask` (and `original_retrained` where training goes on from the first model):
     **real gain**;
   - otherwise **inconclusive**.
4. Neither. The first that holds:
   - `lime` is better than original and than `lime_crossfit`: **leakage**, by masks that remember
     labels of training images;
   - original is better than chance, and `complement` is worse than neither judged nor original by
     the margin: **shortcut outside the region**;
   - the difference lies inside ± margin (two one-sided tests): **equivalent**;
   - otherwise **inconclusive**.

Overall: the verdict on which all models agree; else leakage if any model shows it; else
inconclusive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from osteo_ray.arms.arm import CROP_CONTROLS, ORIGINAL, choose_judged
from osteo_ray.statistics.contrasts import Contrast
from osteo_ray.statistics.metrics.registry import METRICS

VerdictName = Literal[
    "real gain",
    "real loss",
    "equivalent",
    "leakage",
    "second training",
    "any crop",
    "shortcut outside the region",
    "inconclusive",
]
_EXPLANATIONS: tuple[tuple[str, VerdictName, str], ...] = (
    ("silhouette", "leakage", "the outline of the mask alone tells as much"),
    ("original_retrained", "second training", "a second training without masks does as well"),
    *(
        (name, "any crop", "masks that know nothing of the image do as well")
        for name in CROP_CONTROLS
    ),
    ("complement", "shortcut outside the region", "what LIME removed tells as much"),
)
"""What a gain is that a control explains, in the order in which they are looked at."""


@dataclass(frozen=True)
class Verdict:
    """A verdict on a model, or on all where `model` is None, with its reason in words."""

    model: str | None
    verdict: VerdictName
    reason: str


@dataclass(frozen=True)
class Circumstances:
    """What else is known of the results of a model.

    Attributes:
        copies_leak: Copies of test images were in training.
        goes_on: The masked arms start from the weights of the first model.
        original_above_chance: Whether `original` is better than chance; None if unknown.
        permuted_above_chance: Whether `permuted_labels` is; None where it was not planned.
    """

    copies_leak: bool = False
    goes_on: bool = False
    original_above_chance: bool | None = None
    permuted_above_chance: bool | None = None


@dataclass(frozen=True)
class _Evidence:
    """The contrasts of one model, and what the rule asks of them."""

    pairs: Mapping[tuple[str, str], Contrast]
    judged: str
    alpha: float

    def get(self, arm: str, baseline: str) -> Contrast | None:
        """Return a contrast that could be tested."""
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
        contrasts: Those of `arms.list_primary`; a pair that was not held stands for no evidence.
        model: The timm name.
        arms: Those planned.
        alpha: Error rate.
        circumstances: What else is known.
    """
    judged = choose_judged(arms)
    evidence = _Evidence({(c.arm, c.baseline): c for c in contrasts}, judged, alpha)
    gain = evidence.pairs.get((judged, ORIGINAL))
    if gain is None:
        return Verdict(model, "inconclusive", "The arm lime was not planned: nothing to judge.")
    found = " ".join(filter(None, (_describe(gain, alpha), gain.note)))
    if circumstances.permuted_above_chance:
        reason = f"With shuffled labels the pipeline does better than chance, so it leaks. {found}"
        return Verdict(model, "leakage", reason)
    if gain.p_holm is None or gain.difference is None:
        return Verdict(model, "inconclusive", f"The gain cannot be tested. {found}")
    if gain.p_holm >= alpha:
        return _judge_no_change(evidence, gain, found, circumstances)
    if gain.equivalent:
        small = f"A difference is sure, but it lies inside ± {gain.margin:g}, said not to matter."
        return Verdict(model, "equivalent", f"{small} {found}")
    if not _is_gain(gain, alpha):
        return Verdict(model, "real loss", f"Training on LIME masks loses. {found}")
    return _judge_gain(
        evidence, gain, f"Training on LIME masks gains. {found}", circumstances, arms
    )


def _judge_no_change(
    evidence: _Evidence, gain: Contrast, found: str, circumstances: Circumstances
) -> Verdict:
    judged, model = evidence.judged, gain.model
    if evidence.is_better("lime", ORIGINAL) and evidence.is_better("lime", judged):
        found += evidence.describe("lime", ORIGINAL) + evidence.describe("lime", judged)
        reason = f"LIME masks gain only if their model saw the labels they tell. {found}"
        return Verdict(model, "leakage", reason)
    if (
        circumstances.original_above_chance
        and evidence.explains("complement")
        and evidence.is_no_worse("complement", ORIGINAL)
    ):
        found += evidence.describe("complement", ORIGINAL)
        reason = f"What LIME removed tells the label as well as the whole image. {found}"
        return Verdict(model, "shortcut outside the region", reason)
    if gain.equivalent:
        inside = f"The difference lies inside ± {gain.margin:g} (p {_format_p(gain.p_equivalence)})"
        reason = f"{inside}: LIME masks change nothing that matters. {found}"
        return Verdict(model, "equivalent", reason)
    reason = f"Neither a gain, a loss nor equivalence is shown. {found}"
    return Verdict(model, "inconclusive", f"{reason}{_describe_power(gain)}")


def _describe_power(contrast: Contrast) -> str:
    """Say what the seeds could have found, and how many more it takes."""
    if contrast.smallest_detectable is None:
        return ""
    smallest = contrast.smallest_detectable
    could = (
        f"A true difference of {smallest:.3f} would be found with power 0.8"
        if smallest < 1
        else "With so few seeds not even the largest difference there can be would be found"
    )
    if contrast.seeds_needed is None:
        more = "it takes more seeds than 1000, if any number will do"
    elif contrast.seeds_needed > contrast.n_seeds:
        n_more = contrast.seeds_needed - contrast.n_seeds
        more = f"it takes {contrast.seeds_needed} seeds, {n_more} more"
    else:
        more = "there are seeds enough"
    return f" {could}; for the observed one {more}."


def _judge_gain(
    evidence: _Evidence,
    gain: Contrast,
    found: str,
    circumstances: Circumstances,
    arms: Sequence[str],
) -> Verdict:
    judged, model = evidence.judged, gain.model
    if evidence.is_better("silhouette", ORIGINAL):
        found += evidence.describe("silhouette", ORIGINAL)
        reason = f"{found} So the outline of the mask carries the label: it beats the images."
        return Verdict(model, "leakage", reason)
    if evidence.explains("silhouette"):
        return _name_explanation(evidence, found, "silhouette")
    knows = "lime_true_label"
    if evidence.is_better(knows, ORIGINAL) and evidence.is_no_worse(judged, knows):
        found += evidence.describe(judged, knows)
        reason = f"{found} So the masks cannot be told from masks that know the answer."
        return Verdict(model, "leakage", reason)
    if circumstances.copies_leak:
        reason = f"{found} But copies of test images were in training: memory looks like a gain."
        return Verdict(model, "leakage", reason)
    for control, _, _ in _EXPLANATIONS:
        if evidence.explains(control):
            return _name_explanation(evidence, found, control)
    needed = ["silhouette", "random_mask"]
    needed += ["original_retrained"] if circumstances.goes_on else []
    planned = [control for control, _, _ in _EXPLANATIONS if control in arms]
    missing, undecided = [], []
    for control in dict.fromkeys([*needed, *planned]):
        contrast = evidence.pairs.get((judged, control))
        if evidence.get(judged, control) is None:
            note = contrast.note if contrast is not None else None
            missing.append(control + (f" ({note})" if note else ""))
            continue
        found += evidence.describe(judged, control)
        if not evidence.is_better(judged, control):
            undecided.append(control)
    if missing:
        reason = f"{found} But a control is missing: {', '.join(missing)}."
        return Verdict(model, "inconclusive", reason)
    if undecided:
        weakest = evidence.pairs[judged, undecided[0]]
        reason = f"{found} But it is open whether {' and '.join(undecided)} would do as well."
        return Verdict(model, "inconclusive", f"{reason}{_describe_power(weakest)}")
    return Verdict(model, "real gain", f"{found} So no control explains the gain.")


def _name_explanation(evidence: _Evidence, found: str, control: str) -> Verdict:
    contrast = evidence.pairs[evidence.judged, control]
    verdict, meaning = next((v, m) for name, v, m in _EXPLANATIONS if name == control)
    found += evidence.describe(evidence.judged, control)
    margin = f"within {contrast.margin:g} (p {_format_p(contrast.p_non_superiority)})"
    return Verdict(contrast.model, verdict, f"{found} So {meaning}, {margin}.")


def judge_overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Join the verdicts on all models into one; its `model` is None."""
    kinds = {verdict.verdict for verdict in verdicts}
    listing = "; ".join(f"{verdict.model}: {verdict.verdict}" for verdict in verdicts)
    if not verdicts:
        return Verdict(None, "inconclusive", "No arm was held against original.")
    if len(verdicts) == 1:
        return replace(verdicts[0], model=None)
    if len(kinds) == 1:
        return Verdict(None, verdicts[0].verdict, f"All models agree ({listing}).")
    if "leakage" in kinds:
        return Verdict(None, "leakage", f"At least one model shows leakage ({listing}).")
    return Verdict(None, "inconclusive", f"The models disagree ({listing}).")


def _describe(contrast: Contrast, alpha: float) -> str:
    pair = f"{contrast.arm} minus {contrast.baseline}: "
    if contrast.difference is None:
        return f"{pair}no seed has both."
    figures = [f"{contrast.metric} {contrast.difference:+.3f} over {contrast.n_seeds} seeds"]
    if contrast.low is not None and contrast.high is not None:
        level = f"{100 * (1 - alpha):g} % interval"
        figures.append(f"{level} {contrast.low:+.3f} to {contrast.high:+.3f}")
    if contrast.p_holm is not None:
        figures.append(f"p {_format_p(contrast.p_holm)} after Holm's correction")
    return f"{pair}{', '.join(figures)}."


def _is_gain(contrast: Contrast, alpha: float) -> bool:
    significant = contrast.p_holm is not None and contrast.p_holm < alpha
    if not significant or contrast.difference is None:
        return False
    return METRICS[contrast.metric].sign * contrast.difference > 0


def _format_p(p: float | None) -> str:
    return "unknown" if p is None else "< 0.001" if p < 0.001 else f"= {p:.3f}"
