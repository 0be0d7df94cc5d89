"""Predict the grid on the cluster: trained classifiers on other views, with Ray Data."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ray
import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.startup import importing
from osteo_ray.cluster.placement import Layout, Slot
from osteo_ray.cluster.watchdog import watch
from osteo_ray.data.pixels import Pixels
from osteo_ray.experiment.grid import GridRow
from osteo_ray.experiment.trials import Experiment

GRID = "predict other views"


class _GridWorker:
    """An actor in a process of the pool; PyTorch is imported there, not in the driver."""

    def __init__(
        self, experiment: Experiment, pixels: "list[ray.ObjectRef[Pixels]]", slot: Slot
    ) -> None:
        with importing("timm"):
            import torch

            from osteo_ray.models.training import Worker

        self.experiment, self.pixels = experiment, ray.get(pixels[0])
        self.worker = Worker(torch.device(slot.device), slot.cpus)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        from osteo_ray.pipeline.compare.grid_row import predict_views

        (rows,) = batch["rows"]
        predict_views(rows, self.experiment, self.pixels, self.worker)
        return {"n_rows": np.array([len(rows)])}


def predict_grid(
    rows: Sequence[GridRow],
    experiment: Experiment,
    pixels: "ray.ObjectRef[Pixels]",
    *,
    layout: Layout,
    stall_timeout_s: float,
    on_predicted: Callable[[int], None],
) -> None:
    """Predict and store rows of the grid.

    Args:
        rows: At least one; none of them stored.
        experiment: What the trials share.
        pixels: Those of all images, or where they are, in the object store.
        layout: What each process gets, and how many there are.
        stall_timeout_s: The longest time without a finished part, in seconds.
        on_predicted: Called with the number of rows that are done each time some are.

    Raises:
        IncompleteError: A worker failed, or nothing was computed for too long.
    """
    together: dict[tuple[str, int], list[GridRow]] = defaultdict(list)
    for row in rows:
        together[row.trial.model, row.trial.seed].append(row)
    items: list[dict[str, Any]] = [{"rows": part} for part in together.values()]
    with watch(GRID, stall_timeout_s) as beat:
        found = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            _GridWorker,
            # Inside a list, Ray passes the reference on, so that workers map the array.
            fn_constructor_args=(experiment, [pixels], layout.slot),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(
                min_size=1, max_size=min(layout.slots, len(items)), max_tasks_in_flight_per_actor=2
            ),
            num_cpus=layout.slot.cpus,
            num_gpus=layout.slot.gpus or None,
        )
        try:
            for part in found.iter_rows():
                beat()
                on_predicted(int(part["n_rows"]))
        except (RayError, ExecutionTimeoutError) as error:
            raise IncompleteError(
                f"The other views could not be predicted: {error}. What finished is kept; run the "
                "same command again to resume."
            ) from error
