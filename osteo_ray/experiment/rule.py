"""The rule of the verdict: from the evidence on one model to what may be claimed of it.

The *judged* arm is compared with the *baseline*, in the endpoint, on test images. *Shown* means
p < alpha, two-sided, by the inference that fits the split (`statistics.inference`): where every
seed tests the same images, the two-way error; else the more cautious of it and the corrected t. The
p of the gain is corrected by Holm's method over models. Questions are asked in this order, and the
first that has an answer ends it:

1. Does a planned seed of the judged arm or of the baseline lack a result? **inconclusive**
2. Is AUC with shuffled labels shown to be above chance? **leakage**
3. Is neither the judged arm nor the baseline shown to be above chance in AUC? **nothing learned**
4. Is no gain shown, but masks by models that saw the labels are shown to gain, and to gain more?
   **leakage**
5. Is the difference shown to lie inside ± margin (two one-sided tests), and no guard metric shown
   to change by more? **equivalent**
6. Is a loss shown, with a baseline above chance and no guard metric shown to improve? **real loss**
   (a loss of which that cannot be said: **inconclusive**)
7. Is no gain shown? **inconclusive**
8. Is a guard metric shown to get worse, is the judged arm not above chance, or did only the
   threshold move? **inconclusive**
9. Were copies of test images in training? **leakage**
10. Is a control shown to account for at least half of the gain? **what the control stands for**
11. Was a needed control not planned, or does a planned one lack seeds? **inconclusive**
12. Is the judged arm not shown to beat a control, or does one seem to account for half of the gain?
    **inconclusive**
13. Otherwise: **real gain**

The guard metrics are AUC and balanced accuracy: an endpoint that rises while one of them falls has
rewarded a classifier that got worse. A control that is beaten, and accounts for less than half of
the gain, is named with its share. What else is known (the rest of the image tells the class too, an
arm predicts one class throughout) is a remark, and overturns nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from osteo_ray.base.formatting import format_level, format_p, format_percent
from osteo_ray.experiment.evidence import AUC, Evidence
from osteo_ray.experiment.roles import Roles
from osteo_ray.experiment.verdict import Circumstances, Verdict
from osteo_ray.statistics.inference import Estimate
from osteo_ray.statistics.metrics.registry import METRICS

CHANCE = 0.5
"""AUC of a classifier that knows nothing."""
HALF = 0.5
"""Share of the gain from which on a control is said to account for it."""
_GUARD_MARGIN = 0.03  # of AUC and balanced accuracy, whatever the endpoint
COLLAPSED = 0.5
"""Share of an arm's seeds with one class predicted throughout, from which on it counts as such."""


def judge_model(evidence: Evidence, roles: Roles, known: Circumstances) -> Verdict:
    """Apply the rule of this module to one model."""
    return _Case(evidence, roles, known).judge()


class _Case:
    """The evidence on one model beside the circumstances, with the questions as methods."""

    def __init__(self, evidence: Evidence, roles: Roles, known: Circumstances) -> None:
        self.evidence, self.roles, self.known = evidence, roles, known
        self.gain = evidence.estimate({roles.judged: 1, roles.baseline: -1})

    # What is shown

    def is_shown(self, p: float | None) -> bool:
        return p is not None and p < self.known.alpha

    def is_better(self, arm: str, other: str, metric: str | None = None) -> bool:
        found = self.evidence.estimate({arm: 1, other: -1}, metric)
        return found is not None and found.mean > 0 and self.is_shown(found.p_other_than())

    def is_above_chance(self, arm: str) -> bool:
        found = self.evidence.estimate({arm: 1}, AUC, above=CHANCE)
        return found is not None and found.mean > 0 and self.is_shown(found.p_other_than())

    def accounts_for_half(self, control: str) -> Estimate | None:
        """Estimate by how much a control exceeds half of the gain."""
        weights = {control: 1, self.roles.judged: -HALF, self.roles.baseline: -(1 - HALF)}
        return self.evidence.estimate(weights)

    # The verdict

    def judge(self) -> Verdict:
        questions: tuple[Callable[[], Verdict | None], ...] = (
            self._ask_whether_whole,
            self._ask_whether_pipeline_leaks,
            self._ask_whether_anything_learned,
            self._ask_whether_masks_remember,
            self._ask_whether_equivalent,
            self._ask_whether_loss,
            self._ask_whether_no_gain,
            self._ask_whether_trustworthy,
            self._ask_whether_copies_leak,
            self._ask_whether_a_control_accounts,
            self._ask_whether_controls_are_missing,
            self._ask_whether_a_control_is_open,
        )
        found = next((answer for ask in questions if (answer := ask()) is not None), None)
        if found is None:
            shares = " ".join(self._describe_share(one.name) for one in self.roles.controls)
            found = self._say(
                "real gain",
                f"{self.roles.change} makes the classifier better, and no control accounts "
                f"for it. {self._describe_gain()} {shares}",
                "Confirm it on images from elsewhere before anybody relies on it.",
            )
        return replace(found, remarks=tuple(self._list_remarks()))

    def _ask_whether_whole(self) -> Verdict | None:
        missing = [
            f"{arm}: {_list_numbers('seed', self.evidence.list_missing(arm))}"
            for arm in (self.roles.judged, self.roles.baseline)
            if self.evidence.list_missing(arm)
        ]
        if missing:
            return self._say(
                "inconclusive",
                f"The evidence is not whole: planned results are missing ({'; '.join(missing)}).",
                "Run the same command again to make what is missing.",
            )
        if self.gain is None:
            return self._say(
                "inconclusive",
                f"A comparison needs at least 2 seeds, but there are {len(self.evidence.seeds)}"
                if len(self.evidence.seeds) < 2
                else f"{self._endpoint} cannot be tested: most resampled test sets lack a "
                "class, so the luck of the test images cannot be measured.",
                "Add seeds, or test images of the rarer class.",
            )
        return None

    def _ask_whether_pipeline_leaks(self) -> Verdict | None:
        for arm, meaning in self.roles.shuffled:
            p = self.known.p_shuffled.get(arm)
            if self.is_shown(p):
                return self._say(
                    "leakage",
                    f"{meaning} {arm} is above chance in AUC, p {format_p(p)}.",
                    "Look for copies and groups that cross the split (`osteo-ray audit`).",
                )
        return None

    def _ask_whether_anything_learned(self) -> Verdict | None:
        judged, baseline = self.roles.judged, self.roles.baseline
        if self.is_above_chance(judged) or self.is_above_chance(baseline):
            return None
        found = " and ".join(self._describe_auc(arm) for arm in (baseline, judged))
        return self._say(
            "nothing learned",
            f"Neither {baseline} nor {judged} is shown to do better than chance ({found}), so they "
            "cannot be compared in any way that matters.",
            "Train longer, with another learning rate, larger images, pretrained weights or more "
            "data, until the baseline is above chance; then compare again.",
        )

    def _ask_whether_masks_remember(self) -> Verdict | None:
        roles, memorising = self.roles, self.roles.memorising
        if memorising is None or self.evidence.list_missing(memorising):
            return None
        if self._gain.mean > 0 and self.is_shown(self.known.p_gain):
            return None
        if not all(self.is_better(memorising, one) for one in (roles.baseline, roles.judged)):
            return None
        return self._say(
            "leakage",
            f"{roles.if_only_memorising_gains} "
            f"{self._describe({memorising: 1, roles.baseline: -1})} {self._describe_gain()}",
            f"Report {roles.judged}, whose masks are made out of fold.",
        )

    def _ask_whether_equivalent(self) -> Verdict | None:
        margin = self.known.margin
        if not self.is_shown(self._gain.p_within(margin.value)) or self._list_guards(0):
            return None
        sure = (
            "A difference is shown, but it is smaller than "
            if self.is_shown(self.known.p_gain)
            else "The difference is shown to be smaller than "
        )
        return self._say(
            "equivalent",
            f"{sure}{margin.words}: {'masks change' if self.roles.is_masked else 'it changes'} "
            f"nothing that matters. {self._describe_gain()}",
            f"Leave {self.roles.credited} out, or state a smaller margin before the next run if "
            "smaller differences matter.",
        )

    def _ask_whether_loss(self) -> Verdict | None:
        if not (self.is_shown(self.known.p_gain) and self._gain.mean < 0):
            return None
        better = self._list_guards(1)
        if better or not self.is_above_chance(self.roles.baseline):
            why = (
                f"{' and '.join(better)} is shown to get better"
                if better
                else f"{self.roles.baseline} itself is not shown to be above chance"
            )
            return self._say(
                "inconclusive",
                f"{self._endpoint} gets worse, but {why}. {self._describe_gain()}",
                "Compare in AUC, which no threshold moves.",
            )
        return self._say(
            "real loss",
            f"{self.roles.change} makes the classifier worse. {self._describe_gain()}",
            "Train on the whole images."
            if self.roles.is_masked
            else f"Keep {self.roles.baseline}.",
        )

    def _ask_whether_no_gain(self) -> Verdict | None:
        if self.is_shown(self.known.p_gain):
            return None
        return self._say(
            "inconclusive",
            f"Neither a gain, nor a loss, nor equivalence is shown. {self._describe_gain()}",
            "Ask `osteo-ray plan` which design can settle it: more seeds, folds, more images, or "
            "an external set.",
        )

    def _ask_whether_trustworthy(self) -> Verdict | None:
        worse, judged = self._list_guards(-1), self.roles.judged
        if worse:
            why = f"{' and '.join(worse)} is shown to get worse"
        elif not self.is_above_chance(judged):
            why = f"{judged} is not shown to be above chance in AUC"
        elif self._moves_threshold_only():
            why = "AUC is shown to stay within the margin, so only the threshold moved"
        else:
            return None
        return self._say(
            "inconclusive",
            f"{self._endpoint} gains, but {why}: the endpoint rewards a classifier that tells "
            f"the classes apart no better. {self._describe_gain()}",
            "Compare in AUC, or at a threshold that validation images set.",
        )

    def _moves_threshold_only(self) -> bool:
        if not METRICS[self.evidence.endpoint].has_threshold:
            return False
        change = self.evidence.estimate({self.roles.judged: 1, self.roles.baseline: -1}, AUC)
        return change is not None and self.is_shown(change.p_within(_GUARD_MARGIN))

    def _ask_whether_copies_leak(self) -> Verdict | None:
        if not self.known.copies_leak:
            return None
        return self._say(
            "leakage",
            "Copies of test images were in training, so what looks like a gain may be memory. "
            + self._describe_gain(),
            "Keep copies together: --split grouped.",
        )

    def _ask_whether_a_control_accounts(self) -> Verdict | None:
        for control in self.roles.controls:
            found = self.accounts_for_half(control.name)
            if found is None or self.evidence.list_missing(control.name):
                continue
            if found.mean > 0 and self.is_shown(found.p_other_than()):
                return self._say(
                    control.verdict,
                    f"There is a gain, but {control.meaning}. {self._describe_gain()} "
                    f"{self._describe_share(control.name)}",
                    f"Do not credit {self.roles.credited} with it: {control.name} does without.",
                )
        return None

    def _ask_whether_controls_are_missing(self) -> Verdict | None:
        planned = {control.name for control in self.roles.controls}
        missing = [f"{name} was not planned" for name in self.roles.needed if name not in planned]
        for name in (control.name for control in self.roles.controls):
            seeds = self.evidence.list_missing(name)
            if seeds:
                missing.append(f"{name} lacks {_list_numbers('seed', seeds)}")
        if not missing:
            return None
        return self._say(
            "inconclusive",
            f"There is a gain, but it cannot be told what makes it: {'; '.join(missing)}. "
            + self._describe_gain(),
            "Run the controls on every seed; what is finished is not repeated.",
        )

    def _ask_whether_a_control_is_open(self) -> Verdict | None:
        open_controls = [
            control.name
            for control in self.roles.controls
            if not self.is_better(self.roles.judged, control.name)
            or (found := self.accounts_for_half(control.name)) is None
            or found.mean >= 0
        ]
        if not open_controls:
            return None
        shares = " ".join(self._describe_share(name) for name in open_controls)
        return self._say(
            "inconclusive",
            f"There is a gain, but it is open whether {' and '.join(open_controls)} would account "
            f"for at least half of it. {self._describe_gain()} {shares}",
            "Add seeds, folds or test images.",
        )

    # Words

    @property
    def _endpoint(self) -> str:
        return METRICS[self.evidence.endpoint].label

    @property
    def _gain(self) -> Estimate:
        assert self.gain is not None  # asked first
        return self.gain

    def _say(self, verdict: str, reason: str, then: str) -> Verdict:
        return Verdict(self.evidence.model, verdict, " ".join(reason.split()), then)

    def _list_guards(self, direction: int) -> list[str]:
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
                if abs(change.mean) > _GUARD_MARGIN:
                    found.append(metric)
            elif change.mean * direction > 0:
                found.append(metric)
        return found

    def _collapses(self, arm: str) -> bool:
        return self.evidence.collapsed.get(arm, 0.0) >= COLLAPSED

    def _list_remarks(self) -> list[str]:
        remarks = [
            f"{arm} predicts one class for all test images on {format_percent(share)} of its seeds."
            for arm, share in self.evidence.collapsed.items()
            if share >= COLLAPSED and arm in (self.roles.judged, self.roles.baseline)
        ]
        remarks += [
            f"{_capitalise(control.if_as_good_as_baseline)}."
            for control in self.roles.controls
            if control.if_as_good_as_baseline and self._is_no_worse(control.name)
        ]
        for oracle in self.roles.oracles:
            found = self.evidence.estimate({self.roles.judged: 1, oracle: -1})
            if found is not None:
                remarks.append(
                    f"{oracle}, whose masks know the label, is no result: "
                    f"{self._describe({self.roles.judged: 1, oracle: -1})}"
                )
        if not self.roles.controls:
            remarks.append(
                "No control was given: this says whether there is a gain, not what makes it."
            )
        return remarks

    def _is_no_worse(self, arm: str) -> bool:
        found = self.evidence.estimate({arm: 1, self.roles.baseline: -1})
        return found is not None and found.p_above(-self.known.margin.value) < self.known.alpha / 2

    def _describe_gain(self) -> str:
        p = self.known.p_gain
        text = self._describe({self.roles.judged: 1, self.roles.baseline: -1}, p)
        margin = self.known.margin
        return f"{text} The margin is {margin.value:.3g} ({margin.words})."

    def _describe(self, weights: Mapping[str, float], p: float | None = None) -> str:
        arm, baseline = weights
        found = self.evidence.estimate(weights)
        if found is None:
            return f"{arm} minus {baseline} cannot be tested."
        low, high = found.interval(self.known.alpha)
        level = format_level(self.known.alpha)
        p = found.p_other_than() if p is None else p
        return (
            f"{arm} minus {baseline}: {self._endpoint} {found.mean:+.3f} over "
            f"{found.n_seeds} seeds, {level} interval {low:+.3f} to {high:+.3f}, "
            f"p {format_p(p)}."
        )

    def _describe_auc(self, arm: str) -> str:
        found = self.evidence.estimate({arm: 1}, AUC)
        if found is None:
            return f"{arm}: AUC unknown"
        low, high = found.interval(self.known.alpha)
        return f"{arm}: AUC {found.mean:.3f}, interval {max(low, 0):.3f} to {min(high, 1):.3f}"

    def _describe_share(self, control: str) -> str:
        roles = self.roles
        share = self.evidence.estimate_share(
            control, roles.judged, roles.baseline, self.known.alpha
        )
        if share is None:
            return ""
        if share.share <= 0:
            return f"{control} does not share the gain."
        bounds = ""
        if share.low is not None and share.high is not None:
            bounds = f" ({format_percent(max(share.low, 0))} to {format_percent(share.high)})"
        return f"{control} accounts for {format_percent(share.share)}{bounds} of the gain."


def _list_numbers(noun: str, numbers: Sequence[int]) -> str:
    plural = "s" if len(numbers) > 1 else ""
    shown = ", ".join(map(str, numbers[:10])) + (" …" if len(numbers) > 10 else "")
    return f"{noun}{plural} {shown}"


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]
