"""How much variance each source of randomness contributes, on a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from osteo_ray.base.formatting import format_interval, format_percent, format_score
from osteo_ray.commands.terminal import print_table


def show_variance(console: Console, budget: Sequence[dict[str, Any]]) -> None:
    """Show what variance.json holds: a table per model and result."""
    for entry in budget:
        print_table(
            console,
            ("source", "sd", "share of variance", "95 % interval", "runs"),
            [
                (
                    source["source"],
                    format_score(source["sd"], 4),
                    format_percent(source["share"]),
                    format_interval(source["low"], source["high"], format_percent),
                    source["n_runs"],
                )
                for source in entry["sources"]
            ],
            title=f"{entry['model']}, {entry['result']}: mean {format_score(entry['mean'])}",
        )
