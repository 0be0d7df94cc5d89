"""`osteo-ray validate`: error rates of the statistics and of the verdict."""

from collections.abc import Sequence
from pathlib import Path

import tyro

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.noise import Capture, capture_noise
from osteo_ray.commands.parsing import BAD_INPUT, DONE, FAILED


def validate_command(arguments: list[str]) -> int:
    """Run `osteo-ray validate` with these words; return the exit code."""
    code: int = tyro.extras.subcommand_cli_from_dict(
        {"tables": _tables, "worlds": _worlds},
        prog="osteo-ray validate",
        description="Measure how often the product's own statistics are right.",
        args=arguments,
    )
    return code


def _tables(experiments: int = 2000, seed: int = 0) -> int:
    """Simulate experiments whose truth is known; count how often tests and intervals are right.

    Trains nothing; some minutes. Exit code 1 where a bar is missed.

    Args:
        experiments: Per setting.
        seed: Of all random numbers.
    """
    from osteo_ray.cluster.connection import connect
    from osteo_ray.commands.validate_tables import list_missed, show_rates
    from osteo_ray.pipeline.validate.simulation_study import SETTINGS, validate_tables

    if experiments < 1 or seed < 0:
        raise InputError(
            "Expected at least one experiment and a seed of at least 0, but got "
            f"{experiments} and {seed}."
        )
    with capture_noise() as captured, connect():
        captured.err.print(f"{len(SETTINGS)} settings of {experiments} experiments each")
        findings = validate_tables(
            experiments,
            seed,
            on_finding=lambda done: captured.err.print(f"done: {done.setting.name}"),
        )
        show_rates(captured.out, findings)
        return _tell_missed(captured, list_missed(findings))


def _worlds(experiments: int = 40, out: str = "validation", only: tuple[str, ...] = ()) -> int:
    """Run planted worlds, whose truth is known, by real trainings; count right verdicts.

    Some hours on two CPU cores; a rerun goes on where it stopped. Exit code 1 where a bar is
    missed.

    Args:
        experiments: Per world.
        out: Folder in which each verdict is kept.
        only: Names of worlds; by default all.
    """
    from osteo_ray.base.progress import JobProgress, Stage
    from osteo_ray.cluster.connection import connect, plan_resources
    from osteo_ray.cluster.settings import ResourceSettings
    from osteo_ray.commands.validate_tables import list_missed_worlds, show_worlds
    from osteo_ray.pipeline.validate.planted_worlds import WORLDS
    from osteo_ray.pipeline.validate.world_study import (
        locate_verdict,
        plan_experiments,
        validate_worlds,
    )

    if experiments < 1:
        raise InputError(f"Expected at least one experiment, but got {experiments}.")
    for name in only:
        if name not in WORLDS:
            raise InputError(
                f"Expected --only among {', '.join(WORLDS)}, but got `{name}`."
                + suggest(name, WORLDS)
            )
    chosen = [WORLDS[name] for name in only or WORLDS]
    place = Path(out).expanduser().resolve() / "worlds"
    planned = plan_experiments(chosen, experiments)
    n_there = sum(locate_verdict(place, *one).exists() for one in planned)
    stage = Stage("worlds", "experiments", len(planned), 1.0, n_there)
    with capture_noise() as captured, connect():
        progress = JobProgress(captured.err)
        try:
            with progress.showing([stage]), progress.stage("worlds"):
                findings = validate_worlds(
                    chosen,
                    experiments,
                    place,
                    n_actors=plan_resources(ResourceSettings(gpus_per_worker=0)).slots,
                    on_done=lambda: progress.advance("worlds", 1),
                )
        except KeyboardInterrupt:
            captured.err.print(
                "\nInterrupted. Verdicts so far are kept; the same command goes on.", style="yellow"
            )
            return BAD_INPUT
        show_worlds(captured.out, findings)
        return _tell_missed(captured, list_missed_worlds(findings))


def _tell_missed(captured: Capture, missed: Sequence[str]) -> int:
    for line in missed:
        captured.err.print(f"Missed: {line}", style="red", markup=False, soft_wrap=True)
    return FAILED if missed else DONE
