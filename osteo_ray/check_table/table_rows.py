"""Divide the text of a printed table into its cells: CSV, Markdown, or the rows of LaTeX."""

import csv
import io
import re
from collections.abc import Iterator

from osteo_ray.base.errors import InputError

Fields = tuple[int, list[str]]
"""Number of a line, from 1, and its cells."""
_MARKDOWN_RULE = re.compile(r"\|[\s:|-]+")
_BAR = re.compile(r"(?<!\\)\|")
_AMPERSAND = re.compile(r"(?<!\\)&")
_ROW_END = re.compile(r"\\\\(?:\[[^\]]*\])?|\\tabularnewline")
_ARGUMENTS = r"(\([lr]+\)|\[[^\]]*\]|\{(?:[^{}]|\{[^{}]*\})*\})*"
_AROUND = re.compile(rf"\\(begin|end|cline|hline|[a-z]*rule|caption|label|centering)\b{_ARGUMENTS}")
_SPANNING = re.compile(r"[\s&]*\\multicolumn")
_COMMENT = re.compile(r"(?<!\\)%.*")
_CITATION = re.compile(r"\\cite[a-z]*\{[^{}]*\}")
_GROUP = re.compile(
    r"(?P<script>\\text(?:sub|super)script|(?<!\\)[_^])?(?:\\[a-zA-Z]+)?(?<!\\)\{(?P<shown>[^{}]*)\}"
)
_STYLE = re.compile(
    r"\\(?:tiny|scriptsize|footnotesize|small|scriptstyle|scriptscriptstyle|bf|bfseries)\b"
)
_SIGNS = ((r"\pm", "±"), ("---", "–"), ("--", "–"), (r"\,", ""), ("~", " "), ("$", ""))


def read_fields(text: str) -> Iterator[Fields]:
    """Yield the cells of each row that has any, the heading first.

    Args:
        text: CSV with commas, semicolons or tabs between columns; a Markdown table, whose rows
            begin with a bar; or a LaTeX table, whose columns are separated by ampersands.

    Raises:
        InputError: The text is no CSV; the message names the line.
    """
    first = next((line.strip() for line in text.splitlines() if line.strip(" ,;\t")), "")
    if first.startswith("|"):
        return _read_markdown(text)
    if _AMPERSAND.search(text) and (first.startswith("\\") or _ROW_END.search(text)):
        return _read_latex(text)
    return _read_csv(text, max(",;\t", key=first.count))


def _read_csv(text: str, separator: str) -> Iterator[Fields]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield reader.line_num, fields
    except csv.Error as error:
        raise InputError(f"Line {reader.line_num}: Expected CSV, but found: {error}.") from None


def _read_markdown(text: str) -> Iterator[Fields]:
    for number, line in enumerate(text.splitlines(), 1):
        row = line.strip()
        if row and not _MARKDOWN_RULE.fullmatch(row):
            cells = _BAR.split(row.removeprefix("|").removesuffix("|"))
            yield number, [cell.replace(r"\|", "|").strip() for cell in cells]


def _read_latex(text: str) -> Iterator[Fields]:
    """A row ends at a double backslash. Headings that span columns are left out."""
    plain = _AROUND.sub("", "\n".join(_COMMENT.sub("", line) for line in text.splitlines()))
    start = 0
    for end, after in [*(found.span() for found in _ROW_END.finditer(plain)), (len(plain),) * 2]:
        row = plain[start:end]
        if _AMPERSAND.search(row) and not _SPANNING.match(row):
            before = start + len(row) - len(row.lstrip())
            cells = _AMPERSAND.split(_CITATION.sub("", row))
            yield 1 + plain.count("\n", 0, before), [_read_latex_cell(cell) for cell in cells]
        start = after


def _read_latex_cell(text: str) -> str:
    """Return what a cell shows: `\\textbf{93.2\\,\\%}` is `93.2%`."""
    for sign, shown in _SIGNS:
        text = text.replace(sign, shown)
    text = _STYLE.sub("", text)
    while (bare := _GROUP.sub(_ungroup, text)) != text:
        text = bare
    shown = re.sub(r"\\([%&_#|$])", r"\1", text)
    return " ".join(shown.split()).strip("{} ")


def _ungroup(group: re.Match[str]) -> str:
    """Return what a group in braces shows; a sub- or superscript is kept apart from its figure."""
    return f" {group['shown']}" if group["script"] else group["shown"]
