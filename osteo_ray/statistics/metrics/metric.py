"""What a metric is: its formula and all that is said of it elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.sample import Sample


@dataclass(frozen=True)
class Metric:
    """A metric of a trained model on a set of images; its highest value is 1.

    Attributes:
        name: In settings, tables and files.
        label: In reports, at the start of a line.
        measure: Its formula. For a `Sample` it returns one value; for a `ResampledSample`, a value
            per draw, float64, (n_draws,). NaN where the images leave it undefined.
        higher_is_better: False for a metric that is an error.
        lowest: The lowest value that it can take.
        share_of: Which images it is the share of, if it is the share of images classified
            correctly; None for every other metric.
        may_be_endpoint: Whether a comparison may rest on it.
        short_label: A label for narrow tables; None for `label`.
    """

    name: str
    label: str
    measure: Callable[[Sample], Values]
    higher_is_better: bool = True
    lowest: float = 0.0
    share_of: Literal["all", "positive", "negative"] | None = None
    may_be_endpoint: bool = True
    short_label: str | None = None

    @property
    def heading(self) -> str:
        """The label in narrow tables."""
        return self.short_label or self.label

    @property
    def sign(self) -> int:
        """1 where a larger value is better, -1 where a smaller one is."""
        return 1 if self.higher_is_better else -1
