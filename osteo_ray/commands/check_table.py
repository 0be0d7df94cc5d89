"""`osteo-ray check-table`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from osteo_ray.base.errors import InputError
from osteo_ray.base.storage import locate_here
from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.parsing import DONE, FINDINGS

_CHECK_TABLE_HELP = """\
Find figures in a printed table of results that no test can have given.

osteo-ray check-table FILE takes a table as it is printed: a heading per column (Accuracy (%),
Sens., F1-score, Kappa ... in any spelling), a row per model, and the test images per class
(n_positive and n_negative, or n_test alone, or n_CLASS for each of several classes). The number of
decimals is the precision that a figure claims. For each row it lists the confusion matrices that
fit. If none does, it tries whether the row reports weighted or macro averages, the scores of the
other class, or means over runs or folds, and calls the row wrong only if none of these fits. It
also says what a difference between two rows is worth: the range of McNemar's exact p, and the
probability that the better row is not better. Exit code 0: all rows are consistent; 3: findings.
"""


def check_table_command(arguments: list[str]) -> int:
    """Run `osteo-ray check-table` with these words; return the exit code."""

    def check_table(
        file: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")] = None,
        paper: bool = False,
        one_test: bool = False,
        agreement: tuple[float, float] = (0.8, 0.95),
        json: tyro.conf.FlagCreatePairsOff[bool] = False,
    ) -> tuple[Path | None, bool, tuple[float, float], bool]:
        """Check a printed table.

        Args:
            file: A CSV file; docs/check-table.md has an example.
            paper: Check the table of the paper that osteo_ray repeats.
            one_test: Every row is one test of one model. Means over runs or folds are not tried.
            agreement: The smallest and the largest share of test images on which two models are
                usually both right or both wrong.
            json: Print the findings as JSON.
        """
        if (file is None) != paper:
            got = "both" if paper else "neither"
            raise InputError(f"Expected either a file or --paper, but got {got}.")
        if not 0 <= agreement[0] <= agreement[1] <= 1:
            low, high = agreement
            raise InputError(
                "Expected two shares from 0 to 1 for --agreement, the smaller one first, but got "
                f"{low:g} {high:g}."
            )
        place = None if file is None else locate_here(file, "FILE")
        return place, one_test, agreement, json

    path, one_test, agreement, as_json = tyro.cli(
        check_table, prog="osteo-ray check-table", description=_CHECK_TABLE_HELP, args=arguments
    )
    # Imported here: SciPy takes a second to import, and `--help` does without it.
    from osteo_ray.check_table import table_check
    from osteo_ray.check_table.published import list_printed_rows
    from osteo_ray.check_table.table_file import PrintedTable, read_printed_table
    from osteo_ray.commands.check_table_tables import show_table_check

    table = PrintedTable(list_printed_rows(), ()) if path is None else read_printed_table(path)
    rows = [
        dataclasses.replace(row, n_averaged=1) if one_test and row.n_averaged is None else row
        for row in table.rows
    ]
    found = table_check.check_table(rows, agreement)
    if as_json:
        print_json(Console(), {"table": found, "ignored": table.ignored})
        return DONE if found.is_consistent else FINDINGS
    show_table_check(Console(), found, ignored=table.ignored, agreement=agreement)
    return DONE if found.is_consistent else FINDINGS
