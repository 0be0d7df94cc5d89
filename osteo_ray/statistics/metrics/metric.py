"""What a metric is: its formula and all that is said of it elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.sample import Sample


@dataclass(frozen=True)
class Metric:
    """A metric of a trained model on a set of images.

    Attributes:
        name: In settings, tables and files.
        label: In reports, at the start of a line.
        measure: Its formula. For a `Sample` it returns one value; for a `ResampledSample`, a value
            per draw, float64, (n_draws,). NaN where the images leave it undefined.
        higher_is_better: False for a metric that is an error.
        lowest: The lowest value that it can take.
        highest: The highest one.
        share_of: Which images it is the share of, if it is the share of images classified
            correctly; None for every other metric.
        refused_because: Why no comparison may rest on it, and what to take instead, as a clause;
            None for a metric that may be an endpoint.
        margin: The smallest difference that matters, unless the user says another.
        margin_is_relative: The margin is a share of the baseline's value, as for an error whose
            size depends on how hard the images are.
        has_threshold: It depends on a threshold, which can move while scores stay in order.
        is_one_sided: It looks at one class, so that it matters which one is positive.
        is_ordinal: It needs an order of the classes, and is left out where none is given.
        short_label: A label for narrow tables; None for `label`.
    """

    name: str
    label: str
    measure: Callable[[Sample], Values]
    higher_is_better: bool = True
    lowest: float = 0.0
    highest: float = 1.0
    share_of: Literal["all", "positive", "negative"] | None = None
    refused_because: str | None = None
    margin: float = 0.03
    margin_is_relative: bool = False
    has_threshold: bool = False
    is_one_sided: bool = False
    is_ordinal: bool = False
    short_label: str | None = None

    @property
    def may_be_endpoint(self) -> bool:
        """Whether a comparison may rest on it."""
        return self.refused_because is None

    @property
    def heading(self) -> str:
        """The label in narrow tables."""
        return self.short_label or self.label

    @property
    def sign(self) -> int:
        """1 where a larger value is better, -1 where a smaller one is."""
        return 1 if self.higher_is_better else -1

    def cut_difference(self, value: float) -> float:
        """Cut off a value at the differences that two of its values can have; NaN stays NaN."""
        span = self.highest - self.lowest
        return float(np.clip(value, -span, span))
