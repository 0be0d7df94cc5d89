"""Which way imports may point, and who may import Ray and PyTorch, read from the source."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import osteo_ray

ROOT = Path(osteo_ray.__file__).parent
BOTTOM = (
    *("runs", "remote", "storage", "lock", "config", "errors", "progress", "noise", "cluster"),
    *("job_paths", "trust", "placement", "watchdog", "interruption", "machine", "events"),
    "observer",
)
LAYERS = (
    "job",
    "cli",
    "commands",
    "submission",
    "bench",
    "validate",
    "report",
    "reproduce",
    "compare",
    "statistics",
    "printed",
    "explain",
    "models",
    "data",
    BOTTOM,
)  # from the top

USES_RAY = {
    "bench.copies",
    "bench.exactness",
    "bench.fidelity",
    "bench.ingest",
    "bench.lime",
    "cluster",
    "data.ingest",
    "data.duplicates",
    "explain.checkpoint_check",
    "explain.generate",
    "observer",
    "compare.calibration",
    "compare.leak",
    "compare.model_check",
    "compare.sweeps",
    "compare.stages",
    "submission.following",
    "submission.head",
    "validate.tables",
    "validate.worlds",
    "watchdog",
}
USES_TORCH = {  # at import; the others are imported by the driver, which does without
    "models.augmentation",
    "models.batches",
    "models.classifier",
    "models.forward",
    "models.prediction",
    "models.stripe_net",
    "models.training",
    "explain.explainer",
    "explain.faithfulness",
    "explain.gradcam",
    "explain.lime",
    "compare.in_process",
    "compare.trials",
}
UPWARD = {  # a job ends with its report
    ("compare.stages", "report.page"),
    ("compare.audits", "report.audit_page"),
}


class Import(NamedTuple):
    """`source` imports `target`, when it is imported itself or later in a function."""

    source: str
    target: str
    at_import: bool


def _name_module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _list_imports(path: Path) -> Iterator[Import]:
    def walk(node: ast.AST, at_import: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(_name_module(path), alias.name, at_import)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, "imports are absolute"
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    known = (ROOT.parent / Path(*full.split("."))).with_suffix(".py").exists()
                    yield Import(_name_module(path), full if known else child.module, at_import)
            else:
                yield from walk(child, at_import and not inside and not checking)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), True)


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    return [found for path in sorted(ROOT.rglob("*.py")) for found in _list_imports(path)]


def _rank(module: str) -> int:
    part = module.split(".")[0]
    return LAYERS.index(BOTTOM if part in BOTTOM else part)


def _importers(imports: list[Import], package: str, *, at_import: bool | None = None) -> set[str]:
    return {
        found.source
        for found in imports
        if found.target.split(".")[0] == package
        and (at_import is None or found.at_import == at_import)
    }


def test_every_module_has_a_layer() -> None:
    for path in ROOT.rglob("*.py"):
        if path.name != "__init__.py":
            assert 0 <= _rank(_name_module(path)) < len(LAYERS)


def test_source_is_read_as_it_should_be(imports: list[Import]) -> None:
    # Guards the tests below against a reader that sees nothing.
    assert Import("compare.trials", "torch", True) in imports
    assert Import("data.masks", "torch", False) in imports
    assert Import("compare.sweeps", "osteo_ray.pipeline.compare.trials", False) in imports
    assert Import("report.page", "osteo_ray.report.figures", True) in imports


def test_imports_point_down(imports: list[Import]) -> None:
    upward = set()
    for source, target, _ in imports:
        package, _, inner = target.partition(".")
        if package == "osteo_ray" and inner and _rank(inner) < _rank(source):
            upward.add((source, inner))
    assert upward == UPWARD


def test_no_module_imports_itself_in_a_circle(imports: list[Import]) -> None:
    below: dict[str, set[str]] = {}
    for source, target, at_import in imports:
        if at_import and target.startswith("osteo_ray."):
            below.setdefault(source, set()).add(target.removeprefix("osteo_ray."))
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path, module))
        if module not in done:
            for other in below.get(module, ()):
                visit(other, (*path, module))
            done.add(module)

    for module in below:
        visit(module, ())
    assert "config.build" in done


def test_ray_is_imported_only_where_work_is_distributed(imports: list[Import]) -> None:
    assert _importers(imports, "ray") == USES_RAY


def test_statistics_know_numbers_only(imports: list[Import]) -> None:
    ours = {
        target
        for source, target, _ in imports
        if source.split(".")[0] in ("statistics", "printed") and target.startswith("osteo_ray.")
    }
    assert {target.split(".")[1] for target in ours} == {
        *("statistics", "printed", "config", "errors"),
    }


def test_torch_is_imported_only_by_what_workers_run(imports: list[Import]) -> None:
    found = _importers(imports, "torch", at_import=True) | _importers(imports, "timm")
    assert found == USES_TORCH


def test_driver_does_without_torch() -> None:
    # In a process of its own: this one may hold PyTorch already.
    code = (
        "import osteo_ray.pipeline.compare.stages, sys\n"
        "print([name for name in ('torch', 'timm', 'lime') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_export_does_without_torch_and_ray() -> None:
    code = (
        "import osteo_ray.report.export, sys\n"
        "print([name for name in ('torch', 'ray', 'timm') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_command_line_does_without_torch_and_ray() -> None:
    code = (
        "import osteo_ray.commands.main, sys\n"
        "print([name for name in ('torch', 'ray', 'timm', 'pandas') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
