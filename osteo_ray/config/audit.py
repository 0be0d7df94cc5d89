"""Settings of an audit."""

from typing import Literal

from pydantic import Field

from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.setup import SetupConfig


class AuditConfig(SetupConfig):
    """Find copies, conflicts, blank images and shortcuts; say what the copies are worth."""

    seeds: int = Field(5, ge=2, description="With --measure-leak: repeats.")
    measure_leak: bool = Field(
        False, description="Train with and without copies across the split, and compare."
    )

    def to_compare(self, split: Literal["grouped", "random"]) -> CompareConfig:
        """Return the configuration of the trainings that measure what copies are worth."""
        shared = self.model_dump(exclude={"measure_leak"})
        shared["conflicts"] = self.conflict_policy  # alike on both sides
        return CompareConfig(**shared, arms=("original",), split=split)
