"""Files of predictions that anybody may have written, read as a table whose columns are checked."""

import csv
import gzip
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.remote import first_line
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import read_table

KEYS = ("model", "seed", "arm", "split", "image_id", "label")
"""Columns that every table has, beside one `p_CLASS` per class."""
OPTIONAL = ("group", "site")
"""Columns that a table may have: what images belong to, and where they come from."""
SPLITS = ("train", "validation", "test")
_PARQUET, _GZIP, _UTF_16 = b"PAR1", b"\x1f\x8b", (b"\xff\xfe", b"\xfe\xff")


def read_prediction_file(place: Place, text: str) -> pa.Table:
    """Read a Parquet file or delimited text: commas, semicolons or tabs, plain or gzipped.

    Args:
        place: The file.
        text: What the user called it, for messages.

    Returns:
        As `check_columns` returns it.

    Raises:
        InputError: It cannot be read, or lacks a column.
    """
    try:
        table = read_table(place) if _is_parquet(place) else _read_text(place.read_bytes())
    except (pa.ArrowException, OSError, EOFError, ValueError, zlib.error, csv.Error) as error:
        reason = first_line(error)
        raise InputError(
            f"Expected {text} to be a Parquet or CSV table of predictions, but it cannot be read: "
            f"{reason[:200]}. Write it again as Parquet, or as CSV in UTF-8."
        ) from None
    return check_columns(table, text)


def _is_parquet(place: Place) -> bool:
    if not isinstance(place, Path):  # to look into it is to fetch it
        return place.name.lower().endswith(".parquet")
    with place.open("rb") as file:
        return file.read(len(_PARQUET)) == _PARQUET


def _read_text(content: bytes) -> pa.Table:
    """Read delimited text; all columns stay text, so that a class may be called 0 or NA."""
    if content.startswith(_GZIP):
        content = gzip.decompress(content)
    if content.startswith(_UTF_16):
        content = content.decode("utf-16").encode()
    content = content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if not content.strip():
        raise ValueError("it is empty")
    if b"\0" in content:
        raise ValueError("it is binary")
    first = content.splitlines()[0].decode("utf-8")
    delimiter = max(",;\t", key=first.count)
    names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
    return pyarrow.csv.read_csv(
        pa.BufferReader(content + b"\n"),  # a header alone needs the end of its line
        read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=1),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def check_columns(table: pa.Table, text: str) -> pa.Table:
    """Check the columns of a table of predictions; keep those that are needed.

    Args:
        table: As it was read.
        text: What the user called it, for messages.

    Returns:
        `KEYS` as text without gaps (`seed` as int64), `p_CLASS` per class as it was read, and
        `OPTIONAL` as text, null where a cell is empty, where they are there.

    Raises:
        InputError: A column or a value is missing, or the name of a split is unknown.
    """
    names = table.column_names
    _check_names(names, text)
    if not len(table):
        raise InputError(
            f"Expected predictions in {text}, but the table has no rows. Write a row per "
            "prediction, or leave the table out."
        )
    columns = {name: _read_key(table, name, text) for name in KEYS}
    unknown = sorted(set(pc.unique(columns["split"]).to_pylist()) - set(SPLITS))
    if unknown:
        raise InputError(
            f"Expected splits among {', '.join(SPLITS)} in {text}, but found `{unknown[0]}` in row "
            f"{_find(pc.equal(columns['split'], unknown[0])) + 1}.{suggest(unknown[0], SPLITS)} "
            "Rename it."
        )
    columns |= {name: table[name] for name in names if name.startswith("p_")}
    columns |= {name: _read_optional(table[name]) for name in OPTIONAL if name in names}
    return pa.table(columns)


def _check_names(names: list[str], text: str) -> None:
    found = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(
            f"Expected each column once in {text}, but `{twice[0]}` stands there "
            f"{names.count(twice[0])} times. Remove or rename all but one."
        )
    missing = [name for name in KEYS if name not in names]
    if missing:
        others = [name for name in names if name not in KEYS]
        nearest = "".join(suggest(name, others) for name in missing)
        raise InputError(
            f"Expected the columns {', '.join(KEYS)} and a column p_CLASS per class in {text}, but "
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; found {found}."
            f"{nearest} Rename or add {'it' if len(missing) == 1 else 'them'}."
        )
    if len([name for name in names if name.startswith("p_")]) < 2:
        raise InputError(
            f"Expected a column p_CLASS with a probability for each of two or more classes in "
            f"{text}, but found {found}. With one probability p per image, add a column for the "
            "other class with 1 - p."
        )


def _read_key(table: pa.Table, name: str, text: str) -> pa.ChunkedArray:
    column = table[name]
    as_text = _to_text(column)
    empty = pc.or_(pc.is_null(as_text), pc.equal(pc.coalesce(as_text, pa.scalar("")), ""))
    if pc.any(empty).as_py():
        raise InputError(
            f"Expected a value in every row of {text}, but {name} is empty in row "
            f"{_find(empty) + 1}. Fill it in, or leave the row out."
        )
    if name == "image_id":
        return _drop_point(as_text)
    if name != "seed":
        return as_text
    for numbers in (column, as_text):
        for between in (pa.int64(), pa.float64()):  # 3, and 3.0 as tables with gaps write it
            try:
                return numbers.cast(between).cast(pa.int64())
            except pa.ArrowException:
                continue
    raise InputError(
        f"Expected whole numbers in the column seed of {text}, but found {_quote_other(as_text)}. "
        "Number the trainings of an arm 0, 1, 2, …"
    )


def _read_optional(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text, null where nothing is said: an empty cell, or NaN as gaps become in numbers."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    text = _to_text(column)
    return _drop_point(pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text))


def _drop_point(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return whole numbers, which become 7.0 beside gaps, as 7; text that is none as it is."""
    if pc.all(pc.match_substring_regex(text, r"^-?\d+(\.0*)?$")).as_py():
        return pc.replace_substring_regex(text, r"\.0*$", "")
    return text


def _to_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return pc.utf8_trim_whitespace(column.cast(pa.string()))
    except pa.ArrowException:
        plain = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(plain, pa.string())])


def read_numbers(column: pa.ChunkedArray, name: str, text: str) -> np.ndarray:
    """Read a column of probabilities: float64, (n_rows,), NaN where a value is missing.

    Raises:
        InputError: A value is no number.
    """
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        column = _to_text(column)
        as_text = column
        try:
            column = column.cast(pa.float64())
        except pa.ArrowException:
            try:  # 0,25 as spreadsheets of many countries write it
                column = pc.replace_substring(column, ",", ".").cast(pa.float64())
            except pa.ArrowException:
                raise InputError(
                    f"Expected numbers in the column {name} of {text}, but found "
                    f"{_quote_other(as_text)}. Write probabilities such as 0.25, or rename the "
                    "column if it is none of a class."
                ) from None
    numbers = column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return np.asarray(numbers, np.float64)


def _quote_other(column: pa.ChunkedArray) -> str:
    """Quote the first value that is no number, with its row; else the first fraction."""
    for whole in (False, True):
        for row, value in enumerate(column.to_pylist()):
            try:
                number = float(str(value).replace(",", ".")) if value is not None else 0.0
            except ValueError:
                return f"`{value}` in row {row + 1}"
            if whole and not number.is_integer():
                return f"`{value}` in row {row + 1}"
    return "others"


def _find(rows: pa.ChunkedArray) -> int:
    """Return the number of the first row that is true, from 0."""
    return int(np.argmax(rows.to_numpy(zero_copy_only=False)))
