"""Measured error rates as text on a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from osteo_ray.validate.tables import Finding, Rate


def show_rates(console: Console, findings: Sequence[Finding]) -> None:
    """Show every rate with its interval, and which bars are missed."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)  # fits 80 columns
    table.add_column("rate, in %", no_wrap=True)
    for heading in ("", "95 % interval", "bar", "missed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for finding in findings:
        setting = finding.setting
        table.add_row(f"{setting.name} ({setting.n_seeds} × {finding.n_test:.0f})")
        for name, rate in finding.rates.items():
            meaning = name
            if name == "power" and finding.planned_power is not None:
                meaning += f" (planned: {100 * finding.planned_power:.1f})"
            table.add_row(f"  {meaning}", *_describe(rate))
        table.add_section()
    console.print(table)
    console.print(
        "In brackets: seeds × test images. A bar is missed where the whole interval of a rate lies "
        "outside it.",
        highlight=False,
    )


def list_missed(findings: Sequence[Finding]) -> list[str]:
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
