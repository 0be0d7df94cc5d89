"""Tables as text: CSV and TSV with any of the usual separators and encodings, and JSON lines."""

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from osteo_ray.data.sources.columns import choose_columns
from osteo_ray.data.sources.unreadable import expecting

_MARKS = (  # the longer first, as that of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNSEEN = "\t\r\n\xa0\xad"  # what text may hold and none can see, in Windows-1252
_LINE_END = re.compile(r"\r\n?|\n")  # str.splitlines would also cut within the strings of JSON
_PROTECTED = re.compile(r'^="([^"]*)"$')  # what keeps Excel from cutting the zeros off `="017"`
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}

Parser = Callable[[str, Mapping[str, str]], tuple[pd.DataFrame, list[str]]]


def read_text_table(
    content: bytes, uri: str, columns: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Read a table whose cells are text, or values of JSON.

    Args:
        content: The file.
        uri: Its name, whose ending tells lines of JSON from separated values.
        columns: The columns that the user names, by role.

    Returns:
        The table, and what to tell the user about separator and encoding.

    Raises:
        InputError: It is no such table.
    """
    name = uri.partition("?")[0].lower() if "://" in uri else uri.lower()
    lines = name.endswith((".jsonl", ".ndjson"))
    what = "lines of JSON" if lines else "a table in text, such as CSV,"
    parse: Parser = _parse_lines if lines else _parse_csv
    with expecting(
        f"{what} with the columns path and label",
        uri,
        "Correct the table, or export it again as CSV in UTF-8.",
        (OSError, ValueError, csv.Error, RecursionError),
    ):
        text, notes = _decode(content)
        table, said = parse(text, columns)
    return table, notes + said


def _decode(content: bytes) -> tuple[str, list[str]]:
    """Decode text in UTF-8, UTF-16 or UTF-32, or else in Windows-1252, which has any byte."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding), []
    head = content[:1000]
    if head and b"\0" in head:
        zeros = {start: head[start::2].count(0) for start in (0, 1)}
        for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            if zeros[start] > len(head) // 4 and not zeros[1 - start]:
                text = content.decode(encoding)
                return text, [f"The table is read as {encoding.upper()}, as its zero bytes tell."]
        raise ValueError("it holds zero bytes, so it is no text")
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
    text = content.decode("cp1252", "replace")
    if any(not (c.isprintable() or c in _UNSEEN) for c in text) or "\ufffd" in text:
        raise ValueError(f"line {line} is text in no encoding that can be told")
    return text, [
        f"The table is not in UTF-8 (line {line}); it is read as Windows-1252. If names look "
        "wrong, save it in UTF-8."
    ]


def _parse_csv(text: str, columns: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    first, _, rest = text.partition("\n")
    if first.lower().startswith("sep=") and len(first.strip()) == 5:  # as Excel writes it
        return _separate(rest, first[4]), []
    separator = _find_separator(text, columns)
    said = f"Values are separated by a {_SEPARATORS[separator]}."
    return _separate(text, separator), [said] if separator != "," else []


def _find_separator(text: str, columns: Mapping[str, str]) -> str:
    """Find the separator by which the header has the most columns that are known, or any."""

    def rate(separator: str) -> tuple[int, int]:
        lines = io.StringIO(text, newline="")
        header = next(csv.reader(lines, delimiter=separator, skipinitialspace=True), [])
        wanted = {name.strip().casefold() for name in columns.values()}
        known = len(choose_columns(header, {}, "").names)
        known += sum(name.strip().casefold() in wanted for name in header)
        return known, len(header)

    return max(_SEPARATORS, key=rate)  # of equals, the first


def _separate(text: str, separator: str) -> pd.DataFrame:
    """Read every value as text; pandas would take a first column without a name for an index.

    Quotes may follow a space: otherwise, they would become part of the names of classes and files,
    as would those of `="017"`, by which exports keep zeros.
    """
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    header = next(reader, [])
    rows = []
    for row in filter(None, reader):
        if any(row[len(header) :]):
            raise ValueError(f"line {reader.line_num} has more values than there are columns")
        row = [_PROTECTED.sub(r"\1", value) if value[:1] == "=" else value for value in row]
        rows.append([*row, *[""] * (len(header) - len(row))][: len(header)])
    return pd.DataFrame(rows, columns=header, dtype=object)


def _parse_lines(text: str, columns: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    del columns
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(_LINE_END.split(text), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} holds no object")
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pd.DataFrame(
        [[row.get(name) for name in names] for row in rows], columns=names, dtype=object
    ), []
