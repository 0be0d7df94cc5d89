"""Every conclusion that a run has drawn, and the error rate that is left for the next.

Whoever adds seeds until p < .05, or changes the endpoint until something is shown, finds a false
gain far more often than in one run of twenty. So each conclusion of a run is recorded, and each
further one is drawn at an error rate of its own. All of them together, however many, stay below
alpha: the first has 80 % of it, each further one half of what is left. A conclusion that only
repeats an earlier one (the same seeds, endpoint and margin) is that earlier one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from osteo_ray.base.mappings import hash_settings
from osteo_ray.statistics.metrics.registry import METRICS

FIRST_SHARE = 0.8
"""Of alpha, for the first conclusion; the rest is kept for those after it."""


def share_alpha(number: int) -> float:
    """Return the share of alpha that a conclusion may spend; all shares together sum to 1.

    Args:
        number: Of the conclusion, from 1.

    Example:
        >>> [round(share_alpha(number), 4) for number in (1, 2, 3)]
        [0.8, 0.1, 0.05]
        >>> round(sum(share_alpha(number) for number in range(1, 60)), 9)
        1.0
    """
    if number < 1:
        raise ValueError(f"Expected the number of a conclusion from 1, but got {number}.")
    return FIRST_SHARE if number == 1 else math.ldexp(1 - FIRST_SHARE, 1 - number)


def identify_conclusion(
    *,
    metric: str,
    margin: float | None,
    alpha: float,
    positive_class: str,
    judged: str,
    tested: Mapping[str, Sequence[int]],
    ordinal: Sequence[str] = (),
) -> str:
    """Return a hash of what a conclusion on the gain rests on.

    Controls are not part of it: they take a gain away, and never make one.

    Args:
        metric: The endpoint.
        margin: As the user states it; None for the default.
        alpha: Error rate of the run.
        positive_class: Its name.
        judged: The arm whose gain is judged.
        tested: Per model, the seeds that have the judged arm and the baseline.
        ordinal: The order of the classes; it counts if the endpoint depends on it.
    """
    seeds = {model: sorted(map(int, numbers)) for model, numbers in tested.items()}
    order = [list(ordinal)] if METRICS[metric].is_ordinal else []
    return hash_settings([metric, margin, alpha, positive_class, judged, seeds, *order])


def number_conclusion(earlier: Sequence[Mapping[str, Any]], key: str) -> int:
    """Return the number of a conclusion among those of its run, from 1.

    Args:
        earlier: Those that the run has drawn, each with a `key`.
        key: Of this one.

    Example:
        >>> number_conclusion([], "a"), number_conclusion([{"key": "a"}, {"key": "b"}], "b")
        (1, 2)
        >>> number_conclusion([{"key": "a"}], "b")
        2
    """
    keys = list(dict.fromkeys(str(one["key"]) for one in earlier))
    return keys.index(key) + 1 if key in keys else len(keys) + 1
