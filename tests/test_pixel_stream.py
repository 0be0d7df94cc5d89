"""Ray Data brings a training the images of its steps; here its tasks run in plain loops."""

import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tiny_nets import CPU, SIZE_PX, TRAINING, VALIDATION, flatten, make_classifier, make_settings

from osteo_ray.base.runs import Run
from osteo_ray.base.tables import PIXELS, write_pixels
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.data.settings import BACKGROUNDS
from osteo_ray.experiment.stored_images import StoredImages, locate_pixels
from osteo_ray.models.batches import ImageSet
from osteo_ray.models.epochs import Epoch, TrainingListener
from osteo_ray.models.resumption import count_epochs
from osteo_ray.models.steps import StepPlan, draw_order, plan_steps
from osteo_ray.models.training import Recipe, TrainingData, Worker, train_classifier
from osteo_ray.pipeline.compare import pixel_stream
from osteo_ray.pipeline.compare.pixel_stream import EPOCH, ROW, PixelReading, stream_pixels
from osteo_ray.pipeline.compare.pixel_stream import PIXELS as PIXELS_READ
from osteo_ray.pipeline.compare.stream_feed import StreamedFeed

SEED = 5


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredImages:
    """The pixels of the training images, on disk."""
    run = Run(tmp_path_factory.mktemp("run"))
    assert isinstance(TRAINING.pixels, np.ndarray)
    ids = [f"id-{number}" for number in range(len(TRAINING))]
    content = [image.tobytes() for image in TRAINING.pixels]
    for part in range(3):
        rows = pa.table([ids[part::3], ids[part::3], content[part::3]], PIXELS)
        write_pixels(run.pixels / f"part-{part}.parquet", rows)
    return locate_pixels(run, ids, ImageSize.square(SIZE_PX))


@dataclass
class Stream:
    """Stands in for an iterator of Ray Data: runs the tasks one after the other."""

    reading: PixelReading
    n_lost: int = 0
    closed: bool = False

    def iter_torch_batches(self, *, batch_size: None, collate_fn: Any, **named: int) -> Any:
        n_tasks = len(self.reading.epochs) * self.reading.parts - self.n_lost
        try:
            for number in range(n_tasks):
                yield collate_fn(self.reading.read(number))
        finally:
            self.closed = True


@pytest.fixture(params=[1, 3, 7])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """In how many tasks an epoch is read."""
    n_bytes = TRAINING.pixels.nbytes / request.param  # type: ignore[union-attr]
    monkeypatch.setattr(pixel_stream, "_BYTES_PER_TASK", n_bytes)
    return int(request.param)


def feed(reading: PixelReading, **changes: Any) -> closing[StreamedFeed]:
    return closing(StreamedFeed(Stream(reading, **changes), CPU))  # type: ignore[arg-type]


@pytest.mark.parametrize("n_workers", [1, 2, 3])
def test_each_image_of_an_epoch_is_read_once_and_in_order(
    stored: StoredImages, n_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_stream, "_BYTES_PER_TASK", stored.nbytes // 5)
    steps = StepPlan(len(TRAINING), 7, n_workers)
    for epoch in range(2, 4):
        shares = []
        for rank in range(n_workers):
            reading = PixelReading(stored, steps, SEED, range(2, 4), rank)
            assert reading.parts == max(1, round(5 / n_workers))
            tasks = range((epoch - 2) * reading.parts, (epoch - 1) * reading.parts)
            found = [reading.read(number) for number in tasks]
            assert {int(number) for part in found for number in part[EPOCH]} == {epoch}
            rows = np.concatenate([part[ROW] for part in found])
            pixels = np.concatenate([part[PIXELS_READ] for part in found])
            np.testing.assert_array_equal(pixels, TRAINING.pixels[rows])
            shares.append(rows)
        assert sorted(np.concatenate(shares)) == list(range(len(TRAINING)))
        order, _ = draw_order(len(TRAINING), SEED, epoch)
        dealt = [steps.deal_to(rank, order) for rank in range(n_workers)]
        for share, of_rank in zip(shares, dealt, strict=True):
            np.testing.assert_array_equal(share, np.concatenate(of_rank))


def test_epochs_have_orders_of_their_own_and_seeds_too() -> None:
    orders = [draw_order(30, *numbers)[0].tolist() for numbers in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert orders[0] == orders[3]
    assert len({tuple(order) for order in orders}) == 3


def train(data: TrainingData, checkpoint: Path | None = None, **named: Any) -> tuple[Any, Any]:
    classifier = make_classifier()
    recipe = Recipe(make_settings(), SEED)
    kept = {"checkpoint": checkpoint, "checkpoint_interval_s": 0.0, **named}
    return train_classifier(classifier, data, recipe, Worker(CPU), **kept), flatten(classifier)


def test_a_streamed_training_equals_that_from_memory(stored: StoredImages, parts: int) -> None:
    settings = make_settings()
    steps = plan_steps(len(TRAINING), settings)
    reading = PixelReading(stored, steps, SEED, range(settings.epochs), 0)
    assert reading.parts == parts
    history, weights = train(TrainingData(TRAINING, VALIDATION))
    on_disk = replace(TRAINING, pixels=stored)
    with feed(reading) as opened:
        streamed, found = train(TrainingData(on_disk, VALIDATION, opened))
    assert streamed == history
    assert found.equal(weights)
    # and without Ray Data, each batch read when it is needed
    again, same = train(TrainingData(on_disk, VALIDATION))
    assert (again, same.tolist()) == (history, weights.tolist())


class _Stop(TrainingListener):
    def epoch_ended(self, epoch: Epoch) -> None:
        if epoch.number == 1:
            raise KeyboardInterrupt


def test_an_interrupted_training_reads_on_where_it_was(
    stored: StoredImages, parts: int, tmp_path: Path
) -> None:
    settings, file = make_settings(), tmp_path / "training.pt"
    steps = plan_steps(len(TRAINING), settings)
    history, weights = train(TrainingData(TRAINING, VALIDATION))
    assert count_epochs(file) == 0
    stream = Stream(PixelReading(stored, steps, SEED, range(settings.epochs), 0))
    on_disk = replace(TRAINING, pixels=stored)
    with (
        pytest.raises(KeyboardInterrupt),
        closing(StreamedFeed(stream, CPU)) as opened,  # type: ignore[arg-type]
    ):
        train(TrainingData(on_disk, VALIDATION, opened), file, listener=_Stop())
    assert stream.closed
    assert count_epochs(file) == 2
    reading = PixelReading(stored, steps, SEED, range(count_epochs(file), settings.epochs), 0)
    with feed(reading) as opened:
        resumed, found = train(TrainingData(on_disk, VALIDATION, opened), file)
    assert (resumed, found.tolist()) == (history, weights.tolist())


@pytest.mark.parametrize(
    ("epochs", "seed", "n_lost", "said"),
    [
        (range(1, 4), SEED, 0, "step of epoch 1 from Ray Data, but it brought others"),
        (range(4), SEED + 1, 0, "step of epoch 1 from Ray Data, but it brought others"),
        (range(4), SEED, 2, "stream has ended"),
    ],
)
def test_a_wrong_stream_is_noticed(
    stored: StoredImages, epochs: range, seed: int, n_lost: int, said: str
) -> None:
    steps = plan_steps(len(TRAINING), make_settings())
    reading = PixelReading(stored, steps, seed, epochs, 0)
    with feed(reading, n_lost=n_lost) as opened, pytest.raises(RuntimeError, match=said):
        train(TrainingData(replace(TRAINING, pixels=stored), VALIDATION, opened))


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_masked_batches_are_the_same_from_disk(stored: StoredImages, background: Any) -> None:
    rng = np.random.default_rng(0)
    masks = PackedMasks.pack(rng.random((len(TRAINING), SIZE_PX, SIZE_PX)) < 0.5)
    there = ImageSet(TRAINING.pixels, TRAINING.labels, masks, "masked", background)
    rows = rng.permutation(len(TRAINING))[:9]
    expected = there.make_batch(rows, CPU)
    on_disk = replace(there, pixels=stored)
    assert on_disk.make_batch(rows, CPU).equal(expected)
    given = opened_pixels(stored, rows)
    assert on_disk.make_batch(rows, CPU, 0, given).equal(expected)
    part = on_disk.select(rows)
    assert isinstance(part.pixels, StoredImages)
    assert part.make_batch(np.arange(9), CPU).equal(expected)


def opened_pixels(stored: StoredImages, rows: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(stored[rows])


@pytest.mark.ray
def test_a_stream_that_is_far_enough_ahead_rests(
    local_ray: None, stored: StoredImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray's loop does not wait while a task has output for which there is no room, and it runs in
    # the process of the training.
    reading = PixelReading(stored, plan_steps(len(TRAINING), make_settings()), SEED, range(200), 0)
    monkeypatch.setattr(pixel_stream, "_MOST_BYTES", 4 * stored.nbytes)
    with closing(StreamedFeed(stream_pixels(reading).iterator(), CPU)) as opened:
        steps = reading.steps.deal_to(0, draw_order(len(TRAINING), SEED, 0)[0])
        taken = list(opened.read_epoch(0, steps))
        time.sleep(1.0)
        begin = time.process_time()
        time.sleep(1.0)
        spent = time.process_time() - begin
    assert [len(one) for one in taken] == [len(rows) for rows in steps]
    assert spent < 0.3  # s of CPU, of all threads: 0.06 with the rest, 0.6 to 1 without
