"""What the protocol adds to each gain, on a terminal."""

from collections.abc import Sequence

from rich.console import Console

from osteo_ray.base.formatting import format_difference, format_interval, format_level, format_p
from osteo_ray.commands.terminal import print_table
from osteo_ray.experiment.protocol_gains import ProtocolGain


def show_protocols(console: Console, gains: Sequence[ProtocolGain], *, alpha: float) -> None:
    """Show each gain under both protocols.

    Args:
        console: Where to print.
        gains: One per model and arm.
        alpha: Intervals have the level 1 - alpha.
    """
    print_table(
        console,
        ("model, arm", "clean", "paper's", "difference", f"{format_level(alpha)} interval", "p"),
        [
            (
                f"{gain.model}, {gain.arm}",
                *map(format_difference, (gain.clean, gain.paper, gain.difference)),
                format_interval(gain.low, gain.high),
                format_p(gain.p),
            )
            for gain in gains
        ],
        title="Gain over original, by protocol",
    )
