"""The rule of the verdict: from the evidence on one model to what may be claimed of it.

The *judged* arm is compared with the *baseline*, in the endpoint, on test images. *Shown* means
p < alpha, two-sided, by the inference that fits the split (`statistics.inference`): where every
seed tests the same images, the two-way error; else the more cautious of it and the corrected t. The
p of the gain, and that of equivalence, is corrected by Holm's method over models. Questions are
asked in this order, and the first that has an answer ends it:

1. Does a planned seed of the judged arm or of the baseline lack a result, or repeat the
   predictions of an earlier seed? Is an arm shown to rank the classes the wrong way round, be it
   on one seed alone? **inconclusive**
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
    (of `random_trained`, in which an honest gain survives: is at least half of it shown to vanish?)
11. Was a needed control not planned, or does a planned one lack or repeat seeds?
    **inconclusive**
12. Is the judged arm not shown to beat a control, or does one seem to account for half of the gain?
    **inconclusive**
13. Otherwise: **real gain**

Where fewer than ten groups of test images of some class were tested (patients, or sets of copies),
*equivalent*, *real loss* and *real gain* become **inconclusive**: what so few show may be luck.

The guard metrics are AUC and balanced accuracy: an endpoint that rises while one of them falls has
rewarded a classifier that got worse. A control that is beaten, and accounts for less than half of
the gain, is named with its share. What else is known (the rest of the image tells the class too, an
arm predicts one class throughout) is a remark, and overturns nothing.
"""

from collections.abc import Callable
from dataclasses import replace

from osteo_ray.base.formatting import format_p, say_there_are
from osteo_ray.experiment.case import GUARD_MARGIN, Case, name_seeds
from osteo_ray.experiment.evidence import AUC, Evidence
from osteo_ray.experiment.roles import Roles
from osteo_ray.experiment.verdict import Circumstances, Verdict
from osteo_ray.statistics.metrics.registry import METRICS

FEWEST_GROUPS = 10
"""Groups of test images of each class from which on they are taken to stand for others: errors that
are measured by resampling groups are too small with fewer (Cameron and Miller 2015)."""
SETTLED_BY_DIFFERENCE = ("equivalent", "real loss", "real gain")
"""Verdicts that rest on the difference of the judged arm and the baseline alone."""


def judge_model(evidence: Evidence, roles: Roles, known: Circumstances) -> Verdict:
    """Apply the rule of this module to one model."""
    return _Rule(evidence, roles, known).judge()


class _Rule(Case):
    """The questions of this module, in order."""

    def judge(self) -> Verdict:
        questions: tuple[Callable[[], Verdict | None], ...] = (
            self._ask_whether_whole,
            self._ask_whether_upside_down,
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
            shares = " ".join(self.describe_share(one) for one in self.roles.controls)
            found = self.say(
                "real gain",
                f"{self.roles.change} makes the classifier better, and no control accounts "
                f"for it. {self.describe_gain()} {shares}",
                "Confirm it on images from elsewhere before anybody relies on it.",
            )
        found = self._ask_whether_groups_are_few(found)
        return replace(found, remarks=tuple(self.list_remarks()))

    def _ask_whether_whole(self) -> Verdict | None:
        arms = (self.roles.judged, self.roles.baseline)
        undefined = sorted({seed for arm in arms for seed in self.evidence.list_undefined(arm)})
        if undefined:
            return self.say(
                "inconclusive",
                f"The evidence is not whole: {self.endpoint} is undefined on "
                f"{name_seeds(undefined)}, whose test images lack a class.",
                "Leave such seeds out, or split so that all test sets hold all classes.",
            )
        missing = [
            f"{arm}: {name_seeds(self.evidence.list_missing(arm))}"
            for arm in arms
            if self.evidence.list_missing(arm)
        ]
        if missing:
            return self.say(
                "inconclusive",
                f"The evidence is not whole: planned results are missing ({'; '.join(missing)}).",
                "Make what is missing, by running again what made the rest.",
            )
        repeated = [
            self.describe_repeated(arm)
            for arm in (self.roles.judged, self.roles.baseline)
            if arm in self.evidence.repeated
        ]
        if repeated:
            return self.say(
                "inconclusive",
                f"The evidence is not whole: {'; '.join(repeated)}, and a training that is counted "
                "twice says nothing of how trainings differ.",
                "Train each seed anew, with random numbers of its own.",
            )
        if self.gain is None:
            return self.say(
                "inconclusive",
                f"A test needs at least 2 seeds, but {say_there_are(len(self.evidence.seeds))}."
                if len(self.evidence.seeds) < 2
                else f"{self.endpoint} cannot be tested: most resampled test sets lack a "
                "class, so the luck of the test images cannot be measured.",
                "Add seeds, or test images of the rarer class.",
            )
        return None

    def _ask_whether_upside_down(self) -> Verdict | None:
        turned = self.list_turned()
        if not turned:
            return None
        return self.say(
            "inconclusive",
            f"The classes are ranked the wrong way round ({' and '.join(turned)}), and no "
            "difference means anything then.",
            "Check that probabilities, or labels, of two classes were not exchanged.",
        )

    def _ask_whether_groups_are_few(self, found: Verdict) -> Verdict:
        fewest = self.evidence.fewest_groups
        if found.verdict not in SETTLED_BY_DIFFERENCE or fewest is None or fewest >= FEWEST_GROUPS:
            return found
        groups = "group of images" if fewest == 1 else "groups of images"
        return self.say(
            "inconclusive",
            f"It would be {found.verdict}, but of some class only {fewest} {groups} (patients, or "
            f"sets of copies) were tested, and what fewer than {FEWEST_GROUPS} show may be their "
            f"luck, however many images they have. {self.describe_gain()}",
            "Test images of more patients.",
        )

    def _ask_whether_pipeline_leaks(self) -> Verdict | None:
        for arm, meaning in self.roles.shuffled:
            p = self.known.p_shuffled.get(arm)
            if self.is_shown(p):
                return self.say(
                    "leakage",
                    f"{meaning} {arm} is above chance in AUC, p {format_p(p)}.",
                    "Look for copies and groups that cross the split (`osteo-ray audit`).",
                )
        return None

    def _ask_whether_anything_learned(self) -> Verdict | None:
        judged, baseline = self.roles.judged, self.roles.baseline
        if self.is_above_chance(judged) or self.is_above_chance(baseline):
            return None
        if all(self.evidence.estimate({arm: 1}, AUC) is None for arm in (baseline, judged)):
            return self.say(
                "inconclusive",
                "Whether anything was learned cannot be told: AUC cannot be tested, as most "
                "resampled test sets lack a class.",
                "Add test images of the rarer class.",
            )
        found = " and ".join(self.describe_auc(arm) for arm in (baseline, judged))
        return self.say(
            "nothing learned",
            f"Neither {baseline} nor {judged} is shown to do better than chance ({found}), so they "
            "cannot be compared in any way that matters.",
            "Train longer, with another learning rate, larger images, pretrained weights or more "
            "data, until the baseline is above chance; then compare again. Where AUC is far above "
            "0.5 already, add seeds or test images instead.",
        )

    def _ask_whether_masks_remember(self) -> Verdict | None:
        roles, memorising = self.roles, self.roles.memorising
        if memorising is None or self.evidence.list_missing(memorising):
            return None
        if self.shown_gain.mean > 0 and self.is_shown(self.known.p_gain):
            return None
        if not all(self.is_better(memorising, one) for one in (roles.baseline, roles.judged)):
            return None
        return self.say(
            "leakage",
            f"{roles.if_only_memorising_gains} "
            f"{self.describe({memorising: 1, roles.baseline: -1})} {self.describe_gain()}",
            f"Report {roles.judged}, whose masks are made out of fold.",
        )

    def _ask_whether_equivalent(self) -> Verdict | None:
        margin = self.known.margin
        if not self.is_shown(self.known.p_equivalent) or self.list_guards(0):
            return None
        sure = (
            "A difference is shown, but it is smaller than "
            if self.is_shown(self.known.p_gain)
            else "The difference is shown to be smaller than "
        )
        return self.say(
            "equivalent",
            f"{sure}{margin.words}: {'masks change' if self.roles.is_masked else 'it changes'} "
            f"nothing that matters. {self.describe_gain()}",
            f"Leave {self.roles.credited} out, or state a smaller margin before the next run if "
            "smaller differences matter.",
        )

    def _ask_whether_loss(self) -> Verdict | None:
        if not (self.is_shown(self.known.p_gain) and self.shown_gain.mean < 0):
            return None
        better = self.list_guards(1)
        if better or not self.is_above_chance(self.roles.baseline):
            why = (
                f"{' and '.join(better)} is shown to get better"
                if better
                else f"{self.roles.baseline} itself is not shown to be above chance"
            )
            return self.say(
                "inconclusive",
                f"{self.endpoint} gets worse, but {why}. {self.describe_gain()}",
                "Compare in AUC, which no threshold moves.",
            )
        return self.say(
            "real loss",
            f"{self.roles.change} makes the classifier worse. {self.describe_gain()}",
            "Train on the whole images."
            if self.roles.is_masked
            else f"Keep {self.roles.baseline}.",
        )

    def _ask_whether_no_gain(self) -> Verdict | None:
        if self.is_shown(self.known.p_gain):
            return None
        return self.say(
            "inconclusive",
            "Neither a gain, nor a loss, nor equivalence is shown. "
            f"{self.describe_gain()} {self.describe_lacking_groups()}",
            "Ask `osteo-ray plan` which design can settle it: more seeds, folds, more images, or "
            "an external set.",
        )

    def _ask_whether_trustworthy(self) -> Verdict | None:
        worse, judged = self.list_guards(-1), self.roles.judged
        if worse:
            why = f"{' and '.join(worse)} is shown to get worse"
        elif not self.is_above_chance(judged):
            why = f"{judged} is not shown to be above chance in AUC"
        elif self._moves_threshold_only():
            why = "AUC is shown to stay within the margin, so only the threshold moved"
        else:
            return None
        return self.say(
            "inconclusive",
            f"{self.endpoint} gains, but {why}: the endpoint rewards a classifier that tells "
            f"the classes apart no better. {self.describe_gain()}",
            "Compare in AUC, or at a threshold that validation images set.",
        )

    def _moves_threshold_only(self) -> bool:
        if not METRICS[self.evidence.endpoint].has_threshold:
            return False
        change = self.evidence.estimate({self.roles.judged: 1, self.roles.baseline: -1}, AUC)
        return change is not None and self.is_shown(change.p_within(GUARD_MARGIN))

    def _ask_whether_copies_leak(self) -> Verdict | None:
        if not self.known.copies_leak:
            return None
        return self.say(
            "leakage",
            "Copies of test images were in training, so what looks like a gain may be memory. "
            + self.describe_gain(),
            "Keep copies together: --split grouped.",
        )

    def _ask_whether_a_control_accounts(self) -> Verdict | None:
        for control in self.roles.controls:
            found = self.exceeds_half(control)
            if found is None or self.evidence.list_missing(control.name):
                continue
            if found.mean > 0 and self.is_shown(found.p_other_than()):
                return self.say(
                    control.verdict,
                    f"There is a gain, but {control.meaning}. {self.describe_gain()} "
                    f"{self.describe_share(control)}",
                    f"Do not credit {self.roles.credited} with it: {control.name} "
                    + ("lacks it." if control.gain_must_survive else "does without."),
                )
        return None

    def _ask_whether_controls_are_missing(self) -> Verdict | None:
        planned = {control.name for control in self.roles.controls}
        missing = [f"{name} was not planned" for name in self.roles.needed if name not in planned]
        for name in (control.name for control in self.roles.controls):
            seeds = self.evidence.list_missing(name)
            if seeds:
                missing.append(f"{name} lacks {name_seeds(seeds)}")
            if name in self.evidence.repeated:
                missing.append(self.describe_repeated(name))
        if not missing:
            return None
        return self.say(
            "inconclusive",
            f"There is a gain, but it cannot be told what makes it: {'; '.join(missing)}. "
            + self.describe_gain(),
            "Run the controls on every seed; what is finished is not repeated.",
        )

    def _ask_whether_a_control_is_open(self) -> Verdict | None:
        open_controls = [
            control
            for control in self.roles.controls
            if not self.leaves_some(control)
            or (found := self.exceeds_half(control)) is None
            or found.mean >= 0
        ]
        if not open_controls:
            return None
        rivals = [one.name for one in open_controls if not one.gain_must_survive]
        tests = [one.name for one in open_controls if one.gain_must_survive]
        questions = [f"{' and '.join(rivals)} would account for at least half of it"] * bool(rivals)
        questions += [f"it survives in {' and '.join(tests)}"] * bool(tests)
        shares = " ".join(self.describe_share(one) for one in open_controls)
        return self.say(
            "inconclusive",
            f"There is a gain, but it is open whether {', and whether '.join(questions)}. "
            f"{self.describe_gain()} {shares}",
            "Add seeds, folds or test images.",
        )
