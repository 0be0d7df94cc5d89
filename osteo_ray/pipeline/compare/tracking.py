"""Hand a finished comparison to MLflow, for users who keep their results there."""

import importlib.util
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pandas as pd

from osteo_ray.base.errors import InputError
from osteo_ray.base.forms import HISTORY, read_record
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.remote import first_line
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import local_copy
from osteo_ray.experiment.trials import LAST, Experiment, Trial

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "osteo_ray"
LOCAL = "local"
_RUN, _TRIAL, _PARENT = "osteo_ray.run", "osteo_ray.trial", "mlflow.parentRunId"
_LONGEST = 500  # of a value, in MLflow
_PAGE = 1000


def check_tracking(uri: str, run: Run) -> None:
    """Refuse a store that cannot be used, before anything is computed.

    Args:
        uri: `local`, or MLflow's tracking URI.
        run: The run that is to be handed over.

    Raises:
        InputError: MLflow is not installed, the URI holds a password, or it is `local` and the run
            is not on this machine.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise InputError(
            "Expected MLflow to be installed, as --mlflow asks, but it is not. Install it with "
            '`pip install "osteo-ray[mlflow]"`, or leave --mlflow out.'
        )
    if uri == LOCAL and not isinstance(run.root, Path):
        raise InputError(
            f"Expected --mlflow with a tracking URI, because the run is in {run.root} and an "
            "SQLite file can only be placed beside a folder, but got `local`."
        )
    if urlsplit(uri).password:
        raise InputError(
            "Expected --mlflow without a password, because the run keeps it in config.yaml. Set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead."
        )


def track_comparison(
    uri: str,
    settings: dict[str, Any],
    experiment: Experiment,
    results: pd.DataFrame,
    comparison: dict[str, Any],
) -> str | None:
    """Write a comparison as an MLflow run, with a child run for each training.

    A repeated call adds what is missing and updates the figures of the comparison.

    Args:
        uri: `local`, or MLflow's tracking URI.
        settings: Settings of the comparison, to be logged as parameters.
        experiment: What was compared.
        results: What results.parquet holds.
        comparison: What comparison.json holds.

    Returns:
        Why it could not be done, as that must not cost a finished comparison; None if it was.
    """
    # MLflow would otherwise report its use to its developers.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        _track(uri, settings, experiment, results, comparison)
    except Exception as error:  # MLflow passes on the errors of each store and of the network
        return first_line(error) + "."
    return None


def _track(
    uri: str,
    settings: dict[str, Any],
    experiment: Experiment,
    results: pd.DataFrame,
    comparison: dict[str, Any],
) -> None:
    from mlflow.tracking import MlflowClient

    run = experiment.run
    store, artifacts = _locate(uri, run)
    client = MlflowClient(tracking_uri=store)
    group = client.get_experiment_by_name(EXPERIMENT)
    number = group.experiment_id if group else client.create_experiment(EXPERIMENT, artifacts)
    parent = _open_parent(client, number, run)
    _log_comparison(client, parent, settings, experiment.plan_hash, comparison)
    known = _list_trials(client, number, parent)
    test = results[results["split"] == "test"].set_index(["model", "seed", "arm"])
    for key in test.index:
        trial = Trial(*key)
        name = f"{trial.model}/seed-{trial.seed}/{trial.arm}-{experiment.key_of(trial)}"
        if name not in known:
            metrics = test.loc[key].drop(["split"], errors="ignore").dropna().to_dict()
            _log_trial(client, number, parent, name, experiment, trial, metrics)
    for file in (run.report, run.comparison):
        with local_copy(file) as copy:
            client.log_artifact(parent, str(copy))
    client.set_terminated(parent)


def _locate(uri: str, run: Run) -> tuple[str, str | None]:
    """Return the URI of the store, and that of its artifacts unless the store decides on it."""
    if uri != LOCAL:
        return uri, None
    assert isinstance(run.root, Path)  # as `check_tracking` has made sure
    folder = run.root.parent
    return f"sqlite:///{folder / 'mlflow.db'}", (folder / "mlflow-artifacts").as_uri()


def _open_parent(client: "MlflowClient", number: str, run: Run) -> str:
    key = hash_settings(str(run.root))  # a path may contain characters that a filter must not
    found = client.search_runs([number], filter_string=f"tags.`{_RUN}` = '{key}'")
    if found:
        return str(found[0].info.run_id)
    tags = {_RUN: key, "osteo_ray.directory": str(run.root)}
    return str(client.create_run(number, run_name=run.root.name, tags=tags).info.run_id)


def _list_trials(client: "MlflowClient", number: str, parent: str) -> set[str]:
    """Return the names of the trainings that have been logged completely."""
    wanted = f"tags.`{_PARENT}` = '{parent}' and attributes.status = 'FINISHED'"
    names, token = set[str](), None
    while True:
        page = client.search_runs([number], wanted, max_results=_PAGE, page_token=token)
        names |= {one.data.tags[_TRIAL] for one in page}
        token = page.token
        if not token:
            return names


def _log_comparison(
    client: "MlflowClient",
    parent: str,
    settings: dict[str, Any],
    plan_hash: str,
    comparison: dict[str, Any],
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = int(1000 * time.time())
    known = client.get_run(parent).data.params  # a parameter cannot be changed later
    params = [Param(key, value) for key, value in _flatten(settings).items() if key not in known]
    verdict = comparison["verdict"]
    tags = [
        RunTag("osteo_ray.verdict", verdict["verdict"]),
        RunTag("osteo_ray.plan_hash", plan_hash),
        RunTag("mlflow.note.content", verdict["reason"]),
    ]
    metrics = [
        Metric(
            f"{contrast['model']}/{contrast['arm']} - {contrast['baseline']}/{name}", value, now, 0
        )
        for contrast in comparison["contrasts"]
        for name in ("difference", "p_holm")
        if (value := contrast[name]) is not None
    ]
    client.log_batch(parent, metrics=metrics, params=params, tags=tags)


def _log_trial(
    client: "MlflowClient",
    number: str,
    parent: str,
    name: str,
    experiment: Experiment,
    trial: Trial,
    metrics: dict[str, float],
) -> None:
    from mlflow.entities import Metric, Param

    tags = {_PARENT: parent, _TRIAL: name}
    run_id = client.create_run(number, run_name=str(trial), tags=tags).info.run_id
    now = int(1000 * time.time())
    history = read_record(experiment.path_of(trial) / LAST, HISTORY)
    logged = [Metric(f"test/{key}", float(value), now, 0) for key, value in metrics.items()]
    logged += [
        Metric(key, float(value), now, epoch["number"])
        for epoch in history
        for key, value in epoch.items()
        if key != "number" and isinstance(value, int | float)
    ]
    params = [Param(key, str(value)) for key, value in vars(trial).items()]
    for at in range(0, len(logged), _PAGE):
        client.log_batch(run_id, metrics=logged[at : at + _PAGE], params=params)
    client.set_terminated(run_id)


def _flatten(settings: dict[str, Any], at: str = "") -> dict[str, str]:
    """Return settings by dotted names, the form of MLflow's parameters.

    Example:
        >>> _flatten({"lime": {"samples": 9}, "arms": ["lime"]})
        {'lime.samples': '9', 'arms': "['lime']"}
    """
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{at}{key}.")
        else:
            flat[at + key] = str(value)[:_LONGEST]
    return flat
