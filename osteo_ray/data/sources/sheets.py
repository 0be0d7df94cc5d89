"""Tables in spreadsheets (.xlsx), which the package openpyxl reads; it is optional."""

import importlib
import io
import zipfile
from collections.abc import Mapping

import pandas as pd

from osteo_ray.base.errors import InputError
from osteo_ray.data.sources.columns import choose_columns, find_column
from osteo_ray.data.sources.unreadable import expecting

SHEET_SUFFIXES = (".xlsx", ".xlsm")


def read_sheets(
    content: bytes, uri: str, columns: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Read the sheet of a workbook that lists images, by its columns of paths and labels.

    Formulas count by the values that were stored with them. The first row names the columns.

    Args:
        content: The file.
        uri: Its name, for messages.
        columns: The columns that the user names, by role.

    Returns:
        The table, and what to tell the user: which sheet it is, if there are several.

    Raises:
        InputError: It is no workbook, or openpyxl is not installed.
    """
    advice = "Correct the workbook, or save the sheet that lists the images as CSV."
    # What openpyxl raises of a damaged workbook has no narrower base.
    with expecting("a workbook (.xlsx)", uri, advice, (Exception,)):
        if not zipfile.is_zipfile(io.BytesIO(content)):
            raise ValueError("it is none, or protected by a password")
        _check_reader(uri)
        sheets: dict[str, pd.DataFrame] = pd.read_excel(
            io.BytesIO(content), sheet_name=None, dtype=object, keep_default_na=False
        )
    # Of equals, the first; without one that fits, the message about missing columns is about it.
    chosen = max(sheets, key=lambda name: _count_needed(sheets[name], columns))
    others = [f"`{name}`" for name in sheets if name != chosen]
    notes = [f"Sheet `{chosen}` is read; not read: {', '.join(others)}."] if others else []
    return sheets[chosen], notes


def _check_reader(uri: str) -> None:
    try:
        importlib.import_module("openpyxl")
    except ImportError:
        raise InputError(
            f"Expected the package openpyxl, which reads spreadsheets such as {uri}, but it is not "
            "installed. Install osteo-ray[xlsx], or save the sheet that lists the images as CSV "
            "and give that."
        ) from None


def _count_needed(table: pd.DataFrame, columns: Mapping[str, str]) -> int:
    names = [str(name) for name in table.columns]
    usual = choose_columns(names, {}, "").names.keys()
    given = {role for role, name in columns.items() if find_column(name, names)}
    return len({"path", "label"} & (usual | given))
