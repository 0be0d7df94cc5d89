"""Read a printed table from a CSV file; whatever is not understood is refused, with its place."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.check_table.matrices import (
    METRICS,
    MOST_MATRICES,
    Confusion,
    PrintedRow,
    count_possible,
    read_cell,
)

SIZES = ("n_positive", "n_negative", "n_test")
IGNORED = ("auc",)  # does not follow from a confusion matrix
COLUMNS = ("model", "data_set", *METRICS, *IGNORED, *SIZES, *Confusion._fields, "source")
_OTHER_NAMES = {"dataset": "data_set", "f1_score": "f1", "sensitivity": "recall"}


@dataclass(frozen=True)
class PrintedTable:
    """The rows of a file, and its columns that do not follow from confusion matrices."""

    rows: list[PrintedRow]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class _Line:
    """A line of the file: its number and its non-empty cells."""

    number: int
    cells: Mapping[str, str]

    def refuse(self, column: str, problem: str) -> InputError:
        return InputError(f"Line {self.number}, column {column}: {problem}")

    def count(self, column: str) -> int | None:
        text = self.cells.get(column)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise self.refuse(column, f"Expected a whole number of images, but got `{text}`.")
        return int(text)


def read_printed_table(path: Path) -> PrintedTable:
    """Read a table: a header, then a line per row; columns separated by commas, semicolons or tabs.

    Columns: model, data_set; at least one of `METRICS`; n_positive and n_negative, or n_test alone
    (then every division into classes is possible), or tp, fp, fn and tn, the matrix printed
    with the figures; source, which says where that matrix is printed. A cell may be empty.

    Raises:
        InputError: The file is not such a table; the message names the line and column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"Expected a readable CSV file, but {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"Expected CSV in UTF-8, but {path} is in another encoding.") from None
    lines, columns = _split(text, path)
    rows: list[PrintedRow] = []
    seen: dict[tuple[str, str], int] = {}
    for line in lines:
        row = _read_row(line)
        key = (row.model, row.data_set)
        if key in seen:
            raise line.refuse(
                "data_set",
                f"Expected each row once, but {row.name} is also in line {seen[key]}.",
            )
        seen[key] = line.number
        rows.append(row)
    return PrintedTable(rows, tuple(name for name in columns if name in IGNORED))


def _split(text: str, path: Path) -> tuple[list[_Line], list[str]]:
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[_Line] = []
    columns: list[str] = []
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if not columns:
                columns = _check_header(fields, reader.line_num)
                continue
            if len(fields) != len(columns):
                raise InputError(
                    f"Line {reader.line_num}: Expected {len(columns)} columns as in the header, "
                    f"but got {len(fields)}. Figures with a decimal comma need quotes, or "
                    "semicolons between columns."
                )
            cells = {
                name: field.strip() for name, field in zip(columns, fields, strict=True) if field
            }
            lines.append(
                _Line(reader.line_num, {name: cell for name, cell in cells.items() if cell})
            )
    except csv.Error as error:
        raise InputError(f"Line {reader.line_num}: Expected CSV, but found: {error}.") from None
    if not lines:
        raise InputError(f"Expected a header and at least one row, but {path} has no row.")
    return lines, columns


def _check_header(fields: list[str], number: int) -> list[str]:
    names = [re.sub(r"[\s-]+", "_", field.strip().lower()) for field in fields]
    names = [_OTHER_NAMES.get(name, name) for name in names]
    for name in names:
        if name not in COLUMNS:
            raise InputError(
                f"Line {number}: Expected columns among {', '.join(COLUMNS)}, but got `{name}`."
                + suggest(name, COLUMNS)
            )
        if names.count(name) > 1:
            raise InputError(f"Line {number}: Expected the column {name} once, but got it twice.")
    for name in ("model", "data_set"):
        if name not in names:
            raise InputError(f"Line {number}: Expected a column {name}, but got none.")
    if not set(names) & set(METRICS):
        raise InputError(
            f"Line {number}: Expected at least one of the columns {', '.join(METRICS)}, but got "
            f"only {', '.join(names)}."
        )
    return names


def _read_row(line: _Line) -> PrintedRow:
    for column in ("model", "data_set"):
        if column not in line.cells:
            raise line.refuse(column, "Expected a name, but it is empty.")
    cells = {}
    for name in METRICS:
        if name in line.cells:
            try:
                cells[name] = read_cell(line.cells[name])
            except ValueError as error:
                raise line.refuse(name, str(error)) from None
    if not cells:
        raise line.refuse(METRICS[0], "Expected at least one figure in this row, but got none.")
    confusion = _read_confusion(line)
    divisions = _read_sizes(line, confusion)
    source = line.cells.get("source", "the matrix given")
    model, data_set = line.cells["model"], line.cells["data_set"]
    row = PrintedRow(model, data_set, cells, divisions, confusion, source)
    if count_possible(row) > MOST_MATRICES:
        hint = " Give n_positive and n_negative." if len(divisions) > 1 else ""
        raise line.refuse(
            "n_test",
            f"Expected a test set that allows at most {MOST_MATRICES} confusion matrices, but "
            f"{row.n_test} images allow {count_possible(row)}.{hint}",
        )
    return row


def _read_confusion(line: _Line) -> Confusion | None:
    counts = {name: line.count(name) for name in Confusion._fields}
    given = {name: value for name, value in counts.items() if value is not None}
    if not given:
        return None
    for name in Confusion._fields:
        if name not in given:
            raise line.refuse(name, f"Expected all of tp, fp, fn, tn or none, but got {given}.")
    confusion = Confusion(**given)
    if sum(confusion) == 0:
        raise line.refuse("tp", "Expected a matrix of at least one image, but all four are 0.")
    return confusion


def _read_sizes(line: _Line, confusion: Confusion | None) -> tuple[tuple[int, int], ...]:
    """Return the possible numbers of positives and negatives; check them against each other."""
    positive, negative, total = (line.count(name) for name in SIZES)
    if positive is not None and negative is not None and total not in (None, positive + negative):
        problem = f"Expected n_positive + n_negative = {positive + negative}, but got {total}."
        raise line.refuse("n_test", problem)
    if confusion is not None:
        actual = (confusion.tp + confusion.fn, confusion.fp + confusion.tn, sum(confusion))
        sums = ("tp + fn", "fp + tn", "tp + fp + fn + tn")
        for name, text, n, stated in zip(
            SIZES, sums, actual, (positive, negative, total), strict=True
        ):
            if stated is not None and n != stated:
                raise line.refuse(name, f"Expected {text} = {n}, but got {stated}.")
    for name, one in (("n_positive", positive), ("n_negative", negative)):
        if one is not None and total is not None and one > total:
            raise line.refuse(name, f"Expected at most the {total} of n_test, but got {one}.")
    if positive is None and negative is not None and total is not None:
        positive = total - negative
    if negative is None and positive is not None and total is not None:
        negative = total - positive
    if positive is not None and negative is not None:
        divisions = [(positive, negative)]
    elif total is not None:
        divisions = [(n, total - n) for n in range(total + 1)]
    elif confusion is not None:
        divisions = [(confusion.tp + confusion.fn, confusion.fp + confusion.tn)]
    else:
        column = "n_negative" if positive is not None else "n_positive"
        raise line.refuse(
            column,
            "Expected n_positive and n_negative, or n_test, or a whole matrix: without the number "
            "of test images no figure can be checked.",
        )
    if sum(divisions[0]) == 0:
        raise line.refuse("n_test", "Expected at least one test image, but got 0.")
    return tuple(divisions)
