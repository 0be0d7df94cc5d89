"""What an arm is for: the roles from which contrasts, verdicts and tables are derived.

An arm has exactly one role. The verdict goes over the roles of the planned arms and knows no arm by
name, so a new control takes part in it as soon as it is registered.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Explanation = Literal[
    "leakage", "second training", "any crop", "any region", "shortcut outside the region"
]
EXPLANATIONS: tuple[Explanation, ...] = get_args(Explanation)
"""What a gain is called that a control explains, in the order in which controls are examined."""
Required = Literal["always", "if training goes on", "if planned"]

CROP_PERFORMS_AS_WELL = "masks that ignore what is in the image perform as well"
"""The words of every control that crops without looking."""


@dataclass(frozen=True)
class Baseline:
    """The arm that the others are compared with; there is exactly one."""


@dataclass(frozen=True)
class Candidate:
    """An arm whose gain over the baseline may be judged.

    Attributes:
        noun: What its classifier is trained on, for sentences: "Training on …".
        precedence: Of the planned candidates, the one with the highest precedence is judged.
        if_only_lower_gains: What it means if a candidate of lower precedence gains although this
            one does not: the reason of the verdict *leakage*. None if it means nothing.
    """

    noun: str
    precedence: int = 0
    if_only_lower_gains: str | None = None


@dataclass(frozen=True)
class Control:
    """An arm that explains the gain away if it performs as well as the judged arm.

    Attributes:
        verdict: What a gain is called that this control explains.
        words: Why, as a clause that follows "so": "a second training performs as well".
        gain_must_survive: The other way round: the control explains the gain if it does *not*
            perform as well, because an honest gain would show in it as well.
        required: When a real gain needs this control. A control that is planned always counts:
            `if planned` means that it may be left out.
        if_better_than_baseline: What it means, for a judged arm that gains, if this control itself
            is better than the baseline. None if that means nothing.
        if_as_good_as_baseline: What it means, as a clause, if this control is not worse than the
            baseline by the margin or more: a remark beside the verdict. None if that means nothing.
    """

    verdict: Explanation
    words: str
    gain_must_survive: bool = False
    required: Required = "if planned"
    if_better_than_baseline: str | None = None
    if_as_good_as_baseline: str | None = None

    @property
    def place(self) -> float:
        """Its place in the order in which controls are examined."""
        # What a crop or a second training makes of itself hides what masks encode; what the masks
        # remove cannot.
        last = EXPLANATIONS.index("any crop") + 0.5
        return last if self.gain_must_survive else EXPLANATIONS.index(self.verdict)

    def is_required(self, *, goes_on: bool) -> bool:
        """Tell whether a real gain needs this control even if it was not planned.

        Args:
            goes_on: The masked arms start from the weights of the first model.
        """
        return self.required == "always" or (goes_on and self.required == "if training goes on")


@dataclass(frozen=True)
class Oracle:
    """An arm whose masks know the label of test images: what leakage looks like, never a result.

    Attributes:
        words: What it means if a judged arm that gains is no worse than this one, as a clause that
            follows "so". The verdict is *leakage*.
    """

    words: str


@dataclass(frozen=True)
class SanityCheck:
    """An arm that must be at chance.

    Attributes:
        words: What it means if it is better than chance, as a sentence. The verdict is *leakage*.
    """

    words: str


@dataclass(frozen=True)
class Reference:
    """An arm that is compared with the baseline but takes no part in the verdict."""


Role = Baseline | Candidate | Control | Oracle | SanityCheck | Reference
