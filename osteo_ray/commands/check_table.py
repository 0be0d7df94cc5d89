"""`osteo-ray check-table`."""

from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from osteo_ray.base.errors import InputError
from osteo_ray.commands.parsing import DONE, FINDINGS

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
