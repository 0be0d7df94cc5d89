"""What MkDocs calls while it builds: pages from outside docs/ or made from code, and checks.

README.md is the front page. Whatever else a page links to in this repository becomes a page that
shows its text, so that the site is complete by itself and names no host of a repository.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs_site.links import FRONT_PAGES, find_origin, list_sources, redirect_links, write_source
from docs_site.loads import find_loads
from docs_site.notebooks import render_notebook
from docs_site.references import write_commands, write_settings
from docs_site.run_tables import RUN_FILES, add_types

ROOT = Path(__file__).parents[1]
GENERATED = {"reference/settings.md": write_settings, "reference/commands.md": write_commands}
"""Pages that are made from code, and by what."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/."""

    def add(uri: str, content: str | bytes) -> None:
        files.append(File.generated(config, uri, content=content))

    for name, uri in FRONT_PAGES.items():
        add(uri, (ROOT / name).read_text(encoding="utf-8"))
    for uri, write in GENERATED.items():
        add(uri, write())
    for notebook in sorted((ROOT / "docs").glob("*.ipynb")):
        text, pictures = render_notebook(notebook)
        add(f"{notebook.stem}.md", text)
        for name, content in pictures.items():
            add(name, content)
    for name, uri in list_sources(ROOT).items():
        if (ROOT / name).exists():  # else MkDocs says which page links to nothing
            add(uri, write_source(ROOT / name, name))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to pages of the site, and complete the tables of a run's files."""
    uri = page.file.src_uri
    if uri == RUN_FILES:
        markdown = add_types(markdown)
    origin = find_origin(uri)
    return markdown if origin is None else redirect_links(markdown, origin)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site from which a browser would load anything from elsewhere."""
    if found := find_loads(Path(config.site_dir)):
        raise PluginError(
            f"Expected a site that loads nothing from elsewhere, but {len(found)} elements do: "
            f"{'; '.join(found[:5])}{' …' if len(found) > 5 else ''}"
        )
