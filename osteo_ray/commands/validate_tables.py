"""Measured error rates as text on a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from osteo_ray.pipeline.validate.rates import Rate
from osteo_ray.pipeline.validate.simulation_study import SettingFinding
from osteo_ray.pipeline.validate.world_study import WorldFinding, join_false_gains


def show_rates(console: Console, findings: Sequence[SettingFinding]) -> None:
    """Show every rate with its interval, and which bars are missed."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)  # fits 80 columns
    table.add_column("rate, in %", no_wrap=True)
    for heading in ("", "95 % interval", "bar", "missed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for finding in findings:
        setting = finding.setting
        table.add_row(setting.name)
        table.add_row(f"  {setting.n_seeds} seeds, {finding.n_test:.0f} test images")
        for name, rate in finding.rates.items():
            meaning = name
            if name == "power" and finding.planned_power is not None:
                meaning += f" (planned: {100 * finding.planned_power:.1f})"
            table.add_row(f"  {meaning}", *_describe(rate))
        table.add_section()
    console.print(table)
    console.print(
        "A bar is missed where the whole interval of a rate lies outside it.",
        highlight=False,
    )


def list_missed(findings: Sequence[SettingFinding]) -> list[str]:
    """Name the rates that miss their bars."""
    return [
        f"{finding.setting.name}: {name} {100 * rate.value:.1f} %"
        for finding in findings
        for name, rate in finding.rates.items()
        if rate.is_missed
    ]


def _describe(rate: Rate) -> tuple[str, str, str, str]:
    bar = "–" if rate.bar is None else f"{100 * rate.bar[0]:.0f} to {100 * rate.bar[1]:.0f}"
    return (
        f"{100 * rate.value:.1f}",
        f"{100 * rate.low:.1f} to {100 * rate.high:.1f}",
        bar,
        "MISSED" if rate.is_missed else "",
    )


def show_worlds(console: Console, findings: Sequence[WorldFinding]) -> None:
    """Show the verdicts in each planted world."""
    table = Table(box=box.SIMPLE)
    table.add_column("world", no_wrap=True)
    table.add_column("right is")
    for heading in ("right", "95 % interval", "experiments"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdicts")
    for finding in findings:
        right, wanted = finding.right, finding.world.verdicts
        table.add_row(
            finding.world.name,
            wanted[0] if len(wanted) == 1 else "any but a real gain",
            f"{100 * right.value:.1f} %",
            f"{100 * right.low:.1f} to {100 * right.high:.1f}",
            str(right.n),
            ", ".join(f"{name} {count}" for name, count in finding.verdicts.items()),
        )
    console.print(table)
    false = join_false_gains(findings)
    if false is not None:
        console.print(
            f"A real gain was found in {false.n_hits} of {false.n} experiments without one "
            f"({100 * false.low:.1f} to {100 * false.high:.1f} %).",
            highlight=False,
        )


def list_missed_worlds(findings: Sequence[WorldFinding]) -> list[str]:
    """Name the worlds in which fewer verdicts are right, or more gains false, than promised."""
    missed = [
        f"{finding.world.name}: {100 * finding.right.value:.1f} % right"
        for finding in findings
        if finding.right.is_missed
    ]
    false = join_false_gains(findings)
    if false is not None and false.is_missed:
        missed.append(f"{100 * false.value:.1f} % real gains where there are none")
    return missed
