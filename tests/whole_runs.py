"""A comparison that leaves every kind of file there is, made and gone on with without Ray.

The fixture `whole` of conftest.py makes it, once for all tests.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_own_networks import NET
from tiny_runs import TINY, stay_quiet
from without_ray import compare_here

from osteo_ray.base.digests import write_sealed
from osteo_ray.base.mappings import merge_settings
from osteo_ray.base.runs import Run
from osteo_ray.config.build import build_config
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.phantoms.sets import write_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.experiment.searches import Tried
from osteo_ray.experiment.soundness import inspect_run
from osteo_ray.models import forward
from osteo_ray.pipeline.compare import stages, tuning

VOLATILE = ("environment.json", "report.html", ".digests.json", "spare/environment.json")
"""Files at the root that say how long a job took."""


def configure_whole(folder: Path) -> CompareConfig:
    """Return the settings of a run that has every kind of file."""
    changes = {
        "seeds": 1,
        "training": {"epochs": 1},
        "phantom": {"n_images": 32, "size_px": 48},
        "models": [f"{folder / 'net.py'}:make"],
        "arms": ["original", "lime", "random_each_epoch", "given_region"],
        "weights": "none",
        "grid": True,
        "tensorboard": True,
        "test_data": str(folder / "clinic" / "images"),
        "tuning": {"trials": 2},
        "out": str(folder / "run"),
    }
    return build_config(merge_settings(TINY, changes))


def search_nothing(trial: Any, candidates: Any, *_: object) -> list[Tried]:
    return [
        Tried(number, dict(one), (1.0 - number / 10,), (0.5,))
        for number, one in enumerate(candidates)
    ]


def patch_all(patch: pytest.MonkeyPatch) -> None:
    compare_here(patch)
    patch.setattr(tuning, "search_settings", search_nothing)
    patch.setattr(stages, "check_search_hours", lambda *_: None)
    patch.setattr(forward, "choose_backend", lambda *_: "openvino")


def make_whole(folder: Path) -> None:
    """Make the run, and its sources beside it."""
    (folder / "net.py").write_text(NET)
    write_phantoms(folder / "clinic", PhantomSettings(n_images=16, size_px=48, seed=7))
    with pytest.MonkeyPatch.context() as patch:
        patch_all(patch)
        outcome = stages.compare(configure_whole(folder), stay_quiet(), write_report=write_page)
    assert outcome.failures == []


def write_page(run: Run) -> None:
    """Stand for the report, which takes seconds to draw."""
    with write_sealed(run.report) as unfinished:
        unfinished.write_text("a page")


def list_files(root: Path) -> dict[str, bytes]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def link_run(whole: Path, folder: Path) -> Path:
    """Copy a run by links, as nothing writes into a file of a run in place, but for its logs."""
    root = shutil.copytree(whole / "run", folder / "run", copy_function=os.link)
    shutil.rmtree(root / "logs")
    return Path(root)


def resume(whole: Path, root: Path, told: list[str]) -> None:
    """Go on with a copy of the run, without Ray."""
    config = configure_whole(whole).model_copy(update={"out": str(root)})
    progress = stay_quiet()
    progress.say = told.append  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch_all(patch)
        outcome = stages.compare(config, progress, write_report=write_page)
    assert outcome.failures == []


def assert_mended(whole: Path, root: Path) -> None:
    """Check that a run holds what it held, byte by byte.

    Files that tell the time are aside, and OpenVINO's graphs: those are made when they are next
    needed, and number their nodes as they like.
    """

    def choose(files: dict[str, bytes]) -> dict[str, bytes]:
        beside = ("set-aside/", "logs/")
        return {
            name: content
            for name, content in files.items()
            if not name.startswith(beside) and "/frozen/" not in name
        }

    before, after = choose(list_files(whole / "run")), choose(list_files(root))
    assert sorted(before.keys() - after.keys()) == []
    assert sorted(after.keys() - before.keys()) == []
    timed = {*VOLATILE, "config.yaml", "spare/config.yaml"}  # its --out is another
    timed |= {name for name in before if name.startswith("tensorboard/")}
    assert [name for name in before.keys() - timed if after[name] != before[name]] == []
    assert json.loads(after[".digests.json"]).keys() == json.loads(before[".digests.json"]).keys()
    assert {one.state for one in inspect_run(Run(root)).checked} == {"sound"}
