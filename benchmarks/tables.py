"""Measurements as text on a terminal."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.actors import Speed
from benchmarks.copies import Finding
from benchmarks.exactness import Exactness
from benchmarks.fidelity import Fidelity, weigh
from benchmarks.ingest import ReadTiming
from benchmarks.lime import LimeTiming
from benchmarks.overhead import Overhead, fit_cost
from benchmarks.statistics import Part
from benchmarks.stream import Streamed
from benchmarks.sweep import Sweep


def show_reading(console: Console, timings: Sequence[ReadTiming]) -> None:
    """Show how fast images were read; the first way is ours."""
    table = Table(box=box.SIMPLE)
    table.add_column("read by", no_wrap=True)
    for heading in ("seconds", "images/s", "ours is faster by", "memory, GiB", "gray differs by"):
        table.add_column(heading, justify="right")
    for timing in timings:
        table.add_row(
            timing.name,
            f"{timing.seconds:.1f}",
            f"{timing.images_per_s:.0f}",
            f"{timing.seconds / timings[0].seconds:.2f}×",
            f"{timing.memory_gib:.2f}",
            f"{timing.difference:.2f}",
        )
    console.print(table)


def show_findings(console: Console, found: Finding) -> None:
    """Show how copies were found in a set of one size."""
    console.print(
        f"{found.n_images} images: read {found.read_s:.0f} s, copies {found.find_s:.0f} s; driver "
        f"{found.driver_gib:.2f} GiB, all {found.memory_gib:.2f} GiB; precision "
        f"{found.precision:.4f}; recall "
        + ", ".join(
            f"{kind} {share:.3f} of {found.counts[kind]}" for kind, share in found.recall.items()
        ),
        highlight=False,
        soft_wrap=True,
    )


def show_masks(console: Console, timings: Iterable[LimeTiming]) -> None:
    """Show how fast masks were made; each way as soon as it is timed, then all in one table."""
    found = []
    for timing in timings:
        console.print(f"{timing.name}: {timing.seconds:.2f} s an image", highlight=False)
        found.append(timing)
    rows = {
        "s/image": [f"{timing.seconds:.2f}" for timing in found],
        "samples": [f"{timing.samples:.0f}" for timing in found],
        "samples/s": [f"{timing.samples_per_s:.0f}" for timing in found],
        "IoU with the first": [f"{timing.overlap:.3f}" for timing in found],
        "memory, GiB": [f"{timing.memory_gib:.2f}" for timing in found],
    }
    for step in found[0].shares:
        rows[f"{step}, %"] = [f"{100 * timing.shares[step]:.0f}" for timing in found]
    table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    for timing in found:
        table.add_column(timing.name, justify="right")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    console.print(table)


def show_exactness(console: Console, found: Iterable[Exactness]) -> None:
    """Show how many images are explained as by the package, and the largest differences."""
    images = list(found)

    def count(name: str) -> str:
        return f"{sum(getattr(image, name) for image in images)} of {len(images)}"

    weights = max(image.weight_difference for image in images)
    probabilities = max(image.probability_difference for image in images)
    rows = {
        "same superpixels": count("same_superpixels"),
        "same masks, from the same predictions": count("same_mask"),
        "largest difference of a weight": f"{weights:.1e}",
        "same masks, by the fast forward pass": count("same_mask_fast"),
        "largest difference of a probability": f"{probabilities:.1e}",
    }
    table = Table(box=box.SIMPLE, show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def show_fidelity(
    console: Console, found: Iterable[Fidelity], stabilities: Sequence[float], n_images: int
) -> None:
    """Show how much exact masks overlap with each other, and adaptive ones with them."""
    images = []
    for image in found:
        images.append(image)
        console.print(f"{len(images)} of {n_images} images", highlight=False)
    exact = sum(image.exact for image in images) / len(images)
    console.print(f"Two exact masks of an image overlap by {exact:.3f} (mean).", highlight=False)
    table = Table(box=box.SIMPLE)
    for heading in ("stability", "samples", "unstable", "overlap with exact masks"):
        table.add_column(heading, justify="right")
    table.add_column("beyond that of exact ones (95 %)", justify="right", no_wrap=True)
    for stability, margin in zip(stabilities, weigh(images), strict=True):
        table.add_row(
            f"{stability:g}",
            f"{margin.n_samples:.0f}",
            f"{margin.unstable:.0%}",
            f"{margin.overlap:.3f}",
            f"{margin.difference:+.3f} ({margin.low:+.3f} … {margin.high:+.3f})",
        )
    console.print(table)


def show_parts(console: Console, parts: Iterable[Part]) -> None:
    """Show how long each part of the statistics took, and all of them."""
    table = Table(box=box.SIMPLE)
    table.add_column("part", no_wrap=True)
    for heading in ("seconds", "memory, GiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    found = []
    for part in parts:
        console.print(f"{part.name}: {part.seconds:.1f} s", highlight=False)
        table.add_row(part.name, f"{part.seconds:.1f}", f"{part.memory_gib:.2f}")
        found.append(part)
    total = sum(part.seconds for part in found)
    most = max((part.memory_gib for part in found), default=0.0)
    table.add_row("all", f"{total:.1f}", f"{most:.2f}")
    console.print(table)


def show_speeds(console: Console, speeds: Iterable[Speed]) -> None:
    """Show how explaining speeds up with actors; the first row is what others are held to."""
    table = Table(box=box.SIMPLE)
    for heading in ("actors", "images/s", "times the first", "stage, s", "explaining, s"):
        table.add_column(heading, justify="right", no_wrap=True)
    first = None
    for speed in speeds:
        first = first or speed
        table.add_row(
            str(speed.n_actors),
            f"{speed.images_per_s:.2f}",
            f"{speed.images_per_s / first.images_per_s:.2f}",
            f"{speed.stage_s:.1f}",
            f"{speed.busy_s:.1f}",
        )
    console.print(table)


def show_sweep(console: Console, sweep: Sweep) -> None:
    """Show what a training of a long sweep cost, and how soon a stopped sweep went on."""
    course = " → ".join(f"{gib:.2f}" for gib in sweep.driver_gib)
    console.print(
        f"{sweep.n_trainings} trainings: {sweep.sweep_s:.1f} s on {sweep.workers} worker(s), "
        f"{sweep.loop_s:.1f} s in a loop; {sweep.overhead_s:.2f} s of a worker beyond that each\n"
        f"driver, GiB, after each quarter of the time: {course}\n"
        f"one training lost: {sweep.going_s:.1f} s after the command its stage began, after "
        f"{sweep.resume_s:.1f} s it was there",
        highlight=False,
        soft_wrap=True,
    )


def show_streams(console: Console, streams: Iterable[Streamed]) -> None:
    """Show how sets of images went from files to masks; each as soon as it is done."""
    for one in streams:
        console.print(
            f"{one.n_images} images: read {one.read_s:.0f} s ({one.n_images / one.read_s:.0f}/s), "
            f"explained {one.explain_s:.0f} s ({one.n_images / one.explain_s:.0f}/s); driver "
            f"{one.driver_gib:.2f} GiB, all {one.memory_gib:.2f} GiB, object store "
            f"{one.store_gib:.2f} GiB",
            highlight=False,
            soft_wrap=True,
        )


def show_overheads(console: Console, overheads: Iterable[Overhead]) -> None:
    """Show what distribution cost, comparison by comparison, and what of it is fixed."""
    table = Table(box=box.SIMPLE)
    headings = ("seeds", "trainings", "explanations", "loops, s", "cluster, s", "cost, s", "cost")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    found = []
    for one in overheads:
        found.append(one)
        table.add_row(
            str(one.n_seeds),
            str(one.n_trainings),
            str(one.n_explanations),
            f"{one.loop_s:.1f}",
            f"{one.cluster_s:.1f}",
            f"{one.cost_s:.1f}",
            f"{one.cost_share:.1%}",
        )
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in one.stages.items())
        console.print(f"{one.n_seeds} seeds: {stages}", highlight=False, soft_wrap=True)
    console.print(table)
    fitted = fit_cost(found)
    if fitted:
        console.print(f"fixed {fitted[0]:.1f} s, and {fitted[1]:.1f} s per seed", highlight=False)
