"""One row of the grid: a trained classifier predicts other views. Does not use Ray."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from osteo_ray.base.digests import write_sealed
from osteo_ray.base.tables import write_table
from osteo_ray.data.pixels import Pixels
from osteo_ray.experiment.external import read_shown_masks
from osteo_ray.experiment.grid import VIEW, GridRow
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.models.batches import ImageSet
from osteo_ray.models.prediction import predict_probabilities
from osteo_ray.models.training import Worker, make_deterministic
from osteo_ray.pipeline.compare.one_trial import load_trained, make_set, tabulate_predictions

SPLIT = "test"


def predict_views(
    rows: Sequence[GridRow], experiment: Experiment, pixels: Pixels, worker: Worker
) -> None:
    """Predict and store some rows of the grid.

    Args:
        rows: Those of one model and one seed, so that their masks are read once.
        experiment: What the trials share.
        pixels: Those of all images, in the order of `experiment.image_ids`.
        worker: Where to compute.
    """
    make_deterministic(worker.n_threads)
    seen: dict[str, tuple[np.ndarray, ImageSet]] = {}  # not the masks of all images, of each view
    for row in rows:
        classifier = load_trained(row.trial, experiment).to(worker.device)
        tables = []
        for view in row.views:
            if view not in seen:
                shown = Trial(row.trial.model, row.trial.seed, view)
                masks = read_shown_masks(experiment, shown)
                seen[view] = make_set(shown, experiment, pixels, masks, SPLIT)
            numbers, images = seen[view]
            found = predict_probabilities(
                classifier,
                images,
                batch_size=experiment.settings.training.per_worker_batch_size,
                device=worker.device,
            )
            table = tabulate_predictions(row.trial, experiment, SPLIT, numbers, found)
            tables.append(table.append_column(VIEW, pa.array([view] * len(table))))
        write_table(row.target, pa.concat_tables(tables), how=write_sealed)
