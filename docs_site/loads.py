"""What a browser would load from elsewhere while it shows a page of the site."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_ATTRIBUTES = {"src", "srcset", "poster", "data", "action", "background"}
_LINKS_THAT_LOAD_NOTHING = {"canonical", "next", "prev", "alternate", "author", "license"}
_OUTSIDE = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//|https?:", re.I)
_IN_CSS = re.compile(r"""(?:url\(|@import)\s*['"]?\s*((?:https?:)?//[^'")\s]+)""", re.I)
_STARTS_LOADING = {"mermaid": "the script of Mermaid"}
"""Classes of elements for which the scripts of the theme load something, and what."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        names = set(_ATTRIBUTES)
        if tag in ("link", "image", "use") and given.get("rel") not in _LINKS_THAT_LOAD_NOTHING:
            names |= {"href", "xlink:href"}
        self.found += [
            f"<{tag} {name}> {given[name]}"
            for name in sorted(names & set(given))
            if _OUTSIDE.match(given[name].strip())
        ]
        self.found += [f"<{tag} style> {url}" for url in _IN_CSS.findall(given.get("style", ""))]
        classes = set(given.get("class", "").split())
        self.found += [what for name, what in _STARTS_LOADING.items() if name in classes]


def find_loads(site: Path) -> list[str]:
    """Return what pages and style sheets of a site load from elsewhere, each with its page.

    Links that a reader may follow are no loads.
    """
    return sorted(
        f"{path.relative_to(site).as_posix()}: {what}"
        for path in site.rglob("*")
        for what in _list_loads(path)
    )


def _list_loads(path: Path) -> Iterator[str]:
    if path.suffix == ".html":
        reader = _Reader()
        text = path.read_text(encoding="utf-8")
        reader.feed(text)
        yield from reader.found
        for style in re.findall(r"<style[^>]*>(.*?)</style>", text, re.S | re.I):
            yield from _IN_CSS.findall(style)
    elif path.suffix == ".css":
        yield from _IN_CSS.findall(path.read_text(encoding="utf-8"))
