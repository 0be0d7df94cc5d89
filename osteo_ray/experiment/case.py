"""The evidence on one model beside what else is known: what is shown, and how it is said."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from scipy.special import ndtr

from osteo_ray.base.formatting import format_level, format_p, format_percent
from osteo_ray.experiment.evidence import AUC, Evidence
from osteo_ray.experiment.roles import ControlRole, Roles
from osteo_ray.experiment.verdict import Circumstances, Verdict
from osteo_ray.statistics.inference import Estimate
from osteo_ray.statistics.metrics.registry import METRICS

CHANCE = 0.5
"""AUC of a classifier that knows nothing."""
HALF = 0.5
"""Share of the gain from which on a control is said to account for it."""
GUARD_MARGIN = 0.03  # of AUC and balanced accuracy, whatever the endpoint


class Case:
    """The evidence on one model beside the circumstances, with the questions as methods."""

    def __init__(self, evidence: Evidence, roles: Roles, known: Circumstances) -> None:
        self.evidence, self.roles, self.known = evidence, roles, known
        self.gain = evidence.estimate({roles.judged: 1, roles.baseline: -1})

    @property
    def shown_gain(self) -> Estimate:
        """The gain, where it could be estimated, which is asked first."""
        assert self.gain is not None
        return self.gain

    # What is shown

    def is_shown(self, p: float | None) -> bool:
        return p is not None and p < self.known.alpha

    def is_better(self, arm: str, other: str, metric: str | None = None) -> bool:
        found = self.evidence.estimate({arm: 1, other: -1}, metric)
        return found is not None and found.mean > 0 and self.is_shown(found.p_other_than())

    def is_above_chance(self, arm: str) -> bool:
        found = self.evidence.estimate({arm: 1}, AUC, above=CHANCE)
        return found is not None and found.mean > 0 and self.is_shown(found.p_other_than())

    def is_below_chance(self, arm: str, *, n_arms: int) -> bool:
        """Tell whether AUC is shown to be below chance by more than luck with small sets makes it.

        By Bonferroni's level among `n_arms`. Where there is nothing to learn, what is more frequent
        in training is rarer in the test set, so AUC may well be shown to be somewhat below 0.5.
        """
        found = self.evidence.estimate({arm: 1}, AUC, above=CHANCE)
        return found is not None and found.p_below(-GUARD_MARGIN) < self.known.alpha / 2 / n_arms

    def list_below_chance(self, arm: str, *, n_arms: int) -> list[int]:
        """List the seeds on which AUC is, by itself, shown to be as much below chance.

        The level is that of all arms and seeds.
        """
        values, errors = self.evidence.metrics[AUC].values.get(arm, {}), self.evidence.chance_errors
        level = self.known.alpha / 2 / n_arms / len(self.evidence.seeds)
        return [
            seed
            for seed in self.evidence.seeds
            if seed in values
            and seed in errors
            and ndtr((values[seed] - CHANCE + GUARD_MARGIN) / errors[seed]) < level
        ]

    def exceeds_half(self, control: ControlRole) -> Estimate | None:
        """Estimate by how much the part that a control accounts for exceeds half of the gain."""
        sign = -1 if control.gain_must_survive else 1
        weights = {control.name: 1, self.roles.judged: -HALF, self.roles.baseline: -(1 - HALF)}
        return self.evidence.estimate({arm: sign * weight for arm, weight in weights.items()})

    def leaves_some(self, control: ControlRole) -> bool:
        """Tell whether a part of the gain is shown that a control does not account for."""
        if control.gain_must_survive:
            return self.is_better(control.name, self.roles.baseline)
        return self.is_better(self.roles.judged, control.name)

    # In words

    @property
    def endpoint(self) -> str:
        return METRICS[self.evidence.endpoint].label

    def say(self, verdict: str, reason: str, then: str) -> Verdict:
        return Verdict(self.evidence.model, verdict, " ".join(reason.split()), then)

    def list_guards(self, direction: int) -> list[str]:
        """List the guard metrics that are shown to change: better (1), worse (-1), either (0)."""
        found = []
        for metric in self.evidence.metrics:
            if metric == self.evidence.endpoint:
                continue
            change = self.evidence.estimate({self.roles.judged: 1, self.roles.baseline: -1}, metric)
            if change is None or not self.is_shown(change.p_other_than()):
                continue
            if direction == 0:
                # beside an endpoint that stays, only a change beyond the margin counts
                if abs(change.mean) > GUARD_MARGIN:
                    found.append(metric)
            elif change.mean * direction > 0:
                found.append(metric)
        return found

    def list_remarks(self) -> list[str]:
        remarks = [
            f"{arm} predicts one class for all test images on {format_percent(share)} of its seeds."
            for arm, share in self.evidence.collapsed.items()
            if share > 0 and arm in (self.roles.judged, self.roles.baseline)
        ]
        remarks += [
            f"{_capitalise(control.if_as_good_as_baseline)}."
            for control in self.roles.controls
            if control.if_as_good_as_baseline and self.is_no_worse(control.name)
        ]
        remarks += [
            f"{one} and {other} predict the same for every test image of every seed: was one file "
            "taken for both, or do their masks show the same?"
            for one, other in self.evidence.equal
        ]
        for oracle in self.roles.oracles:
            found = self.evidence.estimate({self.roles.judged: 1, oracle: -1})
            if found is not None:
                remarks.append(
                    f"{oracle}, whose masks know the label, is no result: "
                    f"{self.describe({self.roles.judged: 1, oracle: -1})}"
                )
        if not self.roles.controls:
            remarks.append(
                "No control was given: this says whether there is a gain, not what makes it."
            )
        return remarks

    def is_no_worse(self, arm: str) -> bool:
        found = self.evidence.estimate({arm: 1, self.roles.baseline: -1})
        return found is not None and found.p_above(-self.known.margin.value) < self.known.alpha / 2

    def describe_gain(self) -> str:
        p = self.known.p_gain
        text = self.describe({self.roles.judged: 1, self.roles.baseline: -1}, p)
        margin = self.known.margin
        return f"{text} The margin is {margin.value:.3g} ({margin.words})."

    def describe_lacking_groups(self) -> str:
        """Say how many groups of test images equivalence lacks; empty where it lacks more."""
        gain, margin, fewest = self.shown_gain, self.known.margin.value, self.evidence.fewest_groups
        but_for_groups, level = replace(gain, resolution=0.0).p_within(margin), self.known.strictest
        if not fewest or but_for_groups >= level or self.is_shown(self.known.p_equivalent):
            return ""
        factor = gain.resolution / gain.find_resolution(margin, level)
        return (
            "The seeds agree well enough to show equivalence, but it takes "
            f"{math.floor(fewest * factor) + 1} groups of test images (patients, or sets of "
            f"copies) of each class, and of some class there are {fewest}."
        )

    def describe(self, weights: Mapping[str, float], p: float | None = None) -> str:
        arm, baseline = weights
        found = self.evidence.estimate(weights)
        if found is None:
            return f"{arm} minus {baseline} cannot be tested."
        mean, (low, high) = found.mean, found.interval(self.known.alpha)
        if not METRICS[self.evidence.endpoint].higher_is_better:  # as the metric is printed
            mean, low, high = -mean, -high, -low
        level = format_level(self.known.alpha)
        p = found.p_other_than() if p is None else p
        return (
            f"{arm} minus {baseline}: {self.endpoint} {mean:+.3f} over {found.n_seeds} seeds, "
            f"{level} interval {low:+.3f} to {high:+.3f}, p {format_p(p)}."
        )

    def describe_repeated(self, arm: str) -> str:
        seeds = self.evidence.repeated[arm]
        repeat = "repeat" if len(seeds) > 1 else "repeats"
        return f"{name_seeds(seeds)} of {arm} {repeat} the predictions of an earlier one"

    def describe_auc(self, arm: str) -> str:
        found = self.evidence.estimate({arm: 1}, AUC)
        if found is None:
            return f"{arm}: AUC unknown"
        low, high = found.interval(self.known.alpha)
        return f"{arm}: AUC {found.mean:.3f}, interval {low:.3f} to {high:.3f}"

    def list_turned(self) -> list[str]:
        """List the arms that rank the classes the wrong way round, each with its AUC.

        On a single seed, that counts only where something was learned: untrained networks rank the
        classes either way, by their first weights. So may what is tested on other masks than it was
        trained on.
        """
        roles, found = self.roles, list[str]()
        learned = any(self.is_above_chance(arm) for arm in (roles.judged, roles.baseline))
        either_way = {one.name for one in roles.controls if one.gain_must_survive}
        arms = [roles.judged, roles.baseline, *(one.name for one in roles.controls)]
        for arm in arms:
            seeds = self.list_below_chance(arm, n_arms=len(arms))
            if self.is_below_chance(arm, n_arms=len(arms)):
                found.append(self.describe_auc(arm))
            elif learned and seeds and arm not in either_way:
                highest = max(self.evidence.metrics[AUC].values[arm][seed] for seed in seeds)
                at_most = " or less" if len(seeds) > 1 else ""
                found.append(f"{arm} on {name_seeds(seeds)}: AUC {highest:.3f}{at_most}")
        return found

    def describe_share(self, control: ControlRole) -> str:
        roles, name = self.roles, control.name
        share = self.evidence.estimate_share(name, roles.judged, roles.baseline, self.known.alpha)
        if share is None:
            return ""
        if share.share <= 0:
            return f"{name} does not share the gain."
        bounds = ""
        if share.low is not None and share.high is not None:
            bounds = f" ({format_percent(max(share.low, 0))} to {format_percent(share.high)})"
        does = "keeps" if control.gain_must_survive else "accounts for"
        return f"{name} {does} {format_percent(share.share)}{bounds} of the gain."


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def name_seeds(seeds: Sequence[int]) -> str:
    """Say which seeds: `seeds 0, 1, 2`; of many, the first ten."""
    plural = "s" if len(seeds) > 1 else ""
    shown = ", ".join(map(str, seeds[:10])) + (" …" if len(seeds) > 10 else "")
    return f"seed{plural} {shown}"
