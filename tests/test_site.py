"""The site of the documentation: what is made from code, links, and what a browser would load."""

import json
import re
import shutil
import tarfile
from pathlib import Path

import jsonschema
import pyarrow as pa
import pytest
import yaml

import osteo_ray
from docs_site.links import list_sources, redirect_links, write_source
from docs_site.loads import find_loads
from docs_site.notebooks import execute, read_cells, render_notebook
from docs_site.references import write_commands, write_settings
from docs_site.run_tables import OPEN_SCHEMAS, SCHEMAS, add_types, read_columns
from osteo_ray.arms.registry import ARMS
from osteo_ray.arms.roles import Control
from osteo_ray.base import tables
from osteo_ray.base.tables import read_table
from osteo_ray.commands.completion import CONFIGURED
from osteo_ray.commands.main import COMMANDS
from osteo_ray.config.flags import list_flags
from osteo_ray.statistics.metrics.registry import METRICS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTEBOOK = DOCS / "first-look.ipynb"


# Made from code


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """The page of settings, by command."""
    parts = re.split(r"^## `osteo-ray (\w+)`\n", write_settings(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def find_setting(page: str, name: str) -> str:
    """Return what the page says of a setting: flags, description, and facts, in a line each."""
    found = re.findall(rf"^`{re.escape(name)}`\n: +(.*)\n\n +(.*)\n\n +(.*)$", page, re.M)
    assert len(found) <= 1
    return "\n".join(found[0]) if found else ""


@pytest.mark.parametrize("command", CONFIGURED)
def test_every_setting_is_on_the_page_with_its_flags(
    settings: dict[str, str], command: str
) -> None:
    flags = list(list_flags(CONFIGURED[command]))
    shared = {flag.name: flag for flag in list_flags(CONFIGURED["compare"])}
    assert len(flags) > 10
    for flag in flags:
        is_shared = command != "compare" and shared.get(flag.name) == flag
        said = find_setting(settings["compare" if is_shared else command], flag.name)
        names, description, _ = said.split("\n")
        assert names.startswith(", ".join(f"`{name}`" for name in flag.names))
        assert description == flag.description.replace("<", "&lt;")
        if is_shared:
            assert find_setting(settings[command], flag.name) == ""  # said once


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("seeds", "integer, ≥ 1 · default `10` · demo `5`"),
        ("grid", "on or off · default on"),
        ("protocol", "one of `clean`, `paper` · default `clean`"),
        ("folds", "integer, ≥ 2, may be empty · default none"),
        ("models", "list of text, at least 1 · default `efficientnet_b0` "
         "`mobilenetv3_large_100` · demo `test_efficientnet`"),
        ("split_ratio", "3 × integer · default `7` `2` `1`"),
        ("statistics.margin", "number, > 0, < 1, may be empty · default none · demo `0.1`"),
    ],
)  # fmt: skip
def test_type_and_both_defaults_of_settings(
    settings: dict[str, str], name: str, facts: str
) -> None:
    assert find_setting(settings["compare"], name).split("\n")[2] == facts


def test_settings_that_commands_share_are_named(settings: dict[str, str]) -> None:
    shared = settings["explain"].partition("and these:")[0]
    assert "`lime`" in shared
    assert "`columns`" in shared
    assert "`arms`" not in shared
    assert "or these otherwise:" in settings["plan"]
    assert find_setting(settings["plan"], "hours") != ""
    assert "compare" not in settings["reproduce"].partition("`run`")[0]


def test_help_of_every_command_is_on_the_page() -> None:
    page = write_commands()
    for group in COMMANDS.values():
        for name, (_, says) in group.items():
            part = page.partition(f"### `osteo-ray {name}`\n")[2].partition("\n### ")[0]
            assert says in part
            assert f"usage: osteo-ray {name}" in part
    assert "\x1b" not in page
    width = max(len(line) for block in page.split("```")[1::2] for line in block.splitlines())
    assert width <= 92
    assert page.count("](settings.md#osteo-ray-") == len(CONFIGURED)


def list_commands() -> list[list[str]]:
    """The words of every `osteo-ray` line in a block of shell on the front page and in docs/."""
    found = []
    for page in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]:
        for block in re.findall(
            r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S
        ):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.partition(" #")[0].split()
                if "osteo-ray" in words and "build" not in words:
                    found.append(words[words.index("osteo-ray") + 1 :])
    return found


def test_commands_in_the_documentation_have_the_flags_that_they_are_given() -> None:
    page, known = write_commands(), {}
    for name in (name for group in COMMANDS.values() for name in group):
        part = page.partition(f"### `osteo-ray {name}`\n")[2].partition("\n### ")[0]
        known[name] = set(re.findall(r"--[a-z][a-z0-9-]*", part)) | {"--help-all"}
        for flag in list_flags(CONFIGURED[name]) if name in CONFIGURED else ():
            known[name] |= {*flag.names} | ({flag.negative} if flag.values == 0 else set())
    commands = [words for words in list_commands() if words and not words[0].startswith("-")]
    assert len(commands) > 60
    for name, *words in commands:
        flags = {word.partition("=")[0] for word in words if word.startswith("--")}
        if name == "submit":
            known["submit"] |= {flag for kind in CONFIGURED for flag in known[kind]}
        assert flags <= known[name], (name, words)


# The tables of a run


def test_every_column_of_every_table_is_explained() -> None:
    found = read_columns((DOCS / "run-files.md").read_text(encoding="utf-8"))
    assert found.keys() == SCHEMAS.keys() | OPEN_SCHEMAS.keys()
    assert {name: found[name] for name in SCHEMAS} == {
        name: sorted(schema.names, key=found[name].index) for name, schema in SCHEMAS.items()
    }
    stored = {id(one) for one in vars(tables).values() if isinstance(one, pa.Schema)}
    partial = tables.READ_IMAGES  # of some columns of IMAGES
    assert stored - {id(one) for one in SCHEMAS.values()} == {id(partial)}
    assert set(partial.names) < set(found["images.parquet"])


@pytest.mark.parametrize("name", OPEN_SCHEMAS)
def test_open_columns_are_those_of_stored_tables(name: str) -> None:
    table = read_table(DOCS / "study" / "paper-0" / name)
    kinds = {field.name: field.type for field in OPEN_SCHEMAS[name]}
    for field in table.schema:
        column = re.sub("^p_.*", "p_CLASS", field.name)
        column = re.sub("^.*_at_threshold$", "METRIC_at_threshold", column)
        column = "METRIC" if column in METRICS else column
        kind = kinds[column]
        assert field.type == kind or (pa.types.is_large_string(field.type) and kind == pa.string())
    assert name in read_columns((DOCS / "run-files.md").read_text(encoding="utf-8"))


def test_site_adds_the_types_of_columns() -> None:
    page = add_types((DOCS / "run-files.md").read_text(encoding="utf-8"))
    assert "| `keep_mask` | binary | one bit per pixel" in page
    assert "| `weights` | list<" in page
    assert "| column | meaning |" not in page
    with pytest.raises(KeyError, match="nothing"):
        add_types("## `pixels/`\n\n| column | meaning |\n|---|---|\n| `nothing` | x |\n")


# Links and loads


@pytest.mark.parametrize(
    ("origin", "text", "turned"),
    [
        ("README.md", "[a](docs/data.md#splits)", "[a](data.md#splits)"),
        ("README.md", "![a](docs/study/seeds.png)", "![a](study/seeds.png)"),
        ("README.md", "[a](docs/first-look.ipynb)", "[a](first-look.md)"),
        ("ARCHITECTURE.md", "[a](docs/scale.md)", "[a](../scale.md)"),
        ("CONTRIBUTING.md", "[a](README.md)", "[a](../index.md)"),
        ("docs/a.md", "[a](../jobs/aws)", "[a](source/jobs/aws.md)"),
        ("docs/a.md", "[a](../SECURITY.md)", "[a](project/security.md)"),
        ("docs/a.md", "[`a` b](b.md) and [c](#c)", "[`a` b](b.md) and [c](#c)"),
        ("docs/a.md", "[![x](y.png)](../Dockerfile)", "[![x](y.png)](source/Dockerfile.md)"),
        ("README.md", "<https://example.org>, [x](https://example.org/docs/a.md)", None),
        ("README.md", "```text\n[a](docs/data.md)\n```", None),
    ],
)
def test_links_lead_to_pages_of_the_site(origin: str, text: str, turned: str | None) -> None:
    assert redirect_links(text, origin) == (text if turned is None else turned)


def test_every_file_that_a_page_links_to_is_shown_as_it_is() -> None:
    sources = list_sources(ROOT)
    assert sources["cluster.yaml"] == "source/cluster.yaml.md"
    assert "jobs/kuberay" in sources
    for name in sources:
        page, path = write_source(ROOT / name, name), ROOT / name
        files = [path] if path.is_file() else [*path.rglob("*.yaml"), *path.rglob("*.sh")]
        assert all(file.read_text(encoding="utf-8").rstrip() in page for file in files)


@pytest.mark.parametrize(
    ("name", "text", "n_found"),
    [
        ("a.html", '<script src="https://cdn.example/x.js"></script>', 1),
        ("a.html", '<script src="//cdn.example/x.js"></script>', 1),
        ("a.html", "<LINK rel=stylesheet href=http://fonts.example/css>", 1),
        ("a.html", '<link rel="preconnect" href="https://fonts.example">', 1),
        ("a.html", '<img src="x.png" srcset="https://example.org/x.png 2x">', 1),
        ("a.html", '<p style="background: url(https://example.org/x.png)">', 1),
        ("a.html", "<style>@import 'https://example.org/x.css';</style>", 1),
        ("a.html", '<iframe src="https://example.org"></iframe>', 1),
        ("a.html", '<form action="https://example.org/send">', 1),
        ("a.html", '<div class="mermaid">graph</div>', 1),
        ("b/c.css", "a { src: url('//fonts.example/a.woff2') }", 1),
        ("b/c.css", "a { background: url(data:image/svg+xml;https://x) }", 0),
        ("a.html", '<a href="https://example.org">x</a><img src="data:image/png;base64,x">', 0),
        ("a.html", '<script src="assets/x.js"></script><link rel="stylesheet" href="x.css">', 0),
        ("a.html", '<link rel="canonical" href="https://example.org/x">', 0),
        ("a.txt", '<script src="https://cdn.example/x.js"></script>', 0),
    ],
)
def test_what_a_browser_would_load_is_found(
    tmp_path: Path, name: str, text: str, n_found: int
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    found = find_loads(tmp_path)
    assert len(found) == n_found
    assert all(one.startswith(f"{name}: ") for one in found)


def test_pages_name_no_host_of_a_repository() -> None:
    pages = [*DOCS.glob("*.md"), *ROOT.glob("*.md"), ROOT / "mkdocs.yml", NOTEBOOK]
    hosts = re.compile(r"(github|gitlab|bitbucket|codeberg)\.(com|io|org)", re.I)
    assert len(pages) > 30
    assert [page.name for page in pages if hosts.search(page.read_text(encoding="utf-8"))] == []


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"^ +- ([\w/-]+\.md)$", text, re.M))
    assert {page.name for page in DOCS.glob("*.md")} < named


# What is written by hand


def test_lists_and_tables_begin_after_an_empty_line() -> None:
    """Python-Markdown sees none else, though hosts of repositories do."""
    begin = re.compile(r"^(?!\s*[-|#>]|\s*\d+\.|$)(?!  )(.+)\n((?:- |1\. |\|).*)$", re.M)
    for page in [*DOCS.glob("*.md"), *ROOT.glob("*.md")]:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        assert begin.findall(text) == [], page.name


def test_controls_of_the_concepts_have_the_verdicts_of_their_arms() -> None:
    text = (DOCS / "concepts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| ([^|]*`[^|]*) \| \*([^|]*)\* \|$", text, re.M)
    named = {arm: verdict for arms, verdict in rows for arm in re.findall(r"`(\w+)`", arms)}
    controls = {
        name: arm.role.verdict for name, arm in ARMS.items() if isinstance(arm.role, Control)
    }
    assert named.items() >= controls.items()
    assert set(named) - set(controls) == {"lime", "lime_crossfit", "permuted_labels"}


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


CITATION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["authors", "cff-version", "message", "title"],
    "properties": {
        "cff-version": {"const": "1.2.0"},
        "type": {"enum": ["software", "dataset"]},
        "authors": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {"name": {"type": "string", "minLength": 1}},
            },
        },
        "license": {"const": "Apache-2.0"},
        "keywords": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string", "minLength": 1},
        },
        "message": {"type": "string", "minLength": 1},
        "title": {"type": "string", "minLength": 1},
        "abstract": {"type": "string", "minLength": 1},
        "version": {"const": osteo_ray.__version__},
    },
}
"""The part of the schema of the Citation File Format 1.2.0 that the file uses."""


def test_citation_file_is_one() -> None:
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    jsonschema.validate(content, CITATION)
    assert content["version"] == osteo_ray.__version__


@pytest.mark.parametrize("name", ["bug", "verdict", "data"])
def test_issue_templates_are_forms(name: str) -> None:
    path = ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml"
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= form.keys()
    ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(ids) == len(set(ids)) >= 4
    for part in form["body"]:
        assert part["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
        attributes = part["attributes"]
        assert attributes["value" if part["type"] == "markdown" else "label"]
        assert (part["type"] == "dropdown") == ("options" in attributes)
        assert all(isinstance(option, str) for option in attributes.get("options", ()))


# The notebook


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """The cells of the notebook, executed beside a finished run that is not the demo's."""
    folder = tmp_path_factory.mktemp("notebook")
    with tarfile.open(ROOT / "tests" / "old_run.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    run = folder / "runs" / "demo"
    shutil.copytree(folder / "run", run)
    judged = osteo_ray.judge(run, folder / "judged-anew")  # an early version concluded otherwise
    shutil.copy(judged.run.comparison, run / "comparison.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return execute(read_cells(NOTEBOOK))


def list_forms(cell: dict) -> list[list[str]]:
    return [sorted(output.get("data", {"stdout": ""})) for output in cell["outputs"]]


def test_notebook_runs_and_shows_what_the_stored_one_shows(executed: list[dict]) -> None:
    stored = read_cells(NOTEBOOK)
    code = [k for k, cell in enumerate(stored) if cell["cell_type"] == "code"]
    assert len(code) >= 8
    for k in code:
        assert list_forms(executed[k]) == list_forms(stored[k]) != []
        assert executed[k]["execution_count"] == stored[k]["execution_count"]
    # The last cell judges what the notebook itself draws, so it says the same in any folder.
    assert executed[code[-1]]["outputs"] == stored[code[-1]]["outputs"]
    assert stored[code[-1]]["outputs"][0]["text"][0] == "any crop\n"


def test_notebook_is_a_page_with_pictures() -> None:
    text, pictures = render_notebook(NOTEBOOK)
    assert text.startswith("# A first look at a run\n")
    assert len(pictures) == 2
    for name, content in pictures.items():
        assert f"({name})" in text
        assert content.startswith(b"\x89PNG")
    assert "run.masks(model, seed)" in text
    assert json.loads(NOTEBOOK.read_text(encoding="utf-8"))["nbformat"] == 4
