"""Settings of an audit."""

from typing import Literal

from pydantic import Field

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.setup import SetupConfig


class AuditConfig(SetupConfig):
    """Find copies, conflicts, blank images and shortcuts; measure how copies inflate accuracy."""

    seeds: int = Field(5, ge=2, description="Number of repeats with --measure-leak.")
    measure_leak: bool = Field(
        False, description="Train with and without copies across the split, and compare accuracies."
    )

    def to_compare(self, split: Literal["grouped", "random"]) -> CompareConfig:
        """Return the configuration of trainings that measure how much copies inflate accuracy."""
        shared = self.model_dump(exclude={"measure_leak"})
        shared["conflicts"] = self.conflict_policy  # the same on both sides
        return CompareConfig(**shared, arms=(ORIGINAL,), split=split)
