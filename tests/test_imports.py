"""How the code hangs together, read from its source: rooms, floors, and the arrows between them.

A room is a folder of the package (or `jobs`, or `benchmarks`); an arrow runs from a room to one
that it imports from. `uv run python tests/test_imports.py` prints the plan of the house.
"""

import ast
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = "osteo_ray"
FLOORS = (
    ("jobs", "benchmarks"),
    ("commands",),
    ("pipeline", "report"),
    ("experiment",),
    ("config",),
    ("arms",),
    ("explain",),
    ("models",),
    ("check_table", "cluster", "data", "statistics"),
    ("base",),
)
"""From the top; the rooms of a floor know nothing of each other."""
DISTRIBUTING = {"cluster", "pipeline", "benchmarks"}
"""Rooms that may import Ray."""
COMPUTING = {"models", "explain", "benchmarks"}
"""Rooms that may import PyTorch when they are imported; elsewhere only what workers run does."""
RUN_BY_WORKERS = {
    "osteo_ray.pipeline.compare.in_process",
    "osteo_ray.pipeline.compare.stream_feed",
    "osteo_ray.pipeline.explain.actor",
    "osteo_ray.pipeline.validate.stripe_net",
}
MOST_ROOMS, MOST_FLOORS, MOST_ARROWS = 16, 10, 60
MOST_LINES, MOST_LINES_MEDIAN = 350, 130
MOST_PARAMETERS = 11
OFFERED = "osteo_ray.commands.python"


class Import(NamedTuple):
    """`source` imports `target`, when it is imported itself or later in a function."""

    source: str
    target: str
    at_import: bool


def list_files() -> list[Path]:
    folders = (PACKAGE, "jobs", "benchmarks")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def name_room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else parts[0]


@cache
def list_imports() -> tuple[Import, ...]:
    known = {name_module(path) for path in list_files()}
    rooms = {name_room(module) for module in known}

    def walk(source: str, node: ast.AST, at_import: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(source, alias.name, at_import)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, "imports are absolute"
                for alias in child.names:
                    full, ours = f"{child.module}.{alias.name}", name_room(child.module) in rooms
                    whole = full in known or not ours  # of others, a name may be a module, too
                    yield Import(source, full if whole else str(child.module), at_import)
            else:
                yield from walk(source, child, at_import and not inside and not checking)

    return tuple(
        found
        for path in list_files()
        for found in walk(name_module(path), ast.parse(path.read_text(encoding="utf-8")), True)
    )


@cache
def list_arrows() -> dict[tuple[str, str], tuple[Import, ...]]:
    """Return the imports behind each arrow from a room to another."""
    rooms = {name_room(name_module(path)) for path in list_files()} - {PACKAGE}
    arrows: dict[tuple[str, str], list[Import]] = {}
    for found in list_imports():
        ends = (name_room(found.source), name_room(found.target))
        if ends[0] != ends[1] and set(ends) <= rooms:
            arrows.setdefault(ends, []).append(found)
    return {ends: tuple(found) for ends, found in sorted(arrows.items())}


def count_floors() -> dict[str, int]:
    """Return the floor of each room, from 1: one above the highest room that it uses."""
    uses: dict[str, set[str]] = {room: set() for floor in FLOORS for room in floor}
    for source, target in list_arrows():
        uses[source].add(target)
    floors: dict[str, int] = {}

    def find(room: str) -> int:
        if room not in floors:
            floors[room] = 1 + max((find(other) for other in uses[room]), default=0)
        return floors[room]

    for room in uses:
        find(room)
    return floors


def list_importers(package: str, *, at_import: bool | None = None) -> set[str]:
    return {
        found.source
        for found in list_imports()
        if found.target.split(".")[0] == package and at_import in (None, found.at_import)
    }


def test_source_is_read_as_it_should_be() -> None:
    # Guards the tests below against a reader that sees nothing.
    imports = list_imports()
    assert Import("osteo_ray.models.training", "torch", True) in imports
    assert Import("osteo_ray.data.masks", "torch", False) in imports
    assert Import("osteo_ray.report.page", "osteo_ray.report.plots", True) in imports
    assert Import("jobs.compare", "osteo_ray.commands.entrypoint", True) in imports


def test_every_room_has_a_floor() -> None:
    rooms = {name_room(name_module(path)) for path in list_files()} - {PACKAGE}
    assert rooms == {room for floor in FLOORS for room in floor}
    assert len(rooms) <= MOST_ROOMS
    loose = {path.name for path in (ROOT / PACKAGE).glob("*.py")}
    assert loose == {"__init__.py"}


def test_arrows_run_downward() -> None:
    ranks = {room: rank for rank, floor in enumerate(FLOORS) for room in floor}
    upward = {
        ends: sorted({f"{found.source} → {found.target}" for found in imports})
        for ends, imports in list_arrows().items()
        if ranks[ends[1]] <= ranks[ends[0]]
    }
    assert upward == {}


def test_house_stays_small() -> None:
    assert max(count_floors().values()) <= MOST_FLOORS
    assert len(list_arrows()) <= MOST_ARROWS
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in list_files()
        if path.name != "__init__.py"
    }
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
    assert statistics.median(lines.values()) <= MOST_LINES_MEDIAN


def test_a_public_name_means_one_thing_and_no_function_takes_a_dozen_parameters() -> None:
    places: dict[str, list[str]] = {}
    long: list[str] = []
    for path in list_files():
        # The functions that Python is offered bear the names of those that they call.
        if path.relative_to(ROOT).parts[0] != PACKAGE or name_module(path) == OFFERED:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
                places.setdefault(node.name, []).append(name_module(path))
        for inner in ast.walk(tree):
            if isinstance(inner, ast.FunctionDef):
                parameters = [*inner.args.args, *inner.args.kwonlyargs]
                if len(parameters) > MOST_PARAMETERS:
                    long.append(f"{name_module(path)}.{inner.name}")
    places.pop("define")  # The same thing in each metric that has a parameter.
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
    assert long == []


def test_no_module_imports_itself_in_a_circle() -> None:
    below: dict[str, set[str]] = {}
    for source, target, at_import in list_imports():
        if at_import and target.startswith(f"{PACKAGE}."):
            below.setdefault(source, set()).add(target)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path, module))
        if module not in done:
            for other in below.get(module, ()):
                visit(other, (*path, module))
            done.add(module)

    for module in below:
        visit(module, ())
    assert "osteo_ray.config.build" in done


def test_ray_is_imported_only_where_work_is_distributed() -> None:
    assert {name_room(module) for module in list_importers("ray")} <= DISTRIBUTING


def test_torch_is_imported_only_by_what_workers_run() -> None:
    found = list_importers("torch", at_import=True) | list_importers("timm", at_import=True)
    elsewhere = {module for module in found if name_room(module) not in COMPUTING}
    assert elsewhere == RUN_BY_WORKERS


def test_processes_that_train_or_explain_do_without_slow_statistics() -> None:
    # Each of them would take half a second of CPU longer to start, and a run has several.
    below: dict[str, set[str]] = {}
    for source, target, at_import in list_imports():
        if at_import:
            below.setdefault(source, set()).add(target)
    waiting = [
        *("osteo_ray.pipeline.compare.one_trial", "osteo_ray.pipeline.compare.sweeps"),
        *("osteo_ray.pipeline.explain.actor", "osteo_ray.pipeline.explain.pool"),
        "osteo_ray.pipeline.compare.model_check",
    ]
    seen: dict[str, str] = dict.fromkeys(waiting, "")
    while waiting:
        module = waiting.pop()
        new = below.get(module, set()) - seen.keys()
        seen |= dict.fromkeys(new, module)
        waiting += new
    assert "osteo_ray.models.validation" in seen
    slow = ("scipy.stats", "statsmodels", "sklearn", "matplotlib")
    assert {name: by for name, by in seen.items() if name.startswith(slow)} == {}


def test_drivers_do_without_torch_and_commands_without_ray() -> None:
    # In one process of its own, as this one may hold PyTorch already; from least to most.
    heavy = ("torch", "timm", "lime", "ray", "pandas")
    modules = {
        "osteo_ray.commands.main": heavy,
        "osteo_ray.report.page": ("torch", "timm", "lime", "ray"),
        "osteo_ray.pipeline.compare.stages": ("torch", "timm", "lime"),
    }
    code = "import importlib, json, sys\nfound = {}\n"
    for module, names in modules.items():
        code += f"importlib.import_module({module!r})\n"
        code += f"found[{module!r}] = [name for name in {names!r} if name in sys.modules]\n"
    code += "print(json.dumps(found))"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert json.loads(printed.stdout) == {module: [] for module in modules}


def describe_house() -> Iterator[str]:
    floors = count_floors()
    for room in sorted(floors, key=lambda room: (-floors[room], room)):
        below = sorted(target for source, target in list_arrows() if source == room)
        files = [path for path in list_files() if name_room(name_module(path)) == room]
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
        uses = ", ".join(below) or "–"
        yield f"floor {floors[room]:>2}  {room:<12} {lines:>6} lines  uses {uses}"
    yield f"{len(floors)} rooms, {max(floors.values())} floors, {len(list_arrows())} arrows"


if __name__ == "__main__":
    print("\n".join(describe_house()))
