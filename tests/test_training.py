"""Augmentation, training that repeats itself and can be cut off, prediction."""

import math
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from tiny_nets import CPU, SIZE_PX, TRAINING, VALIDATION, Told, flatten, make_classifier, train
from torch import nn
from torch.nn import functional

from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.models.augmentation import draw_affine, warp_images
from osteo_ray.models.batches import ImageSet
from osteo_ray.models.classifier import Classifier
from osteo_ray.models.epochs import Epoch
from osteo_ray.models.prediction import predict_logits, predict_probabilities
from osteo_ray.models.settings import NO_AUGMENTATION, AugmentationSettings
from osteo_ray.models.training import DivergedError, make_deterministic


def measure_loss(classifier: Classifier, images: ImageSet) -> float:
    logits = predict_logits(classifier, images, batch_size=5, device=CPU)
    return float(functional.cross_entropy(logits.double(), torch.from_numpy(images.labels)))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    make_deterministic(1)


# Augmentation


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((64, 1, 12, 12), np.float32))


def draw(n: int = 500, **changes: Any) -> np.ndarray:
    settings = NO_AUGMENTATION.model_copy(update=changes)
    return draw_affine(n, settings, np.random.default_rng(0))


def test_without_augmentation_nothing_is_resampled(monkeypatch: pytest.MonkeyPatch) -> None:
    warp = Mock(side_effect=warp_images)
    monkeypatch.setattr("osteo_ray.models.training.warp_images", warp)
    train(make_classifier(), epochs=1, augmentation=NO_AUGMENTATION)
    warp.assert_not_called()
    train(make_classifier(), epochs=1)
    assert warp.call_count == 4


def test_no_augmentation_leaves_images_as_they_are(images: torch.Tensor) -> None:
    affine = draw(len(images))
    np.testing.assert_array_equal(affine, np.tile(np.eye(2, 3, dtype=np.float32), (64, 1, 1)))
    torch.testing.assert_close(
        warp_images(images, torch.from_numpy(affine)), images, rtol=0, atol=1e-5
    )


def test_flip_mirrors_half_of_the_images_left_to_right(images: torch.Tensor) -> None:
    found = warp_images(images, torch.from_numpy(draw(len(images), flip=True)))
    kept = [torch.allclose(a, b, atol=1e-5) for a, b in zip(found, images, strict=True)]
    mirrored = [
        torch.allclose(a, b, atol=1e-5) for a, b in zip(found, images.flip(-1), strict=True)
    ]
    assert all(one != other for one, other in zip(kept, mirrored, strict=True))
    assert 16 < sum(mirrored) < 48


def test_shift_moves_pixels_and_repeats_the_edge(images: torch.Tensor) -> None:
    affine = torch.eye(2, 3).repeat(64, 1, 1)
    affine[:, 0, 2] = 2 * 3 / 12  # three pixels of twelve; the side is two units long
    found = warp_images(images, affine)
    torch.testing.assert_close(found[..., :9], images[..., 3:], rtol=0, atol=1e-5)
    edge = images[..., -1:].expand(-1, -1, -1, 3)
    torch.testing.assert_close(found[..., 9:], edge, rtol=0, atol=1e-5)


def test_shift_is_a_share_of_the_side() -> None:
    affine = draw(shift=0.2)
    np.testing.assert_array_equal(affine[:, :, :2], np.tile(np.eye(2), (500, 1, 1)))
    shifts = affine[:, :, 2]
    assert 0.38 < np.abs(shifts).max() <= 0.4
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.15
    assert np.abs(shifts.mean(0)).max() < 0.05


def test_rotation_is_rigid_and_of_the_stated_degrees() -> None:
    linear = draw(rotation_deg=20)[:, :, :2].astype(float)
    np.testing.assert_allclose(
        linear @ linear.transpose(0, 2, 1), np.tile(np.eye(2), (500, 1, 1)), atol=1e-6
    )
    np.testing.assert_allclose(np.linalg.det(linear), 1, atol=1e-6)
    angles = np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert 19 < np.abs(angles).max() <= 20.001
    assert angles.min() < -19 < 19 < angles.max()


def test_quarter_turn_is_a_quarter_turn(images: torch.Tensor) -> None:
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]).repeat(64, 1, 1)
    found = warp_images(images, turn)
    # Output (x, y) shows input (-y, x): the first row is what was the last column.
    torch.testing.assert_close(found, torch.rot90(images, 1, (2, 3)), rtol=0, atol=1e-5)


def test_zoom_and_shear_stay_in_their_ranges() -> None:
    zoom = draw(zoom=0.2)
    scales = zoom[:, [0, 1], [0, 1]]
    assert scales.min() >= 0.8
    assert scales.max() <= 1.2
    assert np.ptp(scales, axis=0).min() > 0.38
    np.testing.assert_array_equal(zoom[:, [0, 1], [1, 0]], 0)
    shear = draw(shear=0.2)
    assert 0.19 < np.abs(shear[:, 0, 1]).max() <= 0.2
    np.testing.assert_array_equal(shear[:, 1, :2], np.tile([0.0, 1.0], (500, 1)))


def test_augmented_values_stay_in_range(images: torch.Tensor) -> None:
    affine = draw_affine(len(images), AugmentationSettings(), np.random.default_rng(1))
    found = warp_images(images, torch.from_numpy(affine))
    assert found.shape == images.shape
    assert not torch.allclose(found, images, atol=0.1)
    flat, before = found.flatten(1), images.flatten(1)
    assert (flat.amin(1) >= before.amin(1) - 1e-6).all()
    assert (flat.amax(1) <= before.amax(1) + 1e-6).all()


# Training


def test_easy_set_is_learned() -> None:
    classifier = make_classifier()
    epochs = train(classifier, epochs=25, augmentation=NO_AUGMENTATION)
    assert [epoch.number for epoch in epochs] == list(range(25))
    assert epochs[-1].training_loss < 0.5 * epochs[0].training_loss
    found = predict_probabilities(classifier, VALIDATION, batch_size=5, device=CPU)
    np.testing.assert_array_equal(found.argmax(1), VALIDATION.labels)


def test_first_loss_is_that_of_the_untrained_net() -> None:
    classifier = make_classifier(steady=True)
    expected = measure_loss(classifier, TRAINING)
    # One step over all images: its loss is measured before the weights change.
    epochs = train(classifier, epochs=1, per_worker_batch_size=40, augmentation=NO_AUGMENTATION)
    assert epochs[0].training_loss == pytest.approx(expected, abs=1e-6)
    assert epochs[0].validation_loss == pytest.approx(measure_loss(classifier, VALIDATION))


def test_first_step_is_adams() -> None:
    # Adam's first step is the learning rate against the sign of each gradient.
    classifier = make_classifier(steady=True)
    before = {name: value.detach().clone() for name, value in classifier.named_parameters()}
    logits = classifier(TRAINING.make_batch(np.arange(40), CPU))
    functional.cross_entropy(logits, torch.from_numpy(TRAINING.labels)).backward()
    gradients = {name: value.grad.clone() for name, value in classifier.named_parameters()}
    train(
        classifier,
        epochs=1,
        per_worker_batch_size=40,
        augmentation=NO_AUGMENTATION,
        learning_rate=1e-3,
    )
    after = dict(classifier.named_parameters())
    for name, gradient in gradients.items():
        if (gradient.abs() > 1e-5).any():
            clear = gradient.abs() > 1e-5
            step = (after[name] - before[name]).detach()[clear]
            torch.testing.assert_close(step, -1e-3 * gradient[clear].sign(), rtol=0.02, atol=0)


def test_same_seed_same_bits_whatever_was_drawn_before() -> None:
    one, again = make_classifier(), make_classifier()
    history = train(one)
    torch.manual_seed(12345)
    np.random.seed(12345)
    assert train(again) == history
    assert torch.equal(flatten(one), flatten(again))


def test_other_seed_other_weights() -> None:
    one, other = make_classifier(), make_classifier()
    train(one)
    train(other, seed=1)
    assert not torch.allclose(flatten(one), flatten(other))


@pytest.mark.parametrize("n_done", [1, 3, 4])
@pytest.mark.parametrize("misled", [False, True], ids=["best late", "best first"])
def test_cut_off_training_ends_as_if_it_had_never_stopped(
    tmp_path: Path, n_done: int, misled: bool
) -> None:
    labels = 1 - VALIDATION.labels if misled else VALIDATION.labels  # then learning looks bad
    validation = ImageSet(VALIDATION.pixels, labels)
    whole = make_classifier()
    history = train(whole, validation=validation)
    losses = [epoch.validation_loss for epoch in history]
    assert (losses.index(min(losses)) == 0) == misled

    def stop(epoch: Epoch) -> None:
        if epoch.number == n_done - 1:
            raise KeyboardInterrupt

    kept = {"checkpoint": tmp_path / "new" / "training.pt", "checkpoint_interval_s": 0.0}
    with pytest.raises(KeyboardInterrupt):
        train(make_classifier(), validation=validation, on_epoch=stop, **kept)
    resumed, seen = make_classifier(seed=99), []
    torch.manual_seed(12345)
    found = train(resumed, validation=validation, on_epoch=seen.append, **kept)
    assert [epoch.number for epoch in seen] == list(range(n_done, 4))
    assert found == history
    assert torch.equal(flatten(resumed), flatten(whole))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["training.pt"]


def test_checkpoints_are_written_no_more_often_than_asked(tmp_path: Path) -> None:
    train(make_classifier(), checkpoint=tmp_path / "training.pt", checkpoint_interval_s=3600.0)
    assert not (tmp_path / "training.pt").exists()


def test_best_epoch_is_the_one_that_is_kept() -> None:
    validation = ImageSet(VALIDATION.pixels, 1 - VALIDATION.labels)
    classifier, states = make_classifier(), []
    losses = [
        epoch.validation_loss
        for epoch in train(
            classifier,
            epochs=6,
            validation=validation,
            on_epoch=lambda epoch: states.append(flatten(classifier)),
        )
    ]
    best = losses.index(min(losses))
    assert best < 5
    assert torch.equal(flatten(classifier), states[best])
    assert measure_loss(classifier, validation) == pytest.approx(min(losses), abs=1e-6)
    assert classifier.training is False


def test_loss_that_is_no_number_ends_the_training() -> None:
    classifier = make_classifier()
    with torch.no_grad():
        classifier.head[0].weight[0, 0] = float("nan")
    with pytest.raises(DivergedError, match=r"epoch 1 .*learning-rate"):
        train(classifier)


def test_learning_rate_that_explodes_ends_the_training() -> None:
    with pytest.raises(DivergedError, match="no longer finite"):
        train(make_classifier(steady=True), learning_rate=1e30)


def test_listener_hears_of_every_step_and_epoch() -> None:
    seen: list[Epoch] = []
    listener = Told(seen.append)
    history = train(make_classifier(), epochs=3, per_worker_batch_size=16, listener=listener)
    assert seen == history
    assert listener.n_steps == 3 * 3  # 40 images in batches of at most 16


def test_augmentation_has_a_seed_of_its_own() -> None:
    one, same, other = make_classifier(), make_classifier(), make_classifier()
    train(one, seed=3)
    train(same, seed=3, augmentation_seed=3)
    train(other, seed=3, augmentation_seed=4)
    assert torch.equal(flatten(one), flatten(same))
    assert not torch.allclose(flatten(one), flatten(other))


def _watch_batches(training: ImageSet, **changes: Any) -> list[list[torch.Tensor]]:
    """Return the batches shown in training mode, epoch by epoch."""
    classifier, batches, epochs = make_classifier(), [], []

    def keep(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if module.training:
            batches.append(inputs[0])

    def close(epoch: Epoch) -> None:
        epochs.append(list(batches))
        batches.clear()

    classifier.register_forward_pre_hook(keep)
    train(classifier, training=training, epochs=2, on_epoch=close, **changes)
    return epochs


def test_every_image_once_an_epoch_in_even_batches_and_new_order() -> None:
    values = np.arange(31, dtype=np.uint8)  # each image one gray, by which it is known
    pixels = np.tile(values[:, None, None], (1, SIZE_PX, SIZE_PX))
    training = ImageSet(pixels, (values % 2).astype(np.int64))
    first, second = _watch_batches(training, augmentation=NO_AUGMENTATION)
    assert [len(batch) for batch in first] == [8, 8, 8, 7]  # not 10, 10, 10, 1
    orders = [
        (torch.cat(batches)[:, 0, 0, 0] * 255).round().int().tolist() for batches in (first, second)
    ]
    assert sorted(orders[0]) == sorted(orders[1]) == values.tolist()
    assert orders[0] != orders[1]


def test_augmentation_of_an_image_does_not_depend_on_its_batch() -> None:
    wide = _watch_batches(TRAINING, per_worker_batch_size=40)
    narrow = _watch_batches(TRAINING, per_worker_batch_size=7)
    for one, other in zip(wide, narrow, strict=True):
        torch.testing.assert_close(torch.cat(one), torch.cat(other), rtol=0, atol=1e-6)
    assert len(wide[0]) == 1
    assert len(narrow[0]) == 6
    assert not torch.allclose(torch.cat(wide[0]), torch.cat(wide[1]))


# Prediction


@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test_predictions_are_in_order_whatever_the_batch_size(batch_size: int) -> None:
    classifier = make_classifier(seed=4)
    classifier.train()
    found = predict_probabilities(classifier, VALIDATION, batch_size=batch_size, device=CPU)
    assert not classifier.training
    assert found.dtype == np.float64
    with torch.inference_mode():
        pixels = torch.from_numpy(VALIDATION.pixels).float()[:, None] / 255
        odds = np.exp(classifier(pixels).double().numpy())
    np.testing.assert_allclose(found, odds / odds.sum(1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)
    assert np.ptp(found[:, 0]) > 1e-3


def test_selected_rows_keep_their_labels_and_masks() -> None:
    masks = np.random.default_rng(0).random(TRAINING.pixels.shape) < 0.5
    packed = PackedMasks.pack(masks)
    whole = ImageSet(TRAINING.pixels, TRAINING.labels, packed, "masked")
    rows = np.array([7, 3, 3])
    part = whole.select(rows)
    assert len(part) == 3
    np.testing.assert_array_equal(part.labels, TRAINING.labels[rows])
    expected = np.where(masks[rows], TRAINING.pixels[rows] / 255, 0)[:, None]
    np.testing.assert_allclose(part.make_batch(np.arange(3), CPU), expected, atol=1e-6)
    assert math.isclose(float(whole.make_batch(rows, CPU).sum()), expected.sum(), rel_tol=1e-5)
