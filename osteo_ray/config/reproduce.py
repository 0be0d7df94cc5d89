"""The settings of a reproduction."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from osteo_ray.base.paths import locate_data
from osteo_ray.base.settings import Settings
from osteo_ray.base.trust import refuse_secrets

ImagesFrom = Literal["auto", "source", "stored"]


class ToleranceSettings(Settings):
    """How far a rerun may be off if equal bits cannot be expected.

    docs/reproduce.md gives the reasons for the defaults.
    """

    probability: float = Field(
        0.05, ge=0, description="Largest mean difference of a training's probabilities."
    )
    decisions: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Largest share of images that a training classifies differently.",
    )
    overlap: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Smallest mean overlap (IoU) of the masks of a teacher; by default the mean "
        "stability of its LIME masks, their expected overlap with as many other samples' masks.",
    )
    failures: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Largest share of images that are explained in only one of the two runs.",
    )
    metric: float | None = Field(
        None,
        ge=0,
        description="Largest difference of the primary metric, averaged over the seeds of a model "
        "and arm; by default the margin within which the run counts differences as equivalent.",
    )
    effect: float = Field(
        0.5, ge=0, description="Largest shift of the difference of a contrast, in standard errors."
    )


class ReproduceConfig(Settings):
    """Rerun a stored run, or a sample of it, and report what has drifted."""

    run: str | None = Field(None, description="The run directory.")
    sample: int | None = Field(
        None,
        ge=1,
        description="Number of trainings to rerun, spread over models and arms; by default all.",
    )
    share: float | None = Field(
        None, gt=0, le=1, description="The same as --sample, as a share of all trainings."
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Random seed of the sample.")
    ledger: str | None = Field(
        None,
        description="Parquet file of reproductions; by default reproductions.parquet beside RUN.",
    )
    out: str | None = Field(
        None, description="Working directory; by default RUN-reproductions, beside RUN."
    )
    images: ImagesFrom = Field(
        "auto",
        description="source reads the images again and compares them; stored uses the pixels in "
        "the run; auto is source as long as the source can be opened.",
    )
    keep: bool = Field(False, description="Keep the working directory even if nothing has drifted.")
    cpus_per_worker: int | None = Field(
        None, ge=1, description="CPUs, and threads, per worker; by default as in the run."
    )
    gpus_per_worker: float | None = Field(
        None, ge=0, description="GPUs per worker; by default as in the run."
    )
    run_code: bool = Field(
        False,
        description="Run the code that RUN keeps in networks/, if models of it are networks from "
        "Python files. Do so only if you trust its origin.",
    )
    tolerances: ToleranceSettings = ToleranceSettings()

    @field_validator("run", "ledger", "out")
    @classmethod
    def _locate(cls, path: str | None) -> str | None:
        return path and refuse_secrets(locate_data(path))

    @model_validator(mode="after")
    def _check_sample(self) -> "ReproduceConfig":
        if self.sample is not None and self.share is not None:
            raise ValueError("Expected either --sample or --share, but got both.")
        return self

    def count_sample(self, n_planned: int) -> int | None:
        """Return how many of the trainings to rerun, at least one; None for all of them."""
        if self.share is not None:
            n_wanted = max(1, round(self.share * n_planned))
            return None if n_wanted == n_planned else n_wanted
        return None if self.sample == n_planned else self.sample
