"""Which page of the site a file of the repository is, and links that are turned to it.

Pages of the repository link to each other by relative paths, as hosts of repositories show them.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

FRONT_PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}
"""Pages at the root of the repository, and what they are called on the site."""

_DOCS, _SOURCE = "docs/", "source/"
_FENCE = re.compile(r"^( *)(`{3,})[^\n]*\n.*?^\1\2 *$", re.M | re.S)
_LINK = re.compile(r"(\[(?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*\]\()([^)\s]+)(\))")
_ELSEWHERE = re.compile(r"[a-z]+:|#")
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".cff": "yaml", ".sh": "bash"}
_UNREADABLE = ("__pycache__", ".pyc")


def find_origin(uri: str) -> str | None:
    """Return the file of the repository that a page is made of; None if it is generated.

    Example:
        >>> find_origin("index.md"), find_origin("data.md"), find_origin("reference/settings.md")
        ('README.md', 'docs/data.md', None)
    """
    for name, page in FRONT_PAGES.items():
        if page == uri:
            return name
    return None if uri.startswith((_SOURCE, "reference/")) else _DOCS + uri


def redirect_links(text: str, origin: str) -> str:
    """Return a page whose links lead to pages of the site.

    Args:
        text: The page, in Markdown.
        origin: The file that it is in, such as `docs/data.md`.

    Example:
        >>> redirect_links("[the rule](../osteo_ray/rule.py), [data](data.md#splits)", "docs/a.md")
        '[the rule](source/osteo_ray/rule.py.md), [data](data.md#splits)'
    """
    folder = posixpath.dirname(_place(origin))

    def turn(match: re.Match[str]) -> str:
        start, target, end = match.groups()
        path, hash_, anchor = target.partition("#")
        if _ELSEWHERE.match(target):
            return match[0]
        place = _place(posixpath.normpath(posixpath.join(posixpath.dirname(origin), path)))
        return start + posixpath.relpath(place, folder or ".") + hash_ + anchor + end

    parts, last = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_LINK.sub(turn, text[last : fence.start()]), fence[0]]
        last = fence.end()
    return "".join([*parts, _LINK.sub(turn, text[last:])])


def list_sources(root: Path) -> dict[str, str]:
    """Return the files and folders that pages link to and that are no pages, and their pages."""
    origins = [
        *FRONT_PAGES,
        *(f"{_DOCS}{page.name}" for page in sorted((root / _DOCS).glob("*.md"))),
    ]
    found = {}
    for origin in origins:
        for name in _list_targets((root / origin).read_text(encoding="utf-8"), origin):
            if _place(name).startswith(_SOURCE):
                found[name] = _place(name)
    return found


def write_source(path: Path, name: str) -> str:
    """Return a page that shows a file, or all files of a folder, as they are.

    Args:
        path: The file or folder.
        name: What the repository calls it.

    Raises:
        FileNotFoundError: There is none.
    """
    lines = ["---", "search:", "  exclude: true", "---", f"# `{name}`", ""]
    files = [path]
    if path.is_dir():
        files = [one for one in sorted(path.rglob("*")) if one.is_file()]
    for file in files:
        if file.name.endswith(_UNREADABLE) or _UNREADABLE[0] in file.parts:
            continue
        if path.is_dir():
            lines += [f"## `{file.relative_to(path).as_posix()}`", ""]
        text = file.read_text(encoding="utf-8").rstrip()
        longest = max((len(run) for run in re.findall("`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        lines += [f"{fence}{_LANGUAGES.get(file.suffix, 'text')}", text, fence, ""]
    return "\n".join(lines)


def _place(name: str) -> str:
    """Return where on the site a file of the repository is."""
    if name in FRONT_PAGES:
        return FRONT_PAGES[name]
    if name.startswith(_DOCS):
        return name.removeprefix(_DOCS).replace(".ipynb", ".md")
    return f"{_SOURCE}{name}.md"


def _list_targets(text: str, origin: str) -> Iterator[str]:
    for _, target, _ in _LINK.findall(_FENCE.sub("", text)):
        if not _ELSEWHERE.match(target):
            path = target.partition("#")[0]
            yield posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
