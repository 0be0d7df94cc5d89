"""What benchmarks measure, on things whose answer is known."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from test_old_run import ARCHIVE
from tiny_runs import N_IMAGES, configure

from benchmarks.arm_pictures import draw_arms
from benchmarks.exactness import compare_with_package
from benchmarks.fidelity import Adapted, Fidelity, bench_fidelity, measure_fidelity, weigh
from benchmarks.lime import LimeTiming, _measure_shares, open_predict, read_images
from benchmarks.overhead import Overhead, fit_cost, repeat_in_loops
from benchmarks.rival_copies import choose_threshold
from benchmarks.stability import Calibration, measure_calibration, summarize_calibration
from benchmarks.statistics import bench_statistics
from benchmarks.sweep import Sweep
from benchmarks.tables import show_masks, show_trained
from benchmarks.train import Trained, Way, _Case, _train, relate, write_noise
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.phantoms.sets import write_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.models.checkpoint import Checkpoint
from osteo_ray.models.classifier import build_classifier, save_classifier
from osteo_ray.pipeline.compare.stages import Outcome

PHANTOMS = PhantomSettings(n_images=4, size_px=64, duplicate_share=0.0)


@pytest.mark.ray
@pytest.mark.long
def test_masks_are_those_of_the_package(local_ray: None, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "phantoms", PHANTOMS)
    classifier = build_classifier(
        "test_byobnet", n_classes=2, image_size=ImageSize.square(64), weights="none", seed=3
    )
    classifier.train()
    with torch.inference_mode():  # statistics of images: without, features fade to nothing
        for _ in range(30):
            classifier(torch.rand(8, 1, 64, 64))
    checkpoint = tmp_path / "model.safetensors"
    save_classifier(
        classifier, checkpoint, Checkpoint("test_byobnet", ("a", "b"), ImageSize.square(64))
    )
    found = list(
        compare_with_package(
            str(tmp_path / "phantoms" / "images"), checkpoint, n_images=3, n_samples=40
        )
    )
    assert len(found) == 3
    for one in found:
        assert one.same_superpixels
        assert one.same_mask
        assert one.same_mask_fast
        assert one.weight_difference < 1e-6
        assert 0 <= one.probability_difference < 1e-5


class TestFidelity:
    """Adaptive masks beside exact ones."""

    IMAGE = np.random.default_rng(4).integers(0, 256, (32, 32), dtype=np.uint8)
    SETTINGS = LimeSettings(superpixels="grid", n_superpixels=16, samples=200, top_k=3)

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        """See the class in three corners, less and less; count what is looked at."""
        self.seen += len(images)
        corners = images[:, 0, :8, :8], images[:, 0, -8:, -8:], images[:, 0, :8, -8:]
        signal = sum(
            weight * (corner - corner.mean((1, 2), keepdim=True)).abs().mean((1, 2))
            for weight, corner in zip((3.0, 2.0, 1.0), corners, strict=True)
        )
        return torch.stack([signal, torch.zeros_like(signal)], 1)

    def test_what_is_clear_is_found_by_all(self) -> None:
        self.seen = 0
        stabilities = (0.5, 0.9, 1.0)
        found = measure_fidelity(self.classify, self.IMAGE, self.SETTINGS, stabilities, seed=1)
        assert found.exact == 1
        assert [mask.overlap for mask in found.adaptive] == [1, 1, 1]
        assert [mask.stable for mask in found.adaptive[:2]] == [True, True]
        samples = [mask.n_samples for mask in found.adaptive]
        assert samples == sorted(samples)
        assert self.seen == 2 * 200 + max(samples)  # longer draws begin with the shorter ones

    def test_what_is_chance_is_not(self) -> None:
        def guess(images: torch.Tensor) -> torch.Tensor:
            p = (images.sum((1, 2, 3)) * 1e3) % 1  # of the picture, but of no part of it
            return torch.stack([p, 1 - p], 1).clamp_min(1e-9).log()

        found = measure_fidelity(guess, self.IMAGE, self.SETTINGS, (0.5, 1.0), seed=1)
        assert found.exact < 0.6
        assert all(mask.overlap < 0.6 for mask in found.adaptive)
        assert (found.adaptive[-1].n_samples, found.adaptive[-1].stable) == (200, False)

    def test_margins_by_hand(self) -> None:
        images = [
            Fidelity(0.8, (Adapted(100, True, 0.7), Adapted(200, True, 0.9))),
            Fidelity(0.6, (Adapted(300, False, 0.7), Adapted(400, True, 0.8))),
        ]
        first, second = weigh(images)
        assert (first.n_samples, first.unstable) == (200, 0.5)
        assert first.overlap == pytest.approx(0.7)
        assert first.difference == pytest.approx(0)
        # Differences of -0.1 and 0.1: spread 0.1414, its error 0.1; t with one degree is 12.706.
        assert (first.low, first.high) == pytest.approx((-1.2706, 1.2706), abs=1e-4)
        assert (second.overlap, second.difference) == pytest.approx((0.85, 0.15))

    @pytest.mark.ray
    @pytest.mark.long
    def test_same_images_whatever_process(self, local_ray: None, tmp_path: Path) -> None:
        write_phantoms(tmp_path / "phantoms", PHANTOMS)
        checkpoint = tmp_path / "model.safetensors"
        classifier = build_classifier(
            "test_byobnet", n_classes=2, image_size=ImageSize.square(64), weights="none", seed=3
        )
        save_classifier(
            classifier, checkpoint, Checkpoint("test_byobnet", ("a", "b"), ImageSize.square(64))
        )
        data, settings = str(tmp_path / "phantoms" / "images"), LimeSettings(samples=60)
        found = list(bench_fidelity(data, checkpoint, (0.9,), n_images=3, settings=settings))
        predict = open_predict(checkpoint, 1, tmp_path / "frozen")
        images = read_images(data, tmp_path / "again", ImageSize.square(64), 3)
        assert found == [
            measure_fidelity(predict, image, settings, (0.9,), seed=number)
            for number, image in enumerate(images)
        ]


def test_calibration_by_hand() -> None:
    found = summarize_calibration(
        [
            Calibration(0.95, True, (1.0, 0.6), 100, 20),
            Calibration(0.5, False, (0.3, 0.1), 300, 30),
            Calibration(None, False, (0.0, 0.0), 60, 40),
        ]
    )
    assert (found.n_images, found.n_unknown, found.n_stable) == (2, 1, 1)
    assert (found.n_superpixels, found.n_samples) == (25, 200)
    assert (found.told, found.seen) == pytest.approx((0.725, 0.5))
    assert found.error == pytest.approx(0.075)  # of the differences 0.15 and 0.3
    assert found.poor == 0.5


def test_calibration_redraws_as_many_samples() -> None:
    case = TestFidelity()
    case.seen = 0
    options = {"superpixels": "grid", "n_superpixels": 16, "samples": 200, "top_k": 3}
    clear = measure_calibration(case.classify, case.IMAGE, LimeSettings(**options), seed=1)
    assert isinstance(clear, Calibration)
    assert clear.n_samples < 200
    assert case.seen == 3 * clear.n_samples
    assert (clear.stable, clear.seen, clear.n_superpixels) == (True, (1, 1), 16)

    def guess(images: torch.Tensor) -> torch.Tensor:
        p = (images.sum((1, 2, 3)) * 1e3) % 1
        return torch.stack([p, 1 - p], 1).clamp_min(1e-9).log()

    chance = measure_calibration(guess, case.IMAGE, LimeSettings(**options), seed=1)
    assert isinstance(chance, Calibration)
    assert (chance.stable, chance.n_samples) == (False, 200)
    assert chance.told is not None
    assert chance.told < 0.6
    settings = LimeSettings(**{**options, "samples": 17, "mode": "exact"})
    assert measure_calibration(guess, case.IMAGE, settings, seed=1).told is None  # type: ignore[union-attr]
    flat = np.zeros_like(case.IMAGE)
    assert "all its pixels are equal" in str(measure_calibration(guess, flat, settings, seed=1))


def test_shares_are_those_of_the_steps() -> None:
    now = 0.0

    def spin(seconds: float) -> None:
        nonlocal now
        now += seconds

    def one() -> None:
        spin(24)

    def other() -> None:
        spin(8)

    steps = {"one": one, "other": other, "both": spin}
    shares = _measure_shares(lambda: (one(), other()), steps, timer=lambda: now)
    assert (shares["one"], shares["other"], shares["both"]) == (0.75, 0.25, 1.0)


def test_masks_are_shown_way_by_way_on_a_narrow_terminal() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    shares = {"superpixels": 0.04, "forward": 0.93, "fit": 0.001, "assembly and rest": 0.029}
    names = ("lime, batches of 10", "lime, batches of 100", "lime, 2 processes", "osteo_ray, exact")
    timings = [LimeTiming(name, 6.283, 1000.0, 159.2, shares, 0.8531, 2.84) for name in names]
    show_masks(console, timings)
    shown = console.export_text()
    assert "osteo_ray, exact: 6.28 s an image" in shown
    assert "…" not in shown
    cells = {line[:22].strip(): line[22:].split() for line in shown.splitlines()}
    assert cells["s/image"] == ["6.28"] * 4
    assert cells["IoU with the first"] == ["0.853"] * 4
    assert cells["forward, %"] == ["93"] * 4
    assert cells["assembly and rest, %"] == ["3"] * 4


def test_statistics_are_timed_part_by_part() -> None:
    parts = list(bench_statistics(n_seeds=3, n_models=2, n_arms=4, n_test=20, metric="auc"))
    assert [part.name for part in parts] == [
        "read predictions.parquet",
        "predictions as numbers",
        "all metrics of every training",
        "auc on resampled test images",
        "contrasts, shares and descriptions per seed",
        "the gain at each site",
    ]
    assert all(part.seconds > 0 for part in parts)


def test_statistics_of_more_arms_than_there_are() -> None:
    with pytest.raises(InputError, match="at most 36 arms, but got 37"):
        list(bench_statistics(n_seeds=2, n_models=1, n_arms=37, n_test=20, metric="auc"))


def make_overhead(n_seeds: int, *, loop_s: float, cluster_s: float) -> Overhead:
    return Overhead(n_seeds, 2 * n_seeds, 10 * n_seeds, loop_s, cluster_s, 2, {})


def test_cost_of_distribution_by_hand() -> None:
    one = make_overhead(1, loop_s=100, cluster_s=80)  # two workers should take 50 s
    assert one.cost_s == 30
    assert one.cost_share == pytest.approx(0.6)
    four = make_overhead(4, loop_s=400, cluster_s=236)
    assert fit_cost([one, four]) == pytest.approx((28, 2))
    assert fit_cost([one, one]) is None


def test_overhead_of_a_training_by_hand() -> None:
    sweep = Sweep(
        n_trainings=100,
        sweep_s=60,
        loop_s=20,
        workers=2,
        driver_gib=(),
        going_s=0,
        resume_s=0,
    )
    assert sweep.overhead_s == pytest.approx(1.0)  # (2 × 60 - 20) / 100


@pytest.mark.ray
def test_loops_end_as_the_cluster_does(finished: Outcome, tmp_path: Path) -> None:
    config = configure(str(finished.run.root))
    found = repeat_in_loops(config, finished.run, tmp_path / "loop", cluster_s=100.0, workers=2)
    assert (found.n_trainings, found.n_explanations) == (8, 2 * N_IMAGES)
    assert found.loop_s > 0
    assert set(found.stages) >= {"train on originals", "explain", "statistics"}
    assert found.cost_s == pytest.approx(100 - found.loop_s / 2)
    assert Run(tmp_path / "loop").report.is_file()


def test_picture_of_the_arms_shows_two_images_of_each(tmp_path: Path) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    draw_arms(Run(tmp_path / "run"), tmp_path / "arms.png")
    with Image.open(tmp_path / "arms.png") as sheet:
        pixels = np.asarray(sheet)
    assert sheet.size == (4 * (2 * 112 + 18), 2 * (112 + 26))  # 7 arms, 4 to a row
    whole, masked = (pixels[20:132, left : left + 112] for left in (6, 6 + 2 * 242))
    kept = masked > 0  # original and lime, the third of the arms
    assert 0 < kept.mean() < 1
    np.testing.assert_allclose(masked[kept].mean(), whole[kept].mean(), rtol=0.2)


@pytest.mark.parametrize("way", ["synthetic batch", "bare loop", "memory", "disk"])
def test_an_epoch_is_timed_in_each_way(tmp_path: Path, way: Way) -> None:
    write_noise(Run(tmp_path), 40, 32)
    found = _train(_Case(str(tmp_path), 40, 32, "test_byobnet", 10, "cpu"), way)
    assert (found.way, found.n_images) == (way, 40)
    assert found.images_per_s > 0
    assert 0 < found.process_gib <= found.total_gib


def test_speeds_are_related_to_memory_among_sets_of_one_size() -> None:
    console = Console(file=io.StringIO(), width=200)
    speeds = {10: (9.0, 8.0, 4.0, 2.0, 3.0), 20: (9.0, 8.0, 5.0, 5.0, 6.0)}
    ways: list[Way] = ["synthetic batch", "bare loop", "memory", "disk", "Ray Data"]
    show_trained(
        console,
        [
            Trained(way, n_images, speed, 1.0, 2.0, 0.5)
            for n_images, of_size in speeds.items()
            for way, speed in zip(ways, of_size, strict=True)
        ],
    )
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "10 images, bare loop: 8.0/s; process 1.00 GiB" in lines[1]
    assert [line.split("/s, ")[1].split(" ")[0] for line in lines if " ×" in line] == [
        *("1.00", "0.50", "0.75"),
        *("1.00", "1.00", "1.20"),
    ]
    assert relate([Trained("disk", 10, 2.0, 1.0, 2.0, 0.5)]) == {}


@pytest.mark.parametrize(
    ("likeness", "right", "expected"),
    [
        ([0.9, 0.8, 0.7], [True, True, False], 0.8),
        ([0.7, 0.9, 0.8], [False, True, True], 0.8),  # in any order
        ([0.9, 0.8, 0.8], [True, True, False], 0.9),  # alike, so found together
        ([0.9, 0.8], [False, True], 1.0),
        ([*np.linspace(0.99, 0.5, 199), 0.4, 0.3], [*[True] * 199, False, False], 0.3),
        ([*np.linspace(0.99, 0.5, 199), 0.4, 0.3, 0.2], [*[True] * 199, *[False] * 3], 0.3),
        ([], [], 1.0),
    ],
)
def test_threshold_that_suits_a_rival_best(
    likeness: list[float], right: list[bool], expected: float
) -> None:
    assert choose_threshold(np.array(likeness), np.array(right, bool)) == expected
