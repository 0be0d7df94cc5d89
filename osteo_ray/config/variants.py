"""Settings of commands that plan, vary or repeat a comparison."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from osteo_ray.base.paths import locate_file
from osteo_ray.config.compare import CompareConfig, Seeds
from osteo_ray.config.tuning import TUNING_SEED

SOURCES = Seeds._fields
"""The sources of randomness of a training."""


class VarianceConfig(CompareConfig):
    """Estimate how much of the variance of a result each source of randomness contributes.

    Seed number 0 is the base; each other one changes a single source and leaves the rest.
    """

    arms: tuple[str, ...] = Field(("paper",), min_length=1, description="Arms to train.")
    grid: bool = Field(False, description="Not needed here, since nothing is compared.")
    test_data: None = Field(None, description="Not available here, since nothing is compared.")
    repeats: int = Field(4, ge=2, description="Reruns per source of randomness, besides the base.")
    mlflow: None = Field(None, description="Not available here, since nothing is compared.")
    tensorboard: bool = Field(False, description="Not needed here, since nothing is compared.")

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """Return the number of the base, then those of the reruns, source by source."""
        return tuple(range(1 + len(SOURCES) * self.repeats))

    def source_of(self, number: int) -> str | None:
        """Return the source that a rerun changes; None for the base."""
        return SOURCES[(number - 1) // self.repeats] if number else None

    def seeds_of(self, number: int) -> Seeds:
        """Return the seeds of a rerun: those of the base except for one source."""
        if number == TUNING_SEED:  # settings are searched on it, and it is no rerun
            return super().seeds_of(number)
        base = Seeds(*(self.first_seed,) * len(SOURCES))
        source = self.source_of(number)
        if source is None:
            return base
        return base._replace(**{source: self.first_seed + 1 + (number - 1) % self.repeats})

    def identity(self) -> dict[str, Any]:
        """Return the settings that a run cannot change."""
        fixed = {"repeats": self.repeats, "first_seed": self.first_seed}
        return {**super().identity(), **fixed}


class ProtocolsConfig(CompareConfig):
    """Compare the gain under a clean protocol with the gain under the paper's."""

    arms: tuple[str, ...] = Field(
        ("paper",), min_length=1, description="Arms to compare under both protocols."
    )

    @model_validator(mode="after")
    def _refuse_others(self) -> "ProtocolsConfig":
        if (self.protocol, self.split) != ("clean", "grouped"):
            raise ValueError(
                "Expected neither --protocol nor --split, since both protocols are run, clean with "
                f"grouped splits and paper with random ones, but got --protocol {self.protocol} "
                f"and --split {self.split}. Leave them out, or run `osteo-ray compare` with them."
            )
        return self

    def to_compare(self, protocol: Literal["clean", "paper"], out: str) -> CompareConfig:
        """Return the configuration of one of the two comparisons."""
        shared = self.model_dump(exclude={"protocol", "split", "conflicts", "out"})
        # The same images under both: only then is the difference due to the protocol.
        conflicts = self.conflicts or "drop"
        split = "random" if protocol == "paper" else "grouped"
        return CompareConfig(**shared, protocol=protocol, split=split, conflicts=conflicts, out=out)


class PlanConfig(CompareConfig):
    """Work out what a comparison could detect, and what it would cost."""

    pilot: str | None = Field(
        None, description="An earlier run; its spread over seeds is assumed for this one."
    )
    measure: bool = Field(
        True,
        description="Measure for some seconds how fast this cluster is, to estimate the hours.",
    )
    hours: float | None = Field(
        None, gt=0, description="Recommend no design that takes more hours on this cluster."
    )
    baseline_auc: float | None = Field(
        None,
        gt=0.5,
        lt=1,
        description="Assumed AUC of the baseline; by default that of the earlier run, else 0.85.",
    )
    tables: int = Field(
        100,
        ge=10,
        description="Simulated runs per true effect; a fifth of them for each other design.",
    )

    @model_validator(mode="after")
    def _check_hours(self) -> "PlanConfig":
        if self.hours is not None and not self.measure:
            raise ValueError(
                "Expected --hours without --no-measure, since hours depend on how fast this "
                "cluster is. Drop one."
            )
        return self

    @field_validator("pilot")
    @classmethod
    def _locate_pilot(cls, pilot: str | None) -> str | None:
        return pilot and locate_file(pilot)

    def to_compare(self) -> CompareConfig:
        """Return the configuration of the comparison that is planned."""
        own = set(PlanConfig.model_fields) - set(CompareConfig.model_fields)
        return CompareConfig(**self.model_dump(exclude=own))
