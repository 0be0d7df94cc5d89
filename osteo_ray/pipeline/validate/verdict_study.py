"""How often the verdict on situations whose truth is known is right."""

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from osteo_ray.pipeline.validate.rates import Rate
from osteo_ray.pipeline.validate.situation import Situation, judge_situation

RIGHT = (0.95, 1.0)
"""Share of right verdicts that is promised in every situation."""


@dataclass(frozen=True)
class SituationFinding:
    """Verdicts in one situation.

    Attributes:
        situation: The situation.
        verdicts: How often each verdict was given, the most frequent first.
        right: How often one of the right verdicts was given.
    """

    situation: Situation
    verdicts: dict[str, int]
    right: Rate


def count_verdicts(situation: Situation, n_tables: int, seed: int = 0) -> SituationFinding:
    """Judge so many tables of a situation.

    Args:
        situation: What is drawn.
        n_tables: How many tables.
        seed: Of all random numbers.
    """
    verdicts = pd.Series(
        [judge_situation(situation, number, seed).overall.verdict for number in range(n_tables)]
    )
    return SituationFinding(
        situation,
        dict(Counter(verdicts).most_common()),
        Rate.of(verdicts.isin(situation.right), bar=RIGHT),
    )
