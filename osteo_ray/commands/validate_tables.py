"""Measured error rates on a terminal."""

from collections.abc import Sequence

from rich.console import Console

from osteo_ray.base.formatting import format_percent, format_score
from osteo_ray.commands.terminal import print_table, say
from osteo_ray.pipeline.validate.rates import Rate
from osteo_ray.pipeline.validate.simulation_study import SettingFinding
from osteo_ray.pipeline.validate.verdict_study import SituationFinding
from osteo_ray.pipeline.validate.world_study import WorldFinding, join_false_gains


def show_rates(console: Console, findings: Sequence[SettingFinding]) -> None:
    """Show every rate with its interval, and which bars are missed; fits 80 columns."""
    rows: list[tuple[str, ...]] = []
    for finding in findings:
        setting = finding.setting
        rows.append((setting.name,))
        rows.append((f"  {setting.n_seeds} seeds, {finding.n_test:.0f} test images",))
        for name, rate in finding.rates.items():
            meaning = name
            if name == "power" and finding.planned_power is not None:
                meaning += f" (planned: {100 * finding.planned_power:.1f})"
            bar = "–" if rate.bar is None else f"{100 * rate.bar[0]:.0f} to {100 * rate.bar[1]:.0f}"
            missed = "MISSED" if rate.is_missed else ""
            value = format_score(100 * rate.value, 1)
            rows.append((f"  {meaning}", value, _describe_interval(rate), bar, missed))
        rows.append(())
    print_table(console, ("rate, in %", "", "95 % interval", "bar", "missed"), rows)
    say(console, "A bar is missed if the whole interval of a rate lies outside it.")


def _describe_interval(rate: Rate) -> str:
    return f"{100 * rate.low:.1f} to {100 * rate.high:.1f}"


def list_missed(findings: Sequence[SettingFinding]) -> list[str]:
    """Name the rates that miss their bars."""
    return [
        f"{finding.setting.name}: {name} {format_percent(rate.value, 1)}"
        for finding in findings
        for name, rate in finding.rates.items()
        if rate.is_missed
    ]


def show_verdicts(console: Console, findings: Sequence[SituationFinding]) -> None:
    """Show the verdicts in each situation."""
    print_table(
        console,
        ("situation", "right verdict", "right", "verdicts"),
        [
            (
                finding.situation.name,
                " or ".join(finding.situation.right),
                f"{finding.right.n_hits} of {finding.right.n}",
                ", ".join(f"{name} {count}" for name, count in finding.verdicts.items()),
            )
            for finding in findings
        ],
        prose=(0, 1, 3),
    )
    n_right = sum(finding.right.n_hits for finding in findings)
    n = sum(finding.right.n for finding in findings)
    say(console, f"{n_right} of {n} verdicts are right.")


def list_missed_verdicts(findings: Sequence[SituationFinding]) -> list[str]:
    """Name the situations in which fewer verdicts are right than promised."""
    return [
        f"{finding.situation.name}: {format_percent(finding.right.value, 1)} right"
        for finding in findings
        if finding.right.is_missed
    ]


def show_worlds(console: Console, findings: Sequence[WorldFinding]) -> None:
    """Show the verdicts in each planted world."""

    def describe(finding: WorldFinding) -> tuple[str | int, ...]:
        right, wanted = finding.right, finding.world.verdicts
        return (
            finding.world.name,
            " or ".join(wanted),
            format_percent(right.value, 1),
            _describe_interval(right),
            right.n,
            ", ".join(f"{name} {count}" for name, count in finding.verdicts.items()),
        )

    print_table(
        console,
        ("world", "right verdict", "right", "95 % interval", "experiments", "verdicts"),
        [describe(finding) for finding in findings],
        prose=(1, 5),
    )
    false = join_false_gains(findings)
    if false is not None:
        say(
            console,
            f"A real gain was found in {false.n_hits} of {false.n} experiments without one "
            f"({_describe_interval(false)} %).",
        )


def list_missed_worlds(findings: Sequence[WorldFinding]) -> list[str]:
    """Name the worlds in which fewer verdicts are right, or more gains false, than promised."""
    missed = [
        f"{finding.world.name}: {format_percent(finding.right.value, 1)} right"
        for finding in findings
        if finding.right.is_missed
    ]
    false = join_false_gains(findings)
    if false is not None and false.is_missed:
        missed.append(f"{format_percent(false.value, 1)} real gains where there are none")
    return missed
