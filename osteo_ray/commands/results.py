"""`osteo-ray report`, `export` and `check-table`: what is made of results that are there."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from osteo_ray.base.errors import InputError
from osteo_ray.commands.parsing import DONE, FINDINGS
from osteo_ray.commands.terminal import say


def report_command(arguments: list[str]) -> int:
    """Run `osteo-ray report` with these words; return the exit code."""

    def report(run: Annotated[str, tyro.conf.Positional]) -> None:
        """Write the report of a run again from its tables.

        Args:
            run: Path or URI of the run directory.
        """
        from osteo_ray.base.runs import open_run
        from osteo_ray.report.page import write_report

        found = open_run(run)
        if not found.comparison.exists():
            raise InputError(
                f"Expected a finished run, but {found.root} holds no comparison.json. Run "
                "osteo-ray compare with this directory as --out first."
            )
        say(Console(), f"Report: {write_report(found)}")

    tyro.cli(report, prog="osteo-ray report", args=arguments)
    return DONE


def export_command(arguments: list[str]) -> int:
    """Run `osteo-ray export` with these words; return the exit code."""

    def export(
        run: Annotated[str, tyro.conf.Positional],
        arm: str = "lime",
        form: Annotated[Literal["folder", "npz", "parquet"], tyro.conf.arg(name="as")] = "folder",
        out: str | None = None,
        models: tuple[str, ...] = (),
        seeds: tuple[int, ...] = (),
    ) -> None:
        """Write the images as an arm saw them, with masks, splits and a datasheet.

        Args:
            run: Path or URI of the run directory.
            arm: An arm of the run.
            form: A folder of PNG files, NumPy arrays, or a Parquet file.
            out: Where to write; by default exports/ARM-FORM in the run directory.
            models: Models to export; by default all models of the run.
            seeds: Seeds to export; by default all seeds of the run.
        """
        from osteo_ray.base.runs import open_run
        from osteo_ray.base.storage import reach
        from osteo_ray.pipeline.export.exports import export_run

        place = None if out is None else reach(out)
        for data_set in export_run(open_run(run), arm, form, out=place, models=models, seeds=seeds):
            text = "Written" if data_set.is_new else "Already there, left unchanged"
            say(Console(), f"{text}: {data_set.path}")

    tyro.cli(export, prog="osteo-ray export", args=arguments)
    return DONE


_CHECK_TABLE_HELP = """\
List, row by row, the confusion matrices that a printed table of results allows.

osteo-ray check-table FILE.csv takes the columns model, data_set, one or more of accuracy,
precision, recall, specificity, f1 (as printed: the number of decimals is the precision that a
figure claims), n_positive and n_negative (or n_test alone), and, if a matrix is printed too, tp,
fp, fn, tn. It lists the matrices that fit, names cells that contradict each other or the matrix,
and bounds the p of McNemar's exact test between the rows of a model. Exit code 0: all rows are
consistent; 3: findings.
"""


def check_table_command(arguments: list[str]) -> int:
    """Run `osteo-ray check-table` with these words; return the exit code."""

    def check_table(
        file: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.csv")] = None,
        paper: bool = False,
    ) -> Path | None:
        """Check a printed table.

        Args:
            file: A CSV file; docs/check-table.md has an example.
            paper: Check the table of the paper that osteo_ray repeats.
        """
        if (file is None) != paper:
            got = "both" if paper else "neither"
            raise InputError(f"Expected either a CSV file or --paper, but got {got}.")
        return None if file is None else Path(file).expanduser()

    path = tyro.cli(
        check_table, prog="osteo-ray check-table", description=_CHECK_TABLE_HELP, args=arguments
    )
    # Imported here: SciPy takes a second to import, and `--help` does without it.
    from osteo_ray.check_table import table_check
    from osteo_ray.check_table.published import list_printed_rows
    from osteo_ray.check_table.table_csv import PrintedTable, read_printed_table
    from osteo_ray.commands.check_table_tables import show_table_check

    table = PrintedTable(list_printed_rows(), ()) if path is None else read_printed_table(path)
    found = table_check.check_table(table.rows)
    show_table_check(Console(), found, ignored=table.ignored)
    return DONE if found.is_consistent else FINDINGS
