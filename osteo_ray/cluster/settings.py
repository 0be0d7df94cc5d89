"""Settings for where the work runs."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from osteo_ray.base.settings import OnCommandLine, Settings

WAIT_FOR_AUTOSCALER_S = 900


class SlotSettings(Settings):
    """What each worker gets. Of a result, only the last bits depend on the number of threads."""

    gpus_per_worker: float | None = Field(
        None, ge=0, description="GPUs per worker; by default 1 if the cluster has GPUs, else 0."
    )
    cpus_per_worker: int = Field(1, ge=1, description="CPUs, and threads, per worker.")
    wait_for_nodes: float | None = Field(
        None,
        ge=0,
        description="Seconds to wait for nodes if the cluster has too few; by default "
        f"{WAIT_FOR_AUTOSCALER_S} if there is an autoscaler that can add them, else 0.",
    )
    classifiers_gib: float | None = Field(
        None,
        gt=0,
        description="Memory for the classifiers that an explaining actor keeps, in GiB; the one "
        "that was used longest ago goes first. By default a quarter of the actor's share of the "
        "memory of its node.",
    )
    stall_timeout: float = Field(
        1800,
        gt=0,
        description="Seconds within which a stage must compute at least one batch.",
    )

    @field_validator("gpus_per_worker", "gpus_per_explainer", check_fields=False)
    @classmethod
    def _check_gpus(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1:
            raise ValueError(
                f"Expected one GPU or a part of one, since a worker computes on one, but got "
                f"{gpus:g}. To use several for one training, raise --workers; to use them for "
                "trainings side by side, leave it at 1."
            )
        return gpus


class ResourceSettings(SlotSettings):
    """Where the work runs. Of all this, only the number of workers changes the results."""

    workers: Annotated[int, OnCommandLine("--workers")] = Field(
        1, ge=1, description="Devices per training; more than one trains data-parallel."
    )
    gpus_per_explainer: float | None = Field(
        None,
        ge=0,
        le=1,
        description="GPUs per explaining actor; by default as many as per worker, if that is "
        "given, and otherwise so few that up to 4 actors share a GPU and the CPUs beside it.",
    )
    pixels_gib: float | None = Field(
        None,
        ge=0,
        description="Memory of each node for the pixels that trainings share, in GiB; those of a "
        "larger set stay on disk, and Ray Data streams them. By default a quarter of the memory of "
        "the smallest node, and at most 2 GiB.",
    )
    max_retries: int = Field(3, ge=0, description="Restarts of a training whose process has died.")

    @model_validator(mode="after")
    def _check_shares(self) -> "ResourceSettings":
        gpus = self.gpus_per_worker
        if self.workers > 1 and gpus and gpus < 1:
            raise ValueError(
                f"Expected a whole GPU for each of {self.workers} workers of a training, since "
                f"NCCL refuses two of them on one GPU, but got {gpus:g} (gpus_per_worker). Set "
                "that to 1; or train with --workers 1, with which several trainings share a GPU."
            )
        return self
