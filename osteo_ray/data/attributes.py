"""What tables and headers say of an image beside its class: who took it, how, and of whom."""

import re
from collections.abc import Callable, Mapping

from osteo_ray.data.laterality import read_side
from osteo_ray.data.sources.words import is_sentinel, tidy

ATTRIBUTES: dict[str, str] = {
    "site": "site",
    "maker": "maker of the device",
    "device": "model of the device",
    "view": "view",
    "side": "side",
    "age": "age",
    "sex": "sex",
}
"""The attributes, in words. None but site and side is ever stored with an image."""

_AGE = re.compile(r"(\d+(?:[.,]\d+)?)\s*(?:-\s*(\d+))?\s*([a-z]*)\b.*")
_PER_YEAR = {"d": 365.25, "w": 365.25 / 7, "m": 12.0}
_OLDEST = 120.0
_SEXES = {
    **dict.fromkeys(("f", "female", "w", "woman", "women", "weiblich"), "female"),
    **dict.fromkeys(("m", "male", "man", "men"), "male"),
}


def read_attribute(name: str, text: str) -> str:
    """Return the value of an attribute in one spelling; "" if it is not known.

    Example:
        >>> [read_attribute("age", text) for text in ("061Y", "61", "18M", "60-69", "999", "?")]
        ['61', '61', '1.5', '64.5', '', '']
        >>> read_attribute("sex", "W"), read_attribute("view", "ap "), read_attribute("side", "LT")
        ('female', 'AP', 'L')
    """
    plain = tidy(text)
    if not plain or is_sentinel(plain):
        return ""
    return _READERS.get(name, str)(plain)


def _read_age(text: str) -> str:
    found = _AGE.fullmatch(text.lower())
    if found is None:
        return ""
    low, high, unit = found.groups()
    years = float(low.replace(",", "."))
    years = (years + float(high)) / 2 if high else years
    years /= _PER_YEAR.get(unit[:1], 1.0)
    return f"{years:.3g}" if years <= _OLDEST else ""


_READERS: Mapping[str, Callable[[str], str]] = {
    "age": _read_age,
    "sex": lambda text: _SEXES.get(text.lower(), text.lower()),
    "view": str.upper,
    "side": lambda text: read_side(text) or text.upper(),
    "maker": str.upper,
    "device": str.upper,
}
