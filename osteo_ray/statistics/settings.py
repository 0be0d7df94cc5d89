"""Settings of the analysis."""

import itertools
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from osteo_ray.base.settings import OnCommandLine, Settings
from osteo_ray.statistics.metrics.registry import METRICS, check_endpoint, list_endpoints

Endpoint = Annotated[str, AfterValidator(check_endpoint)]
"""The name of a metric that a comparison may rest on."""
Spending = Literal["obrien_fleming", "pocock"]


def read_order(names: Any) -> Any:
    """Return the classes in an order that is written with `<`, or as they are.

    Example:
        >>> read_order("normal < osteopenia<osteoporosis"), read_order(["a<b<c"]), read_order(["a"])
        (('normal', 'osteopenia', 'osteoporosis'), ('a', 'b', 'c'), ['a'])
    """
    text = names[0] if isinstance(names, list | tuple) and len(names) == 1 else names
    if isinstance(text, str) and ("<" in text or text is names):
        return tuple(name.strip() for name in text.split("<"))
    return names


Order = Annotated[tuple[str, ...], BeforeValidator(read_order)]
"""All classes, from the least grade to the most."""


class StatisticsSettings(Settings):
    """The plan of the analysis, fixed before the run."""

    metric: Endpoint = Field("auc", description=f"Primary endpoint: {', '.join(list_endpoints())}.")
    ordinal: Annotated[Order, OnCommandLine("--ordinal")] = Field(
        (),
        description="The classes as grades, from least to most, as in 'normal<osteopenia<"
        "osteoporosis' or as single words: reports quadratic kappa and the mean error in grades.",
    )
    alpha: float = Field(0.05, gt=0, lt=0.5, description="Error rate after Holm's correction.")
    margin: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Differences inside ± margin count as equivalent; by default that of the "
        "endpoint. A share of the baseline's value where the endpoint is an error (brier).",
    )
    prevalence: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of the positive class at which predictive values are given; by default "
        "that of the test images.",
    )

    power: float = Field(
        0.8,
        gt=0.5,
        lt=1,
        description="Wanted probability to detect a true difference of the margin.",
    )
    looks: tuple[int, ...] = Field(
        (), description="Numbers of seeds after which the primary contrast is tested early."
    )
    spending: Spending = Field(
        "obrien_fleming", description="How looks spend the error rate (Lan and DeMets)."
    )
    disagreement: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Assumed share of test images that two arms classify differently. Only the "
        "plan needs it, and only without an earlier run.",
    )

    @property
    def effect(self) -> float:
        """The margin as stated, or the endpoint's own; of an error, a share of the baseline's."""
        return METRICS[self.metric].margin if self.margin is None else self.margin

    @field_validator("ordinal")
    @classmethod
    def _check_ordinal(cls, ordinal: tuple[str, ...]) -> tuple[str, ...]:
        if ordinal and (len(ordinal) < 3 or len(set(ordinal)) < len(ordinal) or "" in ordinal):
            raise ValueError(
                "Expected three or more different classes in their order, such as "
                f"normal<osteopenia<osteoporosis, but got {'<'.join(ordinal)}."
            )
        return ordinal

    @model_validator(mode="after")
    def _check_metric(self) -> Self:
        if METRICS[self.metric].is_ordinal and not self.ordinal:
            raise ValueError(
                f"Expected the order of the classes with the endpoint {self.metric}, but got none. "
                "Say it by --ordinal, such as 'normal<osteopenia<osteoporosis'."
            )
        return self

    @field_validator("looks")
    @classmethod
    def _check_looks(cls, looks: tuple[int, ...]) -> tuple[int, ...]:
        if (looks and looks[0] < 2) or any(a >= b for a, b in itertools.pairwise(looks)):
            raise ValueError(f"Expected increasing looks of at least 2 seeds, but got {looks}.")
        return looks
