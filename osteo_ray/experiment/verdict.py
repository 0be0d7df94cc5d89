"""What a verdict is, and how the verdicts on several models are joined. The rule: `rule`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from osteo_ray.experiment.roles import NAMED_CONTROL

VERDICTS: dict[str, str] = {
    "real gain": "the judged arm beats the baseline, and no control accounts for it",
    "leakage": "the label reaches the classifier by a way that is not the image: the outline of "
    "the mask predicts it, or what the mask selects does, or masks remember labels, or copies of "
    "test images were in the training set, or shuffled labels could be learned",
    "second training": "there is a gain, but a second training on the original images accounts for "
    "at least half of it",
    "any crop": "there is a gain, but masks that ignore what is in the image account for at least "
    "half of it",
    "any region": "there is a gain, but the same penalty on random regions accounts for at least "
    "half of it",
    "shortcut outside the region": "there is a gain, but what the masks remove accounts for at "
    "least half of it",
    NAMED_CONTROL: "there is a gain, but a control accounts for at least half of it",
    "real loss": "the judged arm is worse than the baseline",
    "equivalent": "the difference is shown to be smaller than the margin",
    "nothing learned": "neither the judged arm nor the baseline does better than chance",
    "inconclusive": "nothing of the above is shown",
}
"""Every verdict and what it means, in words."""
SETTLED = frozenset(VERDICTS) - {"inconclusive", "nothing learned"}
"""Verdicts that further seeds are not needed for."""


@dataclass(frozen=True)
class Margin:
    """The smallest difference that matters.

    Attributes:
        value: In units of the endpoint, above 0.
        words: "your margin", "the default margin", with what it is relative to.
    """

    value: float
    words: str


@dataclass(frozen=True)
class Circumstances:
    """What else the rule needs to know of a model.

    Attributes:
        alpha: Error rate of this conclusion.
        p_gain: Two-sided p of judged minus baseline, after Holm's correction over models.
        p_equivalent: The p of two one-sided tests that it lies within the margin, after the same.
        n_models: Over how many models it is corrected.
        p_shuffled: Per arm on shuffled labels, the one-sided p that its AUC is above chance, after
            Holm's correction over models; None where it cannot be tested.
        margin: The smallest difference that matters.
        copies_leak: Copies of test images were in training.
    """

    alpha: float
    p_gain: float | None
    margin: Margin
    p_shuffled: Mapping[str, float | None] = field(default_factory=dict)
    copies_leak: bool = False
    p_equivalent: float | None = None
    n_models: int = 1

    @property
    def strictest(self) -> float:
        """Error rate of one model in the first and strictest step of Holm's method."""
        return self.alpha / self.n_models


@dataclass(frozen=True)
class Verdict:
    """A verdict in words: what it is, why, and what to do next.

    Attributes:
        model: Its name; None for the verdict on all models.
        verdict: Its name.
        reason: Why, with the figures.
        next: What to do.
        remarks: What else is known; it overturned nothing.
    """

    model: str | None
    verdict: str
    reason: str
    next: str = ""
    remarks: tuple[str, ...] = ()


_PRECEDENCE: tuple[str, ...] = (
    "leakage",
    "real gain",
    "real loss",
    "second training",
    "any crop",
    "any region",
    "shortcut outside the region",
    NAMED_CONTROL,
    "equivalent",
    "inconclusive",
    "nothing learned",
)


def judge_overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Join the verdicts on all models into one; its `model` is None.

    Models that settle nothing stand aside: one more network that learned nothing overturns no
    verdict. A gain of one model and a loss of another leave the question open.
    """
    if not verdicts:
        return Verdict(None, "inconclusive", "No arm was compared with the baseline.")
    if len(verdicts) == 1:
        return replace(verdicts[0], model=None)
    names = {verdict.verdict for verdict in verdicts}
    listing = "; ".join(f"{verdict.model}: {verdict.verdict}" for verdict in verdicts)
    if {"real gain", "real loss"} <= names and "leakage" not in names:
        return Verdict(
            None, "inconclusive", f"The models contradict each other ({listing}).",
            "Judge each model by itself.",
        )  # fmt: skip
    chosen = next(name for name in _PRECEDENCE if name in names)
    of_chosen = [verdict for verdict in verdicts if verdict.verdict == chosen]
    if chosen not in SETTLED:
        start = "No model settles it"
    elif len(names) == 1:
        start = "All models agree"
    else:
        start = f"This is shown for {' and '.join(str(one.model) for one in of_chosen)}"
    return Verdict(None, chosen, f"{start} ({listing}). {of_chosen[0].reason}", of_chosen[0].next)
