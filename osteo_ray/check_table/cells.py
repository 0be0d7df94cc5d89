"""Read what people print in a cell of a table: figures with their spread, counts, marks. Pure."""

import re
from dataclasses import dataclass

_MOST_DECIMALS = 10  # distinguishes any two shares of 100,000 images, and fits into 64 bits
_POINT = r"[.,\N{MIDDLE DOT}]"  # some journals raise it
_FIGURE = re.compile(rf"([-\N{{MINUS SIGN}}]?)(\d*)(?:{_POINT}(\d*))?\s*(%?)")
_NUMBER = rf"[-+\N{{MINUS SIGN}}]?(?:\d+(?:{_POINT}\d*)?|{_POINT}\d+)"
_SPREAD = re.compile(
    rf"(?P<figure>{_NUMBER}\s*%?)\s*"
    rf"(?:(?:±|\+/-|\+-|\\pm)\s*{_NUMBER}\s*(?P<percent>%?)(?:\s*[(\[][^()\[\]]*[)\]])?"
    r"|[(\[][^()\[\]]*\d[^()\[\]]*[)\]]\s*(?P<percent_after>%?))"
)
_RATIO = re.compile(r"(\d{1,9})\s*/\s*(\d{1,9})(?:\s*[(\[][^()\[\]]*[)\]])?")
_EMPTY = {"-", "--", "---", "–", "—", "\N{MINUS SIGN}", "n/a", "na", "n.a.", "n. a.", "nr", "n/r"}
_COUNT = re.compile(r"(\d{1,3}(?:[.,'’ \u00a0\u202f]\d{3}){1,2}|\d{1,9})(?:[.,]0*)?")
_ONE_OR_A_THOUSAND = re.compile(r"[1-9]\d{0,2}\.000")


@dataclass(frozen=True)
class Cell:
    """A printed figure.

    Attributes:
        text: As printed.
        units: Its value, in units of its last decimal; negative only for kappa and MCC.
        decimals: Number of decimals of the share; for a percentage, two more than printed.
    """

    text: str
    units: int
    decimals: int

    @property
    def scale(self) -> int:
        """The number of units in 1."""
        return int(10**self.decimals)

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest share that is printed like this, rounded or cut off.

        Decimals beyond the sixth are left aside, which never excludes a share.
        """
        decimals = min(self.decimals, 6)
        size = abs(self.units) // 10 ** (self.decimals - decimals)
        low, high = (size - 0.5) / 10**decimals, (size + 1) / 10**decimals
        if not size:
            low = -high
        return (-high, -low) if self.units < 0 else (low, high)


def is_empty(text: str) -> bool:
    """Say whether a cell is empty, or has one of the marks that stand for "not reported".

    Example:
        >>> [is_empty(text) for text in ("", " – ", "N/A", "0")]
        [True, True, True, False]
    """
    return text.strip().lower() in _EMPTY | {""}


def split_figure(text: str) -> str:
    """Return the figure of a cell without its spread, interval, stars and bold marks.

    A percent sign at the end of the spread belongs to the figure too. Counts, as in 69/74, are the
    percentage that they make, whatever rounded one follows.

    Example:
        >>> [split_figure(text) for text in ("0.91 ± 0.02", "91(2)", "0.91 [0.85, 0.95]")]
        ['0.91', '91', '0.91']
        >>> split_figure("**93.2 ± 0.4 %**"), split_figure("3/4 (75 %)")
        ('93.2%', '75.00000000%')
    """
    plain = text.strip().strip("*†‡§#").strip()
    counts = _RATIO.fullmatch(plain)
    if counts and int(counts[2]):
        return f"{100 * int(counts[1]) / int(counts[2]):.{_MOST_DECIMALS - 2}f}%"
    found = _SPREAD.fullmatch(plain)
    if not found:
        return plain
    figure = found["figure"].strip()
    percent = found["percent"] or found["percent_after"] or ""
    return figure if figure.endswith("%") else figure + percent


def exceeds_one(text: str) -> bool:
    """Say whether a cell has no percent sign and a value above 1, so that it must be a percentage.

    Example:
        >>> [exceeds_one(text) for text in ("93.24", "1.00", "93%", "91 (2)")]
        [True, False, False, True]
    """
    found = _FIGURE.fullmatch(split_figure(text))
    if not found or found[4] or not (found[2] or "") + (found[3] or ""):
        return False
    return float(f"{found[2] or 0}.{found[3] or 0}") > 1


def read_cell(text: str, *, percent: bool = False, signed: bool = False) -> Cell:
    """Read a share between 0 and 1, or a percentage; its spread or interval is left aside.

    Decimals stand after a point, even a raised one, or a comma. Those beyond the tenth are dropped,
    because they cannot distinguish matrices of a test set.

    Args:
        text: Of the cell.
        percent: Whether the figure is a percentage, even without its sign.
        signed: Whether it may be below 0, as kappa and MCC may.

    Raises:
        ValueError: It is something else.

    Example:
        >>> [read_cell(text).units for text in ("0.9324", "93,24 %", "0·9324")]
        [9324, 9324, 9324]
        >>> read_cell(".9").decimals, read_cell("69/74").units
        (1, 9324324324)
    """
    found = _FIGURE.fullmatch(split_figure(text))
    sign, whole, decimals, mark = found.groups(default="") if found else ("", "", "", "")
    if not whole + decimals or (sign and not signed):
        raise ValueError(
            f"Expected a share such as 0.93, or a percentage such as 93.2%, but got `{text}`."
        )
    if percent or mark:
        whole = whole.rjust(3, "0")
        whole, decimals = whole[:-2], whole[-2:] + decimals
    decimals = decimals[:_MOST_DECIMALS]
    units = int((whole or "0") + decimals)
    if units > 10 ** len(decimals):
        hint = "" if percent or mark else " A percentage needs its sign: 93.2%."
        raise ValueError(f"Expected a share from 0 to 1, but got `{text}`.{hint}")
    return Cell(text.strip(), -units if sign else units, len(decimals))


def read_count(text: str, of: str = "images") -> int:
    """Read a number of images: `1024`, `1,024`, `1 024` or `74.0`.

    Args:
        text: Of the cell.
        of: What is counted, for the message.

    Raises:
        ValueError: It is not a whole number, or may be one of two.

    Example:
        >>> [read_count(text) for text in ("1024", "1,000", "74.0", "1.024")]
        [1024, 1000, 74, 1024]
    """
    if _ONE_OR_A_THOUSAND.fullmatch(text.strip()):
        whole = text.strip().partition(".")[0]
        raise ValueError(
            f"Expected a whole number of {of}, but `{text}` may be {whole} or {whole}000. Write "
            "one of them without a point."
        )
    found = _COUNT.fullmatch(text.strip())
    if not found:
        raise ValueError(f"Expected a whole number of {of}, but got `{text}`.")
    return int(re.sub(r"\D", "", found[1]))
