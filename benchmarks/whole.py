"""Whole commands on a set of any size, as a user gives them: time, memory and files."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.copies import draw_files
from benchmarks.memory import PeakMemory
from osteo_ray.base.errors import InputError
from osteo_ray.cluster.connection import connect
from osteo_ray.commands.parsing import DONE, FINDINGS
from osteo_ray.experiment.trials import WEIGHTS

_LIME = (
    "--lime.superpixels=grid",
    "--lime.n-superpixels=9",
    "--lime-samples=10",
    "--lime.top-k=2",
)
_SEEDS = 2
_ENDED = (DONE, FINDINGS)
_COMMANDS = ("compare", "explain", "audit", "export", "reproduce")


@dataclass(frozen=True)
class Whole:
    """What a command took, over all the pieces in which it ran.

    Attributes:
        command: Its name.
        n_images: Images of the set.
        pieces: How often it was given until it ended well.
        seconds: From the start of its process to its end, of all pieces.
        driver_gib: Most memory that its process had to itself.
        total_gib: Most memory that all its processes had to themselves, those of Ray included.
        store_gib: Most memory of Ray's object store.
        n_files: Files that it left.
        n_mask_files: Files of masks among them.
    """

    command: str
    n_images: int
    pieces: int
    seconds: float
    driver_gib: float
    total_gib: float
    store_gib: float
    n_files: int
    n_mask_files: int


def bench_whole(root: Path, n_images: int, *, size_px: int, model: str) -> Iterator[Whole]:
    """Compare, explain, audit, reproduce and export phantoms, each by a command of its own.

    What was finished when the benchmark was stopped is not run again; what was not goes on from
    where it was.

    Args:
        root: A folder for the images and all results, kept for the next time.
        n_images: Images of the set, copies included.
        size_px: Side of the images, in pixels.
        model: The network, untrained, as `compare --models` takes it.

    Raises:
        InputError: The folder holds another set.
        RuntimeError: A command fails; what it said is in the folder.
    """
    drawn, what = root / "images.json", {"images": n_images, "size_px": size_px, "model": model}
    if not drawn.exists():
        with connect():
            draw_files(root / "images", n_images, size_px)
        drawn.write_text(json.dumps(what))
    elif (other := json.loads(drawn.read_text())) != what:
        raise InputError(f"Expected {what} in {root}, but found {other}. Name another folder.")
    for command in _COMMANDS:
        record = root / f"{command}.jsonl"
        pieces = _read(record)
        if not pieces or pieces[-1]["code"] not in _ENDED:
            pieces.append(_run(root, command, _list_words(command, root, size_px, model), record))
        if pieces[-1]["code"] not in _ENDED:
            raise RuntimeError(f"{command} failed: see {root / command}.log.")
        files = [one for one in (root / command).rglob("*") if one.is_file()]
        yield Whole(
            command,
            n_images,
            pieces=len(pieces),
            seconds=sum(one["seconds"] for one in pieces),
            driver_gib=max(one["driver"] for one in pieces),
            total_gib=max(one["total"] for one in pieces),
            store_gib=max(one["store"] for one in pieces),
            n_files=len(files),
            n_mask_files=sum(one.is_relative_to(root / command / "masks") for one in files),
        )


def _list_words(command: str, root: Path, size_px: int, model: str) -> list[str]:
    """Return the words of a command, whose results go to its own folder."""
    images, size, out = f"{root / 'images'}", f"--image-size={size_px}", f"--out={root / command}"
    run = root / "compare"
    code = ["--run-code"] if ".py:" in model else []
    match command:
        case "compare":
            training = ("--models", model, "--weights=none", "--epochs=1", f"--seeds={_SEEDS}")
            return [images, size, *training, "--arms", "original", "lime", *_LIME, out]
        case "explain":
            baseline = next((run / "trials").glob(f"*/*/original-*/{WEIGHTS}"))
            return [images, f"--checkpoint={baseline}", *_LIME, *code, out]
        case "audit":
            return [images, size, out]
        case "reproduce":
            return [str(run), *code, out]
        case _:
            return [str(run), "--arm=lime", "--as=parquet", "--seeds", "0", out]


def _run(root: Path, command: str, words: list[str], record: Path) -> dict[str, float]:
    """Give a command once; write down what it took, even if it is stopped from outside."""
    begin = time.perf_counter()
    program = (sys.executable, "-m", "osteo_ray.commands.main", command)
    with (root / f"{command}.log").open("a") as log:
        process = subprocess.Popen([*program, *words], stdout=log, stderr=log)
        with PeakMemory(process.pid) as memory:
            try:
                code = process.wait()
            except BaseException:
                process.terminate()  # it keeps what it has, and goes on from there
                process.wait()
                code = -1
                raise
            finally:
                piece = {
                    "code": code,
                    "seconds": time.perf_counter() - begin,
                    "driver": memory.driver_gib,
                    "total": memory.total_gib,
                    "store": memory.store_gib,
                }
                with record.open("a") as file:
                    file.write(json.dumps(piece) + "\n")
    return piece


def _read(record: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
