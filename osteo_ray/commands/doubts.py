"""The banner at the end of a run whose quality is in doubt."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from osteo_ray.commands.terminal import WARNING
from osteo_ray.experiment.doubts import list_doubts


def show_doubts(console: Console, comparison: Mapping[str, Any]) -> None:
    """Show a banner with everything that makes the results doubtful; nothing if nothing does."""
    doubts = list_doubts(comparison)
    if doubts:
        lines = Text("\n".join(f"• {one}" for one in doubts))
        console.print(
            Panel(lines, title="Read with care", border_style=WARNING, title_align="left")
        )
