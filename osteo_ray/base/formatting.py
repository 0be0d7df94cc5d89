"""How numbers are written, on pages and terminals alike.

A minus is the character U+2212, and a dash stands for a number that is missing: None, or not
finite.
"""

import math
from collections.abc import Callable

MISSING = "\N{EN DASH}"


def _write(value: float | None, form: str) -> str:
    if value is None or not math.isfinite(value):
        return MISSING
    return format(value, form).replace("-", "\N{MINUS SIGN}")


def format_score(value: float | None, digits: int = 3) -> str:
    """Write a number with a fixed count of decimals.

    Example:
        >>> format_score(0.25), format_score(None)
        ('0.250', '–')
    """
    return _write(value, f"z.{digits}f")


def format_difference(value: float | None, digits: int = 3) -> str:
    """Write a difference with its sign; one that rounds to zero has none.

    Example:
        >>> format_difference(0.0312), format_difference(-0.0213), format_difference(-0.0001)
        ('+0.031', '−0.021', '0.000')
    """
    text = _write(value, f"+z.{digits}f")
    return text.removeprefix("+") if not text.strip("+0.") else text


def format_points(value: float | None) -> str:
    """Write a difference of two fractions in percentage points.

    Example:
        >>> format_points(0.021)
        '+2.1'
    """
    return format_difference(None if value is None else 100 * value, 1)


def format_p(value: float | None) -> str:
    """Write a p value.

    Example:
        >>> format_p(0.0123), format_p(1e-9)
        ('0.012', '< 0.001')
    """
    return "< 0.001" if value is not None and value < 0.001 else format_score(value)


def format_percent(share: float | None, digits: int = 0) -> str:
    """Write a fraction as a percentage.

    Example:
        >>> format_percent(0.3333)
        '33 %'
    """
    return MISSING if share is None else f"{format_score(100 * share, digits)} %"


def format_mean_count(count: float) -> str:
    """Write a number of things that may be a mean, in four digits or more.

    Example:
        >>> format_mean_count(74.0), format_mean_count(520.84), format_mean_count(12345.6)
        ('74', '520.8', '12346')
    """
    return f"{count:.4g}" if count < 1000 else f"{count:.0f}"


def say_there_are(number: int) -> str:
    """Say how many there are.

    Example:
        >>> say_there_are(0), say_there_are(1)
        ('there are 0', 'there is 1')
    """
    return f"there {'is' if number == 1 else 'are'} {number}"


def say_number(number: int, one: str, several: str) -> str:
    """Say how many there are of something, with the words for one or for several.

    Example:
        >>> say_number(1, "entry is", "entries are"), say_number(0, "entry", "entries")
        ('1 entry is', '0 entries')
    """
    return f"{number} {one if number == 1 else several}"


def count_missing(trainings: int) -> str:
    """Say how many trainings are missing.

    Example:
        >>> count_missing(1), count_missing(2)
        ('1 training is missing', '2 trainings are missing')
    """
    return f"{say_number(trainings, 'training is', 'trainings are')} missing"


def format_level(alpha: float) -> str:
    """Write the level of an interval whose error rate is `alpha`, which keeps two digits.

    Example:
        >>> format_level(0.05), format_level(0.01234)
        ('95 %', '98.8 %')
    """
    return f"{100 - float(f'{100 * alpha:.2g}'):.10g} %"


def format_interval(
    low: float | None, high: float | None, form: Callable[[float | None], str] = format_difference
) -> str:
    """Write an interval, its ends by `form`.

    Example:
        >>> format_interval(-0.3, 0.2575)
        '−0.300 … +0.258'
    """
    return f"{form(low)} … {form(high)}" if low is not None or high is not None else MISSING


def format_duration(seconds: float) -> str:
    """Write a duration in its two largest units.

    Example:
        >>> format_duration(3725), format_duration(4.21)
        ('1 h 2 min', '4.2 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
