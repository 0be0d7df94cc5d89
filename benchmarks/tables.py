"""Measurements as text on a terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console

from benchmarks.actors import Speed
from benchmarks.copies import FoundCopies
from benchmarks.copy_kinds import FoundKind
from benchmarks.drivers import DriverPeak
from benchmarks.exactness import Exactness
from benchmarks.fidelity import Fidelity, weigh
from benchmarks.ingest import ReadTiming
from benchmarks.lime import LimeTiming
from benchmarks.masks import MaskReading
from benchmarks.overhead import Overhead, fit_cost
from benchmarks.stability import Calibration, summarize_calibration
from benchmarks.statistics import Part
from benchmarks.steps import StepTimes
from benchmarks.stream import Streamed
from benchmarks.sweep import Sweep
from benchmarks.train import Trained, relate
from benchmarks.whole import Whole
from osteo_ray.base.formatting import (
    format_difference,
    format_interval,
    format_percent,
    format_score,
)
from osteo_ray.commands.terminal import print_table, say


def _fix(digits: int, *values: float) -> tuple[str, ...]:
    return tuple(format_score(value, digits) for value in values)


def show_reading(console: Console, timings: Sequence[ReadTiming]) -> None:
    """Show how fast images were read; the first way is that of osteo_ray."""
    print_table(
        console,
        ("read by", "seconds", "images/s", "CPU, ms", "times ours", "memory, GiB", "gray differs"),
        [
            (
                *(one.name, f"{one.seconds:.1f}", f"{one.images_per_s:.0f}"),
                *_fix(
                    2, one.cpu_ms, one.seconds / timings[0].seconds, one.memory_gib, one.difference
                ),
            )
            for one in timings
        ],
    )


def show_mask_readings(console: Console, readings: Iterable[MaskReading]) -> None:
    """Show how the masks of sets were joined and read, each as soon as it is known."""
    for one in readings:
        console.print(
            f"{one.n_images} images: {one.files_before} files became {one.files_after} in "
            f"{one.joining_s:.1f} s ({one.joining_gib:.2f} GiB); read in {one.reading_s:.1f} s "
            f"({one.reading_gib:.2f} GiB; as bytes, the masks alone would take "
            f"{one.array_gib:.2f} GiB)",
            highlight=False,
            soft_wrap=True,
        )


def show_drivers(console: Console, peaks: Iterable[DriverPeak]) -> None:
    """Show how much memory commands took, each as soon as it has ended."""
    for one in peaks:
        say(
            console,
            f"{one.command}: {one.n_images} images, {one.peak_gib:.2f} GiB, {one.seconds:.0f} s",
        )


def show_whole(console: Console, commands: Iterable[Whole]) -> None:
    """Show what whole commands took, each as soon as it has ended."""
    for one in commands:
        say(
            console,
            f"{one.command}: {one.n_images} images, {one.seconds:.0f} s, pieces: {one.pieces} "
            f"({one.n_images / one.seconds:.0f} images/s); memory of the driver "
            f"{one.driver_gib:.2f} GiB, of all processes {one.total_gib:.2f} GiB, of the object "
            f"store {one.store_gib:.2f} GiB; {one.n_files} files, {one.n_mask_files} of masks",
        )


def show_kinds(console: Console, kinds: Iterable[FoundKind]) -> None:
    """Show how copies of each kind were found, each as soon as it is known."""
    for found in kinds:
        console.print(
            f"{found.kind}, by {found.method}: {found.n} planted, recall {found.recall:.3f}, "
            f"precision {found.precision:.3f}, {found.images_per_s:.0f} images/s",
            highlight=False,
        )


def show_copies(console: Console, found: FoundCopies) -> None:
    """Show how copies were found in a set of one size."""
    recall = ", ".join(
        f"{kind} {format_score(share)} of {found.counts[kind]}"
        for kind, share in found.recall.items()
    )
    say(
        console,
        f"{found.n_images} images: read in {found.read_s:.0f} s, compared in {found.find_s:.0f} s; "
        f"driver {found.driver_gib:.2f} GiB, all {found.memory_gib:.2f} GiB; precision "
        f"{format_score(found.precision, 4)}; recall {recall}",
    )


def show_masks(console: Console, timings: Iterable[LimeTiming]) -> None:
    """Show how fast masks were made: each way as soon as it is timed, then all in one table."""
    found = []
    for timing in timings:
        say(console, f"{timing.name}: {timing.seconds:.2f} s an image")
        found.append(timing)
    rows = {
        "s/image": _fix(2, *(one.seconds for one in found)),
        "samples": _fix(0, *(one.samples for one in found)),
        "samples/s": _fix(0, *(one.samples_per_s for one in found)),
        "IoU with the first": _fix(3, *(one.overlap for one in found)),
        "memory, GiB": _fix(2, *(one.memory_gib for one in found)),
    }
    for step in found[0].shares:
        rows[f"{step}, %"] = _fix(0, *(100 * one.shares[step] for one in found))
    headings = ("", *(timing.name for timing in found))
    print_table(console, headings, [(name, *cells) for name, cells in rows.items()])


def show_steps(console: Console, timings: Iterable[tuple[str, StepTimes]]) -> None:
    """Show where the time of an explaining actor goes, in each mode."""
    names, found = zip(*timings, strict=True)
    steps = dict.fromkeys(step for one in found for step in one.cpu_s)
    rows = {"images/s": _fix(3, *(one.images_per_s for one in found))}
    if found[0].busy is not None:
        rows["GPU busy, %"] = _fix(0, *(100 * one.busy for one in found if one.busy is not None))
    for step in steps:
        rows[f"{step}, s"] = _fix(4, *(one.cpu_s.get(step, 0.0) for one in found))
    rows["all but forward, s"] = _fix(4, *(one.beside_s for one in found))
    print_table(
        console,
        ("", *names),
        [(name, *cells) for name, cells in rows.items()],
        title="One explaining actor: CPU seconds per image",
    )


def show_exactness(console: Console, found: Iterable[Exactness]) -> None:
    """Show for how many images both explanations agree, and the largest differences."""
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
    print_table(console, ("", ""), rows.items())


def show_fidelity(
    console: Console, found: Iterable[Fidelity], stabilities: Sequence[float], n_images: int
) -> None:
    """Show how much exact masks overlap with each other, and adaptive masks with exact ones."""
    images = []
    for image in found:
        images.append(image)
        say(console, f"{len(images)} of {n_images} images")
    exact = sum(image.exact for image in images) / len(images)
    say(console, f"Two exact masks of an image overlap by {format_score(exact)} on average.")
    print_table(
        console,
        (
            *("stability", "samples", "unstable", "overlap with exact masks"),
            *("minus that of exact masks", "95 % interval"),
        ),
        [
            (
                *(f"{stability:g}", f"{one.n_samples:.0f}", format_percent(one.unstable)),
                *(format_score(one.overlap), format_difference(one.difference)),
                format_interval(one.low, one.high),
            )
            for stability, one in zip(stabilities, weigh(images), strict=True)
        ],
    )


def show_calibration(console: Console, found: Iterable[Calibration | str]) -> None:
    """Show how much masks were said to overlap with redraws, and how much they do."""
    images: list[Calibration] = []
    failed: list[str] = []
    for image in found:
        if isinstance(image, str):
            failed.append(image)
        else:
            images.append(image)
        say(console, f"{len(images) + len(failed)} images", "dim")
    if failed:
        say(console, f"{len(failed)} images could not be explained. The first: {failed[0]}")
    if sum(image.told is not None for image in images) < 2:
        say(console, "Too few images have a stability to compare it with anything.")
        return
    one = summarize_calibration(images)
    rows = {
        "images": str(one.n_images),
        "images whose stability is unknown": str(one.n_unknown),
        "superpixels": f"{one.n_superpixels:.0f}",
        "samples": f"{one.n_samples:.0f}",
        "stability": format_score(one.told),
        "overlap with a redraw": format_score(one.seen),
        "difference, and its standard error": f"{one.told - one.seen:+.3f} ± {one.error:.3f}",
        "called stable": str(one.n_stable),
        "redraws of these that overlap by less than 0.7": (
            format_percent(one.poor, 1) if one.n_stable else "–"
        ),
    }
    print_table(console, ("", ""), rows.items())


def show_parts(console: Console, parts: Iterable[Part]) -> None:
    """Show how long each part of the statistics took, and all of them together."""
    found = []
    for part in parts:
        say(console, f"{part.name}: {part.seconds:.1f} s")
        found.append(part)
    rows = [(part.name, f"{part.seconds:.1f}", f"{part.memory_gib:.2f}") for part in found]
    most = max((part.memory_gib for part in found), default=0.0)
    rows.append(("all", f"{sum(part.seconds for part in found):.1f}", f"{most:.2f}"))
    print_table(console, ("part", "seconds", "memory, GiB"), rows)


def show_speeds(console: Console, speeds: Iterable[Speed]) -> None:
    """Show how explaining speeds up with actors, relative to the first row."""
    found = list(speeds)
    first = found[0]
    print_table(
        console,
        ("actors", "images/s", "times the first", "stage, s", "explaining, s"),
        [
            (
                one.n_actors,
                *_fix(2, one.images_per_s, one.images_per_s / first.images_per_s),
                *_fix(1, one.stage_s, one.busy_s),
            )
            for one in found
        ],
    )


def show_sweep(console: Console, sweep: Sweep) -> None:
    """Show what a training of a long sweep cost, and how soon a stopped sweep was resumed."""
    course = " → ".join(f"{gib:.2f}" for gib in sweep.driver_gib)
    say(
        console,
        f"{sweep.n_trainings} trainings: {sweep.sweep_s:.1f} s on {sweep.workers} worker(s), "
        f"{sweep.loop_s:.1f} s in a loop; overhead {sweep.overhead_s:.2f} s of a worker each\n"
        f"memory of the driver, GiB, after each quarter of the time: {course}\n"
        f"one training lost: its stage began {sweep.going_s:.1f} s after the command, and the "
        f"training was done after {sweep.resume_s:.1f} s",
    )


def show_streams(console: Console, streams: Iterable[Streamed]) -> None:
    """Show how sets of images went from files to masks, each as soon as it is done."""
    for one in streams:
        say(
            console,
            f"{one.n_images} images: read in {one.read_s:.0f} s "
            f"({one.n_images / one.read_s:.0f}/s), explained in {one.explain_s:.0f} s "
            f"({one.n_images / one.explain_s:.0f}/s); driver {one.driver_gib:.2f} GiB, all "
            f"{one.memory_gib:.2f} GiB, object store {one.store_gib:.2f} GiB",
        )


def show_trained(console: Console, trained: Iterable[Trained]) -> None:
    """Show how fast an epoch was, and what memory it took, as each is done."""
    of_size: list[Trained] = []
    for one in trained:
        if of_size and of_size[0].n_images != one.n_images:
            of_size = []
        of_size.append(one)
        ratio = relate(of_size).get(one.way)
        beside = "" if ratio is None else f", {ratio:.2f} × memory"
        say(
            console,
            f"{one.n_images} images, {one.way}: {one.images_per_s:.1f}/s{beside}; process "
            f"{one.process_gib:.2f} GiB, all {one.total_gib:.2f} GiB, object store "
            f"{one.store_gib:.2f} GiB",
        )


def show_overheads(console: Console, overheads: Iterable[Overhead]) -> None:
    """Show what distribution cost, comparison by comparison, and the fixed part of that cost."""
    found = []
    for one in overheads:
        found.append(one)
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in one.stages.items())
        say(console, f"{one.n_seeds} seeds: {stages}")
    print_table(
        console,
        ("seeds", "trainings", "explanations", "loops, s", "cluster, s", "cost, s", "cost"),
        [
            (
                *(one.n_seeds, one.n_trainings, one.n_explanations),
                *_fix(1, one.loop_s, one.cluster_s, one.cost_s),
                format_percent(one.cost_share, 1),
            )
            for one in found
        ],
    )
    fitted = fit_cost(found)
    if fitted:
        say(console, f"fixed cost {fitted[0]:.1f} s, and {fitted[1]:.1f} s per seed")
