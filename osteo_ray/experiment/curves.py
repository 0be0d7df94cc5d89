"""How trainings went, epoch by epoch, and which of them learned nothing or not enough."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from osteo_ray.base.forms import HISTORY, read_record
from osteo_ray.experiment.trials import LAST, Experiment, Trial

CURVES = pa.schema(
    [
        ("model", pa.string()),
        ("seed", pa.int64()),
        ("arm", pa.string()),
        ("number", pa.int64()),
        ("training_loss", pa.float64()),
        ("validation_loss", pa.float64()),
        ("learning_rate", pa.float64()),
        ("validation_auc", pa.float64()),
        ("predicted_classes", pa.int64()),
        ("kept", pa.bool_()),
    ]
)
"""A row per epoch: the training, the fields of `models.epochs.Epoch`, and whether it was kept."""

_READERS = 8
_FALL = 0.02  # of the loss, from one fifth of the epochs to the last: then it is still falling


def read_curves(experiment: Experiment, trials: Iterable[Trial]) -> pa.Table:
    """Read the epochs of trainings that are done: a table of `CURVES`.

    What a training of an earlier version does not tell is null.
    """
    trials = list(trials)
    with ThreadPoolExecutor(_READERS) as pool:
        paths = [experiment.path_of(trial) / LAST for trial in trials]
        histories = list(pool.map(lambda path: read_record(path, HISTORY), paths))
    rows: list[dict[str, Any]] = []
    for trial, history in zip(trials, histories, strict=True):
        kept = _find_kept(history, experiment.settings.training.keep)
        rows += [{**vars(trial), **epoch, "kept": epoch["number"] == kept} for epoch in history]
    columns = {name: [row.get(name) for row in rows] for name in CURVES.names}
    return pa.table(columns, schema=CURVES)


def _find_kept(history: Sequence[Mapping[str, Any]], keep: str) -> int | None:
    if not history:
        return None
    if keep == "last":
        return int(history[-1]["number"])
    return int(min(history, key=lambda epoch: epoch["validation_loss"])["number"])


def is_falling(losses: Sequence[float]) -> bool:
    """Tell whether a loss was still falling when a training ended.

    It was if its lowest value lies in the last fifth of the epochs, and its mean there is more than
    2 % below its mean in the fifth before. At least two epochs are needed to tell.

    Example:
        >>> is_falling([0.9, 0.8, 0.7, 0.6, 0.5]), is_falling([0.9, 0.5, 0.5, 0.5, 0.499])
        (True, False)
    """
    if len(losses) < 2:
        return False
    part = max(1, len(losses) // 5)
    last, before = np.mean(losses[-part:]), np.mean(losses[-2 * part : -part])
    return int(np.argmin(losses)) >= len(losses) - part and bool(last < (1 - _FALL) * before)


def describe_trainings(
    curves: pa.Table, missing: Iterable[Trial], diverged: Iterable[Trial]
) -> list[dict[str, Any]]:
    """Count, per model and arm, the trainings that went wrong.

    Args:
        curves: As `read_curves` returns them.
        missing: Trainings without a result.
        diverged: Those among them whose loss became infinite or NaN.

    Returns:
        For each model and arm: `n` planned trainings; the seeds of those that `collapsed` (the kept
        epoch predicts one class for all validation images), `diverged`, or are `unconverged` (see
        `is_falling`); and `words`, a sentence, empty if there are none of these.
    """
    seeds: dict[tuple[str, str], dict[str, list[int]]] = {}

    def note(trial: Trial, *kinds: str) -> None:
        kinds_of = seeds.setdefault((trial.model, trial.arm), {})
        for kind in ("n", *kinds):
            kinds_of.setdefault(kind, []).append(trial.seed)

    table: pd.DataFrame = curves.to_pandas()
    for (model, arm, seed), epochs in table.groupby(["model", "arm", "seed"], sort=False):
        kinds = []
        if (epochs.loc[epochs["kept"], "predicted_classes"] == 1).any():
            kinds.append("collapsed")
        if is_falling(epochs["validation_loss"].tolist()):
            kinds.append("unconverged")
        note(Trial(str(model), int(seed), str(arm)), *kinds)
    lost = set(diverged)
    for trial in missing:
        note(trial, *(["diverged"] if trial in lost else []))
    rows = []
    for (model, arm), found in sorted(seeds.items()):
        kinds_of = {kind: sorted(found.get(kind, [])) for kind in _WORDS}
        total = len(found["n"])
        said = [
            f"{len(there)} of {total} {_WORDS[kind](len(there))}"
            for kind, there in kinds_of.items()
            if there
        ]
        words = f"{model}, {arm}: {'; '.join(said)}" if said else ""
        rows.append({"model": model, "arm": arm, "n": total, **kinds_of, "words": words})
    return rows


_WORDS: dict[str, Callable[[int], str]] = {
    "collapsed": lambda n: f"{'predicts' if n == 1 else 'predict'} one class only",
    "diverged": lambda n: "diverged",
    "unconverged": lambda n: "had not converged, as the validation loss was still falling",
}
