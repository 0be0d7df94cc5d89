"""`osteo-ray report`."""

from typing import Annotated

import tyro
from rich.console import Console

from osteo_ray.base.errors import InputError
from osteo_ray.base.storage import Place, reach, refuse_obstacle
from osteo_ray.commands.parsing import DONE
from osteo_ray.commands.terminal import say

_REPORT_HELP = """\
Write the report of a run, or of a judgement, again from its tables.

osteo-ray report RUN writes RUN/report.html. osteo-ray report RUN RUN [RUN ...] --out PAGE.html
writes one page that shows several beside each other: verdicts, contrasts, results, and the settings
that differ.
"""


def report_command(arguments: list[str]) -> int:
    """Run `osteo-ray report` with these words; return the exit code."""

    def report(
        runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        out: Annotated[str | None, tyro.conf.arg(metavar="PAGE.html")] = None,
    ) -> None:
        """Write the report of a run again from its tables, or a page about several.

        Args:
            runs: Run directories, or folders of osteo-ray judge.
            out: The page about several runs; one run has its page in its own folder.
        """
        from osteo_ray.base.runs import open_run
        from osteo_ray.experiment.soundness import refuse_damage
        from osteo_ray.report.beside import write_beside
        from osteo_ray.report.page import READ, write_report
        from osteo_ray.report.results import read_shown

        if not runs:
            raise InputError("Expected a run directory, or several, but got none.")
        if len(runs) == 1 and out is not None:
            raise InputError(
                "Expected --out with several runs only: the page of one run is report.html in its "
                "folder. Leave --out out, or name another run."
            )
        page = None if len(runs) == 1 else locate_page(out, len(runs))
        opened = [open_run(run) for run in runs]
        for one in opened:
            refuse_damage(one, READ)
        if page is None:
            say(Console(), f"Report: {write_report(opened[0])}")
            return
        write_beside([read_shown(one) for one in opened], page)
        say(Console(), f"Report: {page}")

    tyro.cli(report, prog="osteo-ray report", description=_REPORT_HELP, args=arguments)
    return DONE


def locate_page(out: str | None, n_runs: int) -> Place:
    """Return the page about several runs that --out names.

    Raises:
        InputError: It is missing, is a folder, or is no page.
    """
    if out is None or not out.partition("?")[0].endswith(".html"):
        raise InputError(
            f"Expected --out PAGE.html with {n_runs} runs, but got "
            f"{'none' if out is None else out}. Name the page to write."
        )
    page = reach(out)
    if page.is_dir():
        raise InputError(f"Expected --out to name a page, but {page} is a folder. Choose another.")
    refuse_obstacle(page.parent)
    return page
