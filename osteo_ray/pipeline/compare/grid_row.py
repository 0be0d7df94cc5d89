"""One row of the grid: a trained classifier predicts other views. Does not use Ray."""

from collections.abc import Sequence

import pyarrow as pa

from osteo_ray.base.digests import write_sealed
from osteo_ray.base.tables import write_table
from osteo_ray.data.pixels import Pixels
from osteo_ray.experiment.external import read_shown_masks
from osteo_ray.experiment.grid import VIEW, GridRow
from osteo_ray.experiment.keep_masks import KeepMasks
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.models.classifier import Classifier
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
    masks: dict[str, KeepMasks | None] = {}
    for row in rows:
        classifier = load_trained(row.trial, experiment).to(worker.device)
        tables = []
        for view in row.views:
            if view not in masks:
                shown = Trial(row.trial.model, row.trial.seed, view)
                masks[view] = read_shown_masks(experiment, shown)
            tables.append(
                _predict_view(classifier, row, view, experiment, pixels, masks[view], worker)
            )
        write_table(row.target, pa.concat_tables(tables), how=write_sealed)


def _predict_view(
    classifier: Classifier,
    row: GridRow,
    view: str,
    experiment: Experiment,
    pixels: Pixels,
    keep_masks: KeepMasks | None,
    worker: Worker,
) -> pa.Table:
    shown = Trial(row.trial.model, row.trial.seed, view)
    numbers, images = make_set(shown, experiment, pixels, keep_masks, SPLIT)
    found = predict_probabilities(
        classifier,
        images,
        batch_size=experiment.settings.training.per_worker_batch_size,
        device=worker.device,
    )
    table = tabulate_predictions(row.trial, experiment, SPLIT, numbers, found)
    return table.append_column(VIEW, pa.array([view] * len(table)))
