"""Pages from the templates of this folder."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from osteo_ray.arms.registry import label_words
from osteo_ray.base.formatting import (
    format_difference,
    format_duration,
    format_level,
    format_mean_count,
    format_p,
    format_percent,
    format_points,
    format_score,
)
from osteo_ray.base.networks import name_folder
from osteo_ray.report.style import encode_svg


@dataclass(frozen=True)
class Script:
    """A script of a page.

    Attributes:
        name: The file of this folder that holds it.
        digest: Its SHA-256 in base64, by which the page's policy allows this script and no other.
    """

    name: str
    digest: str


def read_script() -> Script:
    """Return the script of the gallery."""
    name = "gallery.js"
    # An included file comes without the end of its last line.
    source = (Path(__file__).parent / name).read_bytes().removesuffix(b"\n")
    return Script(name, base64.b64encode(hashlib.sha256(source).digest()).decode())


def _begin(words: str) -> Markup:
    """Return words as a sentence of a page, with a capital; see `_mark_code`."""
    return _mark_code(words[:1].upper() + words[1:])


def _mark_code(words: str) -> Markup:
    """Return words as a page shows them: with what stands in `…` as code."""
    parts = [str(escape(part)) for part in words.split("`")]
    if len(parts) % 2 == 0:  # a mark without its other half
        return Markup("`".join(parts))
    marked = [f"<code>{part}</code>" if k % 2 else part for k, part in enumerate(parts)]
    return Markup("".join(marked))


_OPEN = ("equivalent", "inconclusive", "nothing learned")


def _choose_tone(verdict: str) -> str:
    """Return the class of a verdict in the style sheet: good, bad, or neither."""
    return "good" if verdict == "real gain" else "" if verdict in _OPEN else "bad"


def open_template(name: str) -> jinja2.Template:
    """Open a template of this folder; its filters write numbers as everything else does."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "score": format_score,
        "points": format_points,
        "difference": format_difference,
        "p": format_p,
        "percent": format_percent,
        "level": format_level,
        "mean_count": format_mean_count,
        "duration": format_duration,
        "sentence": _begin,
        "code": _mark_code,
        "arms": label_words,
        "svg": encode_svg,
        "folder": name_folder,
        "tone": _choose_tone,
    }
    return environment.get_template(name)
