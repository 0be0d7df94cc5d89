"""From the table of results to a verdict: is the gain of training on LIME masks real?

The rule, per model, on test images. *Significant* means that the corrected t-test gives p < alpha
after Holm's correction over all models and contrasts; lime, silhouette and so on are arms.

- lime minus original significant, negative: **real loss**.
- Significant and positive, but lime is not significantly better than
  - silhouette: **leakage**, the outline of the mask may carry the label;
  - random_mask: **any crop**, masking by chance may do as well;
  - a control that was not trained or cannot be tested: **inconclusive**.
- Significant, positive and better than both controls: **real gain**.
- Not significant, and the difference is inside ± margin (two one-sided tests, p < alpha):
  **equivalent**. Otherwise, or if it cannot be tested: **inconclusive**.

Overall: the verdict on which all models agree; else leakage if any model shows it; else
inconclusive.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from osteo_ray.compare.contrasts import CONTROLS, Contrast, compare_arms
from osteo_ray.compare.descriptive import summarize_arms
from osteo_ray.compare.per_seed import describe_operating_points, describe_pairs
from osteo_ray.compare.predictions import Predictions

VerdictName = Literal["real gain", "real loss", "leakage", "any crop", "equivalent", "inconclusive"]
FAULTS: dict[str, tuple[VerdictName, str]] = {
    "silhouette": ("leakage", "the outline of the mask may carry the label"),
    "random_mask": ("any crop", "keeping superpixels by chance may do as well"),
}
"""What a gain is that does not beat a control."""


@dataclass(frozen=True)
class Verdict:
    """A verdict on a model, or on all where `model` is None, with its reason in words."""

    model: str | None
    verdict: VerdictName
    reason: str


def judge_model(contrasts: Sequence[Contrast], *, alpha: float) -> Verdict:
    """Apply the rule of this module to the contrasts of one model, at least one."""
    pairs = {(contrast.arm, contrast.baseline): contrast for contrast in contrasts}
    model = contrasts[0].model
    lime = pairs.get(("lime", "original"))
    if lime is None:
        return Verdict(model, "inconclusive", "The arm lime was not planned: nothing to judge.")
    found = " ".join(filter(None, (_describe(lime, alpha), lime.note)))
    if lime.p_holm is None or lime.difference is None:
        return Verdict(model, "inconclusive", f"The gain cannot be tested. {found}")
    if lime.p_holm >= alpha:
        return _judge_no_change(lime, found)
    if lime.difference < 0:
        return Verdict(model, "real loss", f"Training on LIME masks loses. {found}")
    if lime.equivalent:
        found += f" The gain lies inside ± {lime.margin:g}, the margin said not to matter."
    return _judge_gain(model, pairs, f"Training on LIME masks gains. {found}", alpha)


def _judge_no_change(lime: Contrast, found: str) -> Verdict:
    if lime.equivalent:
        inside = f"The difference lies inside ± {lime.margin:g} (p {_format_p(lime.p_equivalence)})"
        return Verdict(
            lime.model, "equivalent", f"{inside}: LIME masks change nothing that matters. {found}"
        )
    reason = f"Neither a gain, a loss nor equivalence is shown. {found}"
    if lime.smallest_detectable is not None:
        needed = (
            f"{lime.seeds_needed} seeds" if lime.seeds_needed else "more seeds than 1000, if any"
        )
        smallest = lime.smallest_detectable
        found_with_power = (
            f"A true difference of {smallest:.3f} would be found with power 0.8"
            if smallest < 1
            else "With so few seeds not even the largest difference there can be would be found"
        )
        reason += f" {found_with_power}; for the observed one it takes {needed}."
    return Verdict(lime.model, "inconclusive", reason)


def _judge_gain(
    model: str, pairs: Mapping[tuple[str, str], Contrast], found: str, alpha: float
) -> Verdict:
    outline = pairs.get(("silhouette", "original"))
    if outline is not None and (outline.difference is not None and outline.difference >= 0):
        better = "better" if _is_gain(outline, alpha) else "no worse"
        found += f" The outline alone scores {better} than the images. {_describe(outline, alpha)}"
    untested = []
    for control in CONTROLS:
        verdict, meaning = FAULTS[control]
        contrast = pairs.get(("lime", control))
        if contrast is None or contrast.p_holm is None:
            untested.append(control + ("" if contrast is None else f" ({contrast.note})"))
            continue
        found += f" {_describe(contrast, alpha)}"
        if not _is_gain(contrast, alpha):
            return Verdict(model, verdict, f"{found} So {meaning}.")
    if untested:
        reason = f"{found} But a control is missing: {', '.join(untested)}."
        return Verdict(model, "inconclusive", reason)
    return Verdict(model, "real gain", f"{found} So neither control explains the gain.")


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


def build_comparison(
    results: pd.DataFrame,
    *,
    arms: Sequence[str],
    seeds: Sequence[int],
    metric: str,
    alpha: float,
    margin: float,
    n_train: float,
    n_test: float,
    classes: Sequence[str],
    positive_class: str,
    split: str,
    missing: Sequence[Mapping[str, Any]],
    predictions: Predictions | None = None,
) -> dict[str, Any]:
    """Build the content of `comparison.json`, of plain types only; NaN becomes None.

    Args:
        results: As `metrics.compute_results` returns it.
        arms: Those planned.
        seeds: Those planned.
        metric: The primary endpoint.
        alpha: Error rate.
        margin: Of equivalence.
        n_train: Training images per seed.
        n_test: Test images per seed.
        classes: All classes, sorted.
        positive_class: One of them.
        split: `grouped`, `random` or `given`.
        missing: model, seed, arm and reason of each planned training that did not finish. A model
            that stands here only is judged too: inconclusive.
        predictions: Of which the results are; without them nothing is said seed by seed.
    """
    plan = {
        "metric": metric,
        "alpha": alpha,
        "margin": margin,
        "n_train": n_train,
        "n_test": n_test,
    }
    models = tuple(dict.fromkeys([*results["model"], *(trial["model"] for trial in missing)]))
    contrasts = compare_arms(
        results,
        models=models,
        arms=arms,
        metric=metric,
        alpha=alpha,
        margin=margin,
        n_train=n_train,
        n_test=n_test,
    )
    verdicts = [
        judge_model([c for c in contrasts if c.model == model], alpha=alpha)
        for model in dict.fromkeys(c.model for c in contrasts)
    ]
    overall = judge_overall(verdicts)
    reason = overall.reason
    if split == "random":
        reason += (
            " Copies of test images were in training, as the split was random: all figures measure"
            " memory too."
        )
    if split == "given":
        reason += (
            " All seeds share the source's own split, so the intervals leave out what other test"
            " images would change."
        )
    if missing:
        are = "training is" if len(missing) == 1 else "trainings are"
        reason += f" {len(missing)} planned {are} missing."
    pairs = list(dict.fromkeys((contrast.arm, contrast.baseline) for contrast in contrasts))
    comparison = {
        "schema_version": 1,
        **plan,
        "seeds": seeds,
        "classes": classes,
        "positive_class": positive_class,
        "split": split,
        "arms": summarize_arms(results, n_test=n_test, n_train=n_train, alpha=alpha),
        "contrasts": [asdict(contrast) for contrast in contrasts],
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "verdict": {"verdict": overall.verdict, "reason": reason},
        "missing": missing,
        "operating_points": []
        if predictions is None
        else describe_operating_points(results, predictions, alpha=alpha),
        "per_seed": []
        if predictions is None
        else describe_pairs(predictions, pairs, models=models, seeds=seeds, alpha=alpha),
    }
    return {key: _to_plain(value) for key, value in comparison.items()}


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
    return significant and contrast.difference is not None and contrast.difference > 0


def _format_p(p: float | None) -> str:
    return "unknown" if p is None else "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_to_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
