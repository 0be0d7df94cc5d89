"""`osteo-ray validate`: error rates of the statistics and of the verdict."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import tyro
from rich.console import Console

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.interruption import noticing_interrupts
from osteo_ray.base.noise import capture_noise
from osteo_ray.base.storage import locate_here
from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.help_text import JSON
from osteo_ray.commands.parsing import BAD_INPUT, DONE, FAILED
from osteo_ray.commands.terminal import ERROR, WARNING, say


@dataclass(frozen=True)
class _Rates:
    """What was measured.

    Attributes:
        findings: Whatever a study found.
        missed: The bars that were missed, in words.
        show: Shows the findings on a terminal.
    """

    findings: Any
    missed: Sequence[str]
    show: Callable[[Console, Any], None]


def validate_command(arguments: list[str]) -> int:
    """Run `osteo-ray validate` with these words; return the exit code."""
    found: _Rates | None = tyro.extras.subcommand_cli_from_dict(
        {"tables": _tables, "verdicts": _verdicts, "worlds": _worlds},
        prog="osteo-ray validate",
        description="Measure how often the statistics of osteo_ray are right. --json prints the "
        "rates as JSON.",
        args=[word for word in arguments if word != JSON],
    )
    if found is None:  # it was interrupted
        return BAD_INPUT
    if JSON in arguments:
        print_json(Console(), {"findings": found.findings, "missed": found.missed})
    else:
        found.show(Console(), found.findings)
    for line in found.missed:
        say(Console(stderr=True), f"Missed: {line}", ERROR)
    return FAILED if found.missed else DONE


def _tables(experiments: int = 2000, seed: int = 0, only: tuple[str, ...] = ()) -> _Rates:
    """Simulate experiments whose truth is known; count how often tests and intervals are right.

    Single tests and intervals are measured, and the whole rule of the verdict. Nothing is trained;
    it takes about 20 minutes on two CPU cores. The exit code is 1 if a rate misses its bar.

    Args:
        experiments: Number of experiments in each setting.
        seed: Seed of all random numbers.
        only: Names of the settings to draw; by default all.
    """
    from osteo_ray.commands.validate_tables import list_missed, show_rates
    from osteo_ray.pipeline.validate.simulation_study import ALL_SETTINGS, validate_tables

    if experiments < 1 or seed < 0:
        raise InputError(
            "Expected at least one experiment and a seed of at least 0, but got "
            f"{experiments} experiments and seed {seed}."
        )
    known = {setting.name: setting for setting in ALL_SETTINGS}
    _check_names(only, known)
    chosen = [known[name] for name in only or known]
    with capture_noise() as captured:
        say(captured.err, f"{len(chosen)} settings of {experiments} experiments each")
        findings = validate_tables(
            experiments,
            seed,
            settings=chosen,
            on_finding=lambda one: say(captured.err, f"done: {one.setting.name}"),
        )
    return _Rates(findings, list_missed(findings), show_rates)


def _verdicts(tables: int = 40, seed: int = 0, only: tuple[str, ...] = ()) -> _Rates:
    """Judge tables of results whose verdict is known, and count the right ones.

    Each situation is one in which a verdict could be fooled. Nothing is trained, and no cluster is
    started; 40 tables of each situation take about two minutes. The exit code is 1 if fewer than
    95 % of the verdicts in a situation are right, beyond the noise of the count.

    Args:
        tables: Number of tables of each situation.
        seed: Seed of all random numbers.
        only: Names of the situations to judge; by default all.
    """
    from osteo_ray.commands.validate_tables import list_missed_verdicts, show_verdicts
    from osteo_ray.pipeline.validate.situations import SITUATIONS
    from osteo_ray.pipeline.validate.verdict_study import count_verdicts

    if tables < 1 or seed < 0:
        raise InputError(
            "Expected at least one table and a seed of at least 0, but got "
            f"{tables} tables and seed {seed}."
        )
    known = {situation.name: situation for situation in SITUATIONS}
    _check_names(only, known)
    chosen = [known[name] for name in only or known]
    with capture_noise() as captured:
        say(captured.err, f"{len(chosen)} situations of {tables} tables each")
        findings = [count_verdicts(situation, tables, seed) for situation in chosen]
    return _Rates(findings, list_missed_verdicts(findings), show_verdicts)


def _check_names(only: Sequence[str], known: Collection[str]) -> None:
    """Raise an InputError unless all names are known."""
    for name in only:
        if name not in known:
            raise InputError(
                f"Expected --only among {', '.join(f'`{one}`' for one in known)}, but got `{name}`."
                + suggest(name, known)
            )


def _worlds(
    experiments: int = 40, out: str = "validation", only: tuple[str, ...] = ()
) -> _Rates | None:
    """Train real models in planted worlds, whose truth is known; count the right verdicts.

    It takes some hours on two CPU cores. Run the same command again to resume it. The exit code is
    1 if a rate misses its bar.

    Args:
        experiments: Number of experiments in each world.
        out: Folder in which each verdict is kept.
        only: Names of the worlds to run; by default all.
    """
    from osteo_ray.base.progress import JobProgress
    from osteo_ray.base.time_left import Stage
    from osteo_ray.commands.validate_tables import list_missed_worlds, show_worlds
    from osteo_ray.pipeline.validate.planted_worlds import WORLDS
    from osteo_ray.pipeline.validate.world_study import (
        locate_verdict,
        plan_experiments,
        validate_worlds,
    )

    if experiments < 1:
        raise InputError(f"Expected at least one experiment, but got {experiments}.")
    _check_names(only, WORLDS)
    chosen = [WORLDS[name] for name in only or WORLDS]
    place = locate_here(out) / "worlds"
    planned = plan_experiments(chosen, experiments)
    n_there = sum(locate_verdict(place, *one).exists() for one in planned)
    stage = Stage("worlds", "experiments", len(planned), 1.0, n_there)
    with capture_noise() as captured, noticing_interrupts() as was_interrupted:
        progress = JobProgress(captured.err)
        try:
            with progress.showing([stage]), progress.stage("worlds"):
                findings = validate_worlds(
                    chosen,
                    experiments,
                    place,
                    on_done=lambda: progress.advance("worlds", 1),
                )
        except (KeyboardInterrupt, Exception) as error:
            if not was_interrupted() and not isinstance(error, KeyboardInterrupt):
                raise
            kept = "Finished verdicts are kept. Run the same command again to resume."
            say(captured.err, f"\nInterrupted. {kept}", WARNING)
            return None
    return _Rates(findings, list_missed_worlds(findings), show_worlds)
