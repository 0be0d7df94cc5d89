"""`osteo-ray report`."""

from typing import Annotated

import tyro
from rich.console import Console

from osteo_ray.commands.parsing import DONE
from osteo_ray.commands.terminal import say


def report_command(arguments: list[str]) -> int:
    """Run `osteo-ray report` with these words; return the exit code."""

    def report(run: Annotated[str, tyro.conf.Positional]) -> None:
        """Write the report of a run again from its tables.

        Args:
            run: Path or URI of the run directory.
        """
        from osteo_ray.base.runs import open_run
        from osteo_ray.experiment.soundness import refuse_damage
        from osteo_ray.report.page import READ, write_report

        found = open_run(run)
        refuse_damage(found, READ)
        say(Console(), f"Report: {write_report(found)}")

    tyro.cli(report, prog="osteo-ray report", args=arguments)
    return DONE
