"""Have `compare` run in this process, without Ray.

All that workers run is run here, one thing after the other.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_runs import N_THREADS, explain_here

from osteo_ray.cluster.placement import Layout, lay_out
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.experiment.dataset import read_pixels
from osteo_ray.experiment.grid import GridRow
from osteo_ray.experiment.superpixel_files import Division
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.explain.superpixel_files import write_superpixels
from osteo_ray.models.training import Worker
from osteo_ray.pipeline.compare import external_job, prepare, running, stages, tuning
from osteo_ray.pipeline.compare.grid_row import predict_views
from osteo_ray.pipeline.compare.one_trial import run_trial
from osteo_ray.pipeline.compare.sweeps import Failure
from osteo_ray.pipeline.ingest import auditing, copy_search, reading


def compare_here(patch: pytest.MonkeyPatch) -> None:
    """Patch what needs a cluster."""

    @contextmanager
    def connect() -> Iterator[None]:
        yield

    def plan(settings: ResourceSettings, say: object = None) -> Layout:
        return lay_out([{"CPU": float(N_THREADS), "memory": float(2**32)}], settings)

    def describe(layout: Layout) -> dict[str, Any]:
        return {"created": "today", "versions": {}, "hardware": {"device": layout.slot.device}}

    for name, stand_in in {
        "connect": connect,
        "plan_resources": plan,
        "check_models": _Checked,
        "confirm": lambda check: None,
        "begin_measuring": lambda *_: lambda: None,
        "follow_reading": lambda *_: nullcontext(),
        "state_plan": lambda *_: "",  # which simulates for seconds
    }.items():
        patch.setattr(stages, name, stand_in)
    patch.setattr(prepare, "describe_environment", describe)
    patch.setattr(reading, "_read_blocks", _read)
    for module in (stages, copy_search):  # not of Ray itself, which other tests use
        patch.setattr(module, "ray", SimpleNamespace(put=_keep, get=_keep))
    for module in (running, external_job, tuning):
        patch.setattr(module, "share_pixels", lambda run, ids, size, _: read_pixels(run, ids, size))
    patch.setattr(auditing, "find_shortcuts", lambda *_: [])  # they take seconds
    patch.setattr(copy_search, "_load_index", faiss.deserialize_index)
    patch.setattr(running, "run_sweep", _train)
    patch.setattr(running, "explain_images", explain_here)
    for module in (running, external_job):
        patch.setattr(module, "predict_grid", _predict)
        patch.setattr(module, "divide_images", _divide)


def _keep(value: object) -> object:
    return value


def _read(
    rows: pa.Table, size: int, decode: Callable[[dict[str, np.ndarray]], pa.Table]
) -> Iterator[pa.Table]:
    for start in range(0, len(rows), size):
        part = rows.slice(start, size)
        yield decode({name: part[name].to_numpy() for name in part.column_names})


class _Checked:
    @staticmethod
    def remote(*_: object) -> list[str]:
        return []


def _make_worker() -> Worker:
    return Worker(torch.device("cpu"), N_THREADS)


def _train(
    trials: Sequence[Trial], experiment: Experiment, pixels: Any, site: object, listener: object
) -> list[Failure]:
    for trial in trials:
        run_trial(trial, experiment, pixels, _make_worker())
    return []


def _predict(rows: Sequence[GridRow], experiment: Experiment, pixels: Any, **_: object) -> None:
    for row in rows:
        predict_views([row], experiment, pixels, _make_worker())


def _divide(
    divisions: Sequence[Division], settings: LimeSettings, size_px: int, **_: object
) -> None:
    for one in divisions:
        write_superpixels(one.pixels, one.target, settings, size_px)
