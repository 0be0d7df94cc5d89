"""How often the verdict is right in planted worlds: many experiments in parallel on a cluster."""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from osteo_ray.base.damage import DamagedError
from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.forms import GROUP, Form, read_record
from osteo_ray.base.tables import read_json, write_json
from osteo_ray.cluster.connection import connect, plan_resources
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.pipeline.validate.planted_worlds import WORLDS, World
from osteo_ray.pipeline.validate.rates import Rate

RIGHT = (0.95, 1.0)
"""Share of right verdicts that is promised in every world."""
FALSE_GAIN = (0.0, 0.05)
"""Share of verdicts `real gain` that is allowed where there is no real gain."""
_REAL_GAIN = "real gain"
_VERDICT: Form = {"verdict": str, "accuracy": GROUP}


@dataclass(frozen=True)
class WorldFinding:
    """Verdicts in one world.

    Attributes:
        world: The world.
        verdicts: How often each verdict was given, the most frequent first.
        right: How often one of the right verdicts was given.
        false_gain: How often a real gain was found; None in a world that has one.
        accuracy: Mean accuracy on test images per arm.
    """

    world: World
    verdicts: dict[str, int]
    right: Rate
    false_gain: Rate | None
    accuracy: dict[str, float]


class _Judge:
    """Runs experiments in a process of the pool; PyTorch is imported there, not in the driver."""

    def __init__(self, out: str) -> None:
        from osteo_ray.pipeline.validate.world_experiment import judge_world

        self.out = Path(out)
        self.judge = judge_world

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, number in zip(batch["world"], batch["number"], strict=True):
            found = self.judge(WORLDS[str(name)], int(number))
            write_json(locate_verdict(self.out, str(name), int(number)), found)
        return {"world": batch["world"]}


def locate_verdict(out: Path, world: str, number: int) -> Path:
    """Return the path of the verdict of one experiment."""
    return out / world.replace(" ", "-") / f"{number:04}.json"


def has_verdict(out: Path, world: str, number: int) -> bool:
    """Tell whether one experiment has a verdict that can be read; any other is written again."""
    try:
        read_record(locate_verdict(out, world, number), _VERDICT)
    except (DamagedError, FileNotFoundError):
        return False
    return True


def plan_experiments(worlds: Sequence[World], n_experiments: int) -> list[tuple[str, int]]:
    """List the world and number of each experiment, alternating between worlds."""
    return [
        (world.name, world.first_number + nth) for nth in range(n_experiments) for world in worlds
    ]


def validate_worlds(
    worlds: Sequence[World],
    n_experiments: int,
    out: Path,
    *,
    n_actors: int | None = None,
    on_done: Callable[[], None],
) -> list[WorldFinding]:
    """Run experiments in worlds, except those whose verdict is already in `out`.

    Args:
        worlds: The worlds to run.
        n_experiments: Experiments per world.
        out: Folder in which verdicts are kept.
        n_actors: Number of processes, each with one CPU; by default as many as the cluster has room
            for.
        on_done: Called after each experiment.

    Raises:
        IncompleteError: An experiment failed, or none finished for half an hour.
    """
    planned = plan_experiments(worlds, n_experiments)
    pending = [
        {"world": name, "number": number}
        for name, number in planned
        if not has_verdict(out, name, number)
    ]
    if pending:
        with connect(), warnings.catch_warnings():
            if n_actors is None:
                n_actors = plan_resources(ResourceSettings(gpus_per_worker=0)).slots
            dataset = ray.data.from_items(pending, override_num_blocks=len(pending)).map_batches(
                _Judge,
                fn_constructor_args=(str(out),),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=min(n_actors, len(pending))),
                num_cpus=1,
            )
            try:
                for _ in dataset.iter_rows():
                    on_done()
            except (RayError, ExecutionTimeoutError) as error:
                raise IncompleteError(
                    "The study stopped. Verdicts so far are kept; run the same command again to "
                    f"resume. The last error: {error}"
                ) from error
    return [
        summarize_world(
            world,
            [
                read_json(locate_verdict(out, name, number))
                for name, number in planned
                if name == world.name
            ],
        )
        for world in worlds
    ]


def summarize_world(world: World, found: Sequence[dict[str, Any]]) -> WorldFinding:
    """Count the verdicts in one world.

    Args:
        world: The world.
        found: As `world_experiment.judge_world` returns them.
    """
    verdicts = pd.Series([one["verdict"] for one in found])
    accuracy = pd.DataFrame([one["accuracy"] for one in found]).mean()
    false_gain = None
    if _REAL_GAIN not in world.verdicts:
        false_gain = Rate.of(verdicts == _REAL_GAIN, bar=FALSE_GAIN)
    return WorldFinding(
        world,
        dict(Counter(verdicts).most_common()),
        Rate.of(verdicts.isin(world.verdicts), bar=RIGHT),
        false_gain,
        accuracy.to_dict(),
    )


def join_false_gains(findings: Sequence[WorldFinding]) -> Rate | None:
    """Return how often a real gain was found over all worlds in which there is none."""
    rates = [finding.false_gain for finding in findings if finding.false_gain is not None]
    if not rates:
        return None
    hits = sum(rate.n_hits for rate in rates)
    n = sum(rate.n for rate in rates)
    return Rate.of(pd.Series([True] * hits + [False] * (n - hits)), bar=FALSE_GAIN)
