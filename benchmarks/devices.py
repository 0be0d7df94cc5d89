"""The device on which a benchmark computes."""

from typing import Literal

import ray

from osteo_ray.base.errors import InputError

Device = Literal["cpu", "cuda"]


def share_gpus(device: Device, n_workers: int) -> float:
    """Return the part of a GPU that each of some workers gets; all share one."""
    return 0.0 if device == "cpu" else 1 / n_workers


def check_device(device: Device) -> None:
    """Refuse a device that the connected cluster does not have; its workers would never start.

    Raises:
        InputError: It has no GPU.
    """
    if device != "cpu" and not ray.cluster_resources().get("GPU", 0):
        raise InputError(
            f"Expected a cluster with a GPU for --device {device}, but it has none. Use --device "
            "cpu."
        )
