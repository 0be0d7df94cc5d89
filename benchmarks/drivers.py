"""How much memory the process of a command takes that works on a finished run of many images."""

import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from osteo_ray.base.runs import Run

_N_NEW = 4000  # images that `predict` reads
_N_SHOWN = 1000  # of which it makes masks, too


@dataclass(frozen=True)
class DriverPeak:
    """What a command took.

    Attributes:
        command: As a user gives it, or what of it is measured.
        n_images: Images of the run, or those that are predicted.
        seconds: From its first import to its end.
        peak_gib: Most memory of its process, imports and mapped files included.
    """

    command: str
    n_images: int
    seconds: float
    peak_gib: float


def bench_drivers(
    n_images: int, *, size_px: int, words: Sequence[str] = ()
) -> Iterator[DriverPeak]:
    """Run commands on a finished comparison, each in a process of its own, without Ray.

    Args:
        n_images: Images of the comparison, whose tables are drawn.
        size_px: Side of the images, in pixels.
        words: A command that holds one of them is run; all commands by default.
    """
    with tempfile.TemporaryDirectory(prefix="osteo-ray-large-") as scratch:
        folder = Path(scratch)
        _apart(_prepare, folder, n_images, size_px)
        for command, (count, work) in _WORK.items():
            if words and not any(word in command for word in words):
                continue
            seconds, peak = _apart(_measure, work, folder)
            shutil.rmtree(folder / "out", ignore_errors=True)
            yield DriverPeak(command, count or n_images, seconds, peak)


def _apart(work: Callable[..., Any], *arguments: object) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def _measure(work: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    begin = time.perf_counter()
    work(folder)
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return time.perf_counter() - begin, int(line.split()[1]) / 2**20


def _prepare(folder: Path, n_images: int, size_px: int) -> None:
    """Make the run, a rerun of it with masks in other files, and new images."""
    # Imported here: it imports PyTorch, and the memory of commands that do not is measured.
    from benchmarks.large_run import configure_large, draw_few, write_large_run, write_masks
    from osteo_ray.pipeline.stored_run import describe_stored

    run, rerun = Run(folder / "run"), folder / "rerun"
    write_large_run(run, n_images, size_px)
    _conclude(folder)
    shutil.copytree(folder / "run", rerun, copy_function=os.link)
    shutil.rmtree(rerun / "masks")
    _, experiment = describe_stored(run, configure_large(folder / "run", size_px))
    order = np.random.default_rng(1).permutation(n_images)
    for seed in experiment.seeds:
        write_masks(replace(experiment, run=Run(rerun)), seed, order)
    few = draw_few(size_px)
    for name, count in (("new", _N_NEW), ("shown", _N_SHOWN)):
        (folder / name).mkdir()
        for number in range(count):
            picture = few[number % len(few)].copy()
            picture[0, :4] = np.frombuffer(number.to_bytes(4, "big"), np.uint8)
            Image.fromarray(picture).save(folder / name / f"{number:06}.png", compress_level=1)


@dataclass(frozen=True)
class _Command:
    """A command, with the names of places in the scratch folder in capitals."""

    words: tuple[str, ...]

    def __call__(self, folder: Path) -> None:
        from osteo_ray.commands.main import main

        places = {name.upper(): str(folder / name) for name in ("run", "new", "shown", "out")}
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            code = main([places.get(word, word) for word in self.words])
        assert code == 0, self.words


def _conclude(folder: Path) -> None:
    """Do what `compare` does once all trainings have ended."""
    from osteo_ray.base.progress import Clock
    from osteo_ray.config.build import build_config, read_yaml
    from osteo_ray.pipeline.compare.conclusion import Finished, conclude
    from osteo_ray.pipeline.stored_run import describe_stored

    run = Run(folder / "run")
    _, experiment = describe_stored(run, build_config(read_yaml(run.config)))
    conclude(Finished(experiment, [], Clock()))


def _summarize(folder: Path) -> None:
    from osteo_ray.explain.jobs import read_done
    from osteo_ray.pipeline.explain.summary import summarize_explanations

    read_done(Run(folder / "run").masks)
    summarize_explanations(Run(folder / "run"), "lime")


def _compare_again(folder: Path) -> None:
    """Do what `reproduce` does once the rerun has ended."""
    from osteo_ray.base.progress import Clock
    from osteo_ray.config.reproduce import ToleranceSettings
    from osteo_ray.pipeline.compare.conclusion import Finished
    from osteo_ray.pipeline.reproduce.compare_runs import compare_runs, compare_sources
    from osteo_ray.pipeline.reproduce.stored import open_stored
    from osteo_ray.pipeline.stored_run import describe_stored

    stored, rerun = open_stored(str(folder / "run")), Run(folder / "rerun")
    _, experiment = describe_stored(rerun, stored.config)
    compare_sources(stored, rerun)
    finished = Finished(experiment, [], Clock())
    found = compare_runs(stored, finished, None, ToleranceSettings(), equal_expected=True)
    assert found


def _share(folder: Path) -> None:
    """Do what `audit --measure-leak` and `compare` do before they train."""
    from osteo_ray.config.build import build_config, read_yaml
    from osteo_ray.experiment.stored_images import locate_pixels
    from osteo_ray.pipeline.stored_run import describe_stored

    run = Run(folder / "run")
    config = build_config(read_yaml(run.config))
    _, experiment = describe_stored(run, config)
    locate_pixels(run, experiment.image_ids.tolist(), config.image_size)


_EXPORT = ("export", "RUN", "--arm", "lime", "--models", "test_byobnet", "--seeds", "0")
_WORK: dict[str, tuple[int, Callable[[Path], None]]] = {
    "compare, audit --measure-leak: before training": (0, _share),
    "compare: once all is trained": (0, _conclude),
    "report": (0, _Command(("report", "RUN"))),
    "verify": (0, _Command(("verify", "RUN"))),
    "reproduce: comparing": (0, _compare_again),
    "explain: summary": (0, _summarize),
    "export --as folder": (0, _Command((*_EXPORT, "--as", "folder", "--out", "OUT"))),
    "export --as npz": (0, _Command((*_EXPORT, "--as", "npz", "--out", "OUT"))),
    "export --as parquet": (0, _Command((*_EXPORT, "--as", "parquet", "--out", "OUT"))),
    "predict": (_N_NEW, _Command(("predict", "RUN", "NEW"))),
    "predict --masks": (_N_SHOWN, _Command(("predict", "RUN", "SHOWN", "--masks", "OUT"))),
}
