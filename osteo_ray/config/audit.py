"""Settings of an audit."""

from typing import Literal

from pydantic import Field, field_validator

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.base.paths import PHANTOM, locate_data
from osteo_ray.base.trust import refuse_secrets
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.setup import SetupConfig


class AuditConfig(SetupConfig):
    """Find copies, conflicts, blank images and shortcuts; measure how copies inflate accuracy."""

    seeds: int = Field(5, ge=2, description="Number of repeats with --measure-leak.")
    against: str | None = Field(
        None,
        description="Another set, a path or URI as in --data, to find what the two share: copies, "
        "patients, and radiographs that they label differently.",
    )
    measure_leak: bool = Field(
        False, description="Train with and without copies across the split, and compare accuracies."
    )

    @field_validator("against")
    @classmethod
    def _locate_against(cls, against: str | None) -> str | None:
        if against == PHANTOM:
            raise ValueError(
                f"Expected against to be images that exist, but got `{PHANTOM}`. Draw them by "
                "`osteo-ray phantom` and name their folder."
            )
        return against and refuse_secrets(locate_data(against))

    def to_compare(self, split: Literal["grouped", "random"]) -> CompareConfig:
        """Return the configuration of trainings that measure how much copies inflate accuracy."""
        shared = self.model_dump(exclude={"measure_leak", "against"})
        shared["conflicts"] = self.conflict_policy  # the same on both sides
        return CompareConfig(**shared, arms=(ORIGINAL,), split=split)
