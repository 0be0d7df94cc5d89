"""`osteo-ray figures`."""

from typing import Annotated

import tyro
from rich.console import Console

from osteo_ray.base.errors import InputError
from osteo_ray.base.storage import reach_folder
from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.help_text import JSON
from osteo_ray.commands.parsing import DONE
from osteo_ray.commands.terminal import say

_FIGURES_HELP = """\
Write each figure of the report, and each counterpart of the paper's, as SVG, PDF and PNG with its
data as CSV, and tables as Markdown, LaTeX and CSV (docs/figures.md).

osteo-ray figures RUN [RUN ...] --out DIR takes run directories and folders of osteo-ray judge.
Several get a folder each. A clean run, or one beside a run of the paper's protocol, also gives the
decomposition: what the gain is made of, step by step. DIR/figures.md says what each figure shows,
and why others are not there. --json prints the list as JSON.
"""


def figures_command(arguments: list[str]) -> int:
    """Run `osteo-ray figures` with these words; return the exit code."""
    as_json = JSON in arguments

    def figures(
        runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        out: Annotated[str, tyro.conf.arg(metavar="DIR")],
    ) -> None:
        """Write figures and tables for a paper.

        Args:
            runs: Run directories, or folders of osteo-ray judge.
            out: Folder for the files; those of the same names are replaced.
        """
        from osteo_ray.base.runs import open_run
        from osteo_ray.experiment.soundness import refuse_damage
        from osteo_ray.report.figure_files import INDEX, group_absent, write_figures
        from osteo_ray.report.page import READ

        if not runs:
            raise InputError("Expected one or more runs, but got none. Name a run directory.")
        folder = reach_folder(out)
        opened = [open_run(run) for run in runs]
        for one in opened:
            refuse_damage(one, READ)
        written = write_figures(opened, folder)
        plots = [plot for files in written for plot in files.plots]
        tables = [table for files in written for table in files.tables]
        if as_json:
            found = {
                "index": folder / INDEX,
                "figures": [
                    {"folder": files.folder, "name": one.name, "counterpart": one.counterpart}
                    for files in written
                    for one in files.plots
                ],
                "tables": [
                    {"folder": files.folder, "name": one.name}
                    for files in written
                    for one in files.tables
                ],
                "absent": [
                    {"of": files.title, "name": one.name, "reason": one.reason}
                    for files in written
                    for one in files.absent
                ],
            }
            print_json(Console(), found)
            return
        for files in written:
            if files.unread:
                say(Console(), files.unread)
            for reason, names in group_absent(files.absent).items():
                say(Console(), f"{files.title}: no {', '.join(names)}. {reason}")
        say(Console(), f"{len(plots)} figures and {len(tables)} tables: {folder / INDEX}")

    words = [word for word in arguments if word != JSON]
    tyro.cli(figures, prog="osteo-ray figures", description=_FIGURES_HELP, args=words)
    return DONE
