"""Read a printed table from a file; whatever is not understood is refused, with its place."""

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from osteo_ray.base.errors import InputError
from osteo_ray.check_table.cells import (
    Cell,
    exceeds_one,
    is_empty,
    read_cell,
    read_count,
    split_figure,
)
from osteo_ray.check_table.headers import CLASS_COUNT, SIZES, Header, read_header
from osteo_ray.check_table.matrices import MOST_MATRICES, Confusion, PrintedRow, count_possible
from osteo_ray.check_table.scores import FIGURES, SIGNED
from osteo_ray.check_table.table_rows import read_fields

_LARGEST = 2**24  # characters
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class PrintedTable:
    """The rows of a file, and its columns that are not checked."""

    rows: list[PrintedRow]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class _Line:
    """A line of the file: its number and its non-empty cells."""

    number: int
    cells: Mapping[str, str]

    def refuse(self, column: str, problem: str) -> InputError:
        column = column.removeprefix(CLASS_COUNT)
        return InputError(f"Line {self.number}, column {column}: {problem}")

    def count(self, column: str) -> int | None:
        text = self.cells.get(column)
        if text is None:
            return None
        try:
            return read_count(text, "folds or runs" if column == "folds" else "images")
        except ValueError as error:
            raise self.refuse(column, str(error)) from None


def read_printed_table(path: Path) -> PrintedTable:
    """Read a table: a header, then a line per row, in one of the forms that `read_fields` reads.

    docs/check-table.md lists the columns. Headings may be spelled as tables print them. A cell may
    be empty, or have a mark such as `-` or `n/a`.

    Raises:
        InputError: The file is not such a table; the message names the line and column.
    """
    try:
        with path.open("rb") as opened:
            encoding = "utf-16" if opened.read(2) in _UTF_16 else "utf-8-sig"
        with path.open(encoding=encoding) as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"Expected a readable CSV file, but {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(
            f"Expected CSV in UTF-8, or in UTF-16 with its mark, but {path} is in neither."
        ) from None
    if len(text) > _LARGEST:
        raise InputError(
            f"Expected a printed table of at most {_LARGEST:,} characters, but {path} has more. "
            "Give a file with a line for each row that is printed."
        )
    lines, header = _split(text, path)
    percent = {
        name: _is_percent(lines, name, has_sign)
        for name, has_sign in zip(header.names, header.is_percent, strict=True)
        if name in FIGURES
    }
    rows: list[PrintedRow] = []
    seen: dict[tuple[str, str], int] = {}
    for line in lines:
        row = _read_row(line, header.names, percent)
        key = (row.model, row.data_set)
        if key in seen:
            raise line.refuse(
                "data_set" if row.data_set else "model",
                f"Expected each row once, but {row.name} is also in line {seen[key]}.",
            )
        seen[key] = line.number
        rows.append(row)
    return PrintedTable(rows, header.aside)


def _split(text: str, path: Path) -> tuple[list[_Line], Header]:
    lines: list[_Line] = []
    header: Header | None = None
    for number, fields in read_fields(text):
        if header is None:
            header = read_header(fields, number)
            continue
        if len(fields) != len(header.names):
            raise InputError(
                f"Line {number}: Expected {len(header.names)} columns as in the header, but got "
                f"{len(fields)}. Figures with a decimal comma need quotes, or semicolons between "
                "columns."
            )
        cells = {
            name: field.strip()
            for name, field in zip(header.names, fields, strict=True)
            if name and not is_empty(field)
        }
        lines.append(_Line(number, cells))
    if header is None or not lines:
        raise InputError(f"Expected a header and at least one row, but {path} has no row.")
    return lines, header


def _is_percent(lines: Sequence[_Line], name: str, has_sign: bool) -> bool:
    """Say whether the figures of a column are percentages although they lack the sign.

    They are if one of them is above 1. Where some are and others are not, only a sign in the
    heading says what the others are.
    """
    plain = [
        (line, line.cells[name])
        for line in lines
        if name in line.cells
        and "%" not in line.cells[name]
        and not split_figure(line.cells[name]).endswith("%")  # as counts are read
    ]
    large = [text for _, text in plain if exceeds_one(text)]
    if not large:
        return False
    for line, text in plain:
        if not has_sign and not exceeds_one(text) and re.search(r"[1-9]", text):
            raise line.refuse(
                name,
                f"Expected shares, or percentages, but the column has both `{text}` and "
                f"`{large[0]}`. Write % after percentages.",
            )
    return True


def _read_row(line: _Line, names: Sequence[str], percent: Mapping[str, bool]) -> PrintedRow:
    for column in ("model", "data_set"):
        if column in names and column not in line.cells:
            raise line.refuse(column, "Expected a name, but it is empty.")
    cells: dict[str, Cell] = {}
    for name in FIGURES:
        if name in line.cells:
            try:
                cells[name] = read_cell(
                    line.cells[name], percent=percent[name], signed=name in SIGNED
                )
            except ValueError as error:
                raise line.refuse(name, str(error)) from None
    if not cells:
        column = next(name for name in FIGURES if name in names)
        raise line.refuse(column, "Expected at least one figure in this row, but got none.")
    confusion = _read_confusion(line)
    classes = _read_class_counts(line)
    row = PrintedRow(
        line.cells.get("model", "" if "data_set" in line.cells else f"line {line.number}"),
        line.cells.get("data_set", ""),
        cells,
        _read_sizes(line, confusion) if len(classes) < 3 else (),
        confusion,
        line.cells.get("source", "the matrix given"),
        _read_folds(line),
        classes if len(classes) > 2 else (),
    )
    if count_possible(row) > MOST_MATRICES:
        hint = " Give n_positive and n_negative." if len(row.divisions) > 1 else ""
        raise line.refuse(
            "n_test",
            f"Expected a test set that allows at most {MOST_MATRICES} confusion matrices, but "
            f"{row.n_test} images allow {count_possible(row)}.{hint}",
        )
    return row


def _read_folds(line: _Line) -> int | None:
    folds = line.count("folds")
    if folds == 0:
        raise line.refuse("folds", "Expected at least 1 run or fold, but got 0.")
    return folds


def _read_class_counts(line: _Line) -> tuple[int, ...]:
    """Return the test images of each class, if there are more than two; else nothing."""
    counts = [line.count(name) for name in line.cells if name.startswith(CLASS_COUNT)]
    if "class_counts" in line.cells:
        text = line.cells["class_counts"]
        parts = re.split(r"\s*[/;:+|]\s*|\s+", text)
        try:
            counts = [read_count(part) for part in parts]
        except ValueError:
            raise line.refuse(
                "class_counts",
                f"Expected the test images of each class, such as 50/30/20, but got `{text}`.",
            ) from None
    found = tuple(count for count in counts if count is not None)
    if not found:
        return ()
    if len(found) < 3 or 0 in found:
        raise line.refuse(
            "class_counts",
            f"Expected at least three classes of at least one test image, but got {list(found)}. "
            "For two classes, give n_positive and n_negative.",
        )
    stated = line.count("n_test")
    if stated is not None and stated != sum(found):
        raise line.refuse(
            "n_test", f"Expected the sum of the classes, which is {sum(found)}, but got {stated}."
        )
    for name in ("n_positive", "n_negative", *Confusion._fields):
        if name in line.cells:
            raise line.refuse(name, f"Expected two classes, but this row has {len(found)}.")
    return found


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
