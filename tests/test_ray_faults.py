"""Whatever Ray raises where trainings and explanations run, a command ends with a sentence.

Ray is not started: what the driver calls there raises at once.
"""

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cluster_faults import ERRORS

from osteo_ray.cluster.placement import Layout, lay_out
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.commands.main import run_safely
from osteo_ray.experiment.trials import Trial
from osteo_ray.explain.jobs import Slice
from osteo_ray.pipeline.compare import sweeps
from osteo_ray.pipeline.explain import pool

LAYOUT: Layout = lay_out([{"CPU": 2.0, "memory": float(2**32)}], ResourceSettings())


def sweep(patch: pytest.MonkeyPatch, tmp_path: Any, fail: Callable[..., Any]) -> None:
    patch.setattr(sweeps, "watch", lambda *_: nullcontext())
    patch.setattr(sweeps.tune, "with_parameters", lambda run, **shared: run)
    patch.setattr(sweeps.tune, "with_resources", lambda run, resources: run)
    patch.setattr(sweeps.tune, "Tuner", lambda *_, **__: SimpleNamespace(fit=fail))
    patch.setattr(sweeps, "place_logs", lambda run: tmp_path)
    site = SimpleNamespace(layout=LAYOUT, resources=ResourceSettings())
    listener = SimpleNamespace(name="train", advanced=lambda share: None)
    experiment = SimpleNamespace(run=None)
    trials = [Trial("net", 0, "original")]
    sweeps.run_sweep(trials, *(cast(Any, one) for one in (experiment, None, site, listener)))


def explain(patch: pytest.MonkeyPatch, tmp_path: Any, fail: Callable[..., Any]) -> None:
    dataset = SimpleNamespace(map_batches=lambda *_, **__: SimpleNamespace(iter_rows=fail))
    patch.setattr(pool.ray.data, "from_items", lambda *_, **__: dataset)
    runner = pool._Runner(pool.Pool.on(LAYOUT, 60.0), cast(Any, None), lambda found: None)
    runner.run([Slice("part.parquet", 0, 1)], cast(Any, None), alone=False)


def start_pool(patch: pytest.MonkeyPatch, tmp_path: Any, fail: Callable[..., Any]) -> None:
    patch.setattr(pool.ray.data, "from_items", fail)
    runner = pool._Runner(pool.Pool.on(LAYOUT, 60.0), cast(Any, None), lambda found: None)
    runner.run([Slice("part.parquet", 0, 1)], cast(Any, None), alone=False)


@pytest.mark.parametrize("make_error", ERRORS)
@pytest.mark.parametrize("run", [sweep, explain, start_pool])
def test_an_error_of_ray_ends_a_stage_with_a_sentence(
    run: Callable[..., None],
    make_error: Callable[[], Exception],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise make_error()

    def command(_: list[str]) -> int:
        run(monkeypatch, tmp_path, fail)
        return 0

    assert run_safely(command, []) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith("Failed: ")
    assert "Traceback" not in told
    assert "run the same command again" in told.lower()
