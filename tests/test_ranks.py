"""Two workers that train one classifier do what one worker does with the same steps."""

import datetime
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
from timm.layers import BatchNormAct2d
from tiny_nets import CPU, TRAINING, flatten, make_classifier, make_set, train
from torch import nn

from osteo_ray.models.epochs import Epoch
from osteo_ray.models.settings import NO_AUGMENTATION, RECIPES
from osteo_ray.models.synchronization import SharedBatchNorm, synchronize_batch_norm
from osteo_ray.models.synchronization import _has_unused as has_unused
from osteo_ray.models.training import make_deterministic

SETS = ((TRAINING, 5), (TRAINING.select(np.arange(21)), 2), (TRAINING.select(np.arange(11)), 1))
"""Images, and how many of a step one of two ranks gets: 5; 2, or 2 and 1; 1, or 2 and 1."""
VALIDATION = make_set(13, 2)  # an odd number: the ranks get 7 and 6
MODERN: dict[str, Any] = {
    **RECIPES["modern"],
    "learning_rate": 3e-3,
    "schedule": {"name": "cosine", "warmup": 0.25, "head_first": 0.25},
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    make_deterministic(1)


def work_as(rank: int, meeting: str) -> Any:
    """Do all work of this module as one of two ranks; return its answers."""
    make_deterministic(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=meeting,
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )
    try:
        cut_off = train_cut_off(rank, Path(meeting.removeprefix("file://")).parent)
        idle = train_idle((rank, 2))
        return train_all((rank, 2)), train_apart(rank), normalize_share(rank), cut_off, idle
    finally:
        torch.distributed.destroy_process_group()


def answer_as_other(meeting: str, answer: Any) -> None:
    answer.put(work_as(1, meeting))


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """What the two ranks answer, of which this process is the first: a pair for each work."""
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    meeting = f"file://{tmp_path_factory.mktemp('ranks') / 'meeting'}"
    process = context.Process(target=answer_as_other, args=(meeting, answer))
    process.start()
    pairs = tuple(zip(work_as(0, meeting), answer.get(), strict=True))
    process.join()
    assert process.exitcode == 0
    return pairs


Trained = tuple[list[Epoch], list[float]]


def train_all(ranks: tuple[int, int]) -> list[Trained]:
    """Train each kind of net on each set; return histories and final weights."""
    rank, n_ranks = ranks
    found = []
    # Dropout differs between ranks, so the nets have none.
    for named, changes in (
        ({"steady": True}, {}),
        ({"dropout": 0.0}, {}),
        ({"dropout": 0.0}, MODERN),
    ):
        for training, size in SETS:
            # Rank 1 starts from other weights: those of rank 0 must win.
            classifier = make_classifier(seed=rank, **named)
            # With the usual epsilon, Adam turns the rounding of gradients that are zero into steps.
            epochs = train(
                classifier,
                **{**changes, "optimizer": {**changes.get("optimizer", {}), "epsilon": 1e-4}},
                epochs=4,
                per_worker_batch_size=size * 2 // n_ranks,
                training=training,
                validation=VALIDATION,
                ranks=ranks,
            )
            found.append((epochs, flatten(classifier).tolist()))
    return found


def test_two_ranks_equal_one(answers: Any) -> None:
    first, second = answers[0]
    assert first == second  # to the bit, buffers too
    alone = train_all((0, 1))
    assert len(alone) == len(first) == 9
    for (history, weights), (shared, shared_weights) in zip(alone, first, strict=True):
        for name in ("training_loss", "validation_loss", "learning_rate", "validation_auc"):
            expected = [getattr(epoch, name) for epoch in history]
            assert [getattr(epoch, name) for epoch in shared] == pytest.approx(expected, abs=1e-4)
        np.testing.assert_allclose(shared_weights, weights, atol=1e-3)


def train_apart(rank: int) -> Trained:
    """Train with batch normalization of each rank's own."""
    classifier = make_classifier(dropout=0.0)
    epochs = train(
        classifier,
        network={"sync_batch_norm": False},
        per_worker_batch_size=5,
        augmentation=NO_AUGMENTATION,
        ranks=(rank, 2),
    )
    return epochs, flatten(classifier).tolist()


def test_ranks_that_normalize_apart_still_validate_and_keep_the_same(answers: Any) -> None:
    first, second = answers[1]
    assert first == second
    alone = make_classifier(dropout=0.0)
    history = train(alone, per_worker_batch_size=10, augmentation=NO_AUGMENTATION)
    apart = [epoch.training_loss for epoch in first[0]]
    assert apart != pytest.approx([epoch.training_loss for epoch in history], abs=1e-4)


def train_cut_off(rank: int, folder: Path) -> list[Trained]:
    """Train twice: in one go, and cut off after two of four epochs."""
    changes = {**MODERN, "epochs": 4, "ranks": (rank, 2)}
    whole, resumed = make_classifier(), make_classifier(seed=9)
    history = train(whole, **changes)

    def stop(epoch: Epoch) -> None:
        if epoch.number == 1:
            raise KeyboardInterrupt

    kept = {"checkpoint": folder / "training.pt", "checkpoint_interval_s": 0.0}
    with pytest.raises(KeyboardInterrupt):
        train(make_classifier(), **changes, **kept, on_epoch=stop)
    torch.distributed.barrier()  # as Ray starts workers again only when all have ended
    found = train(resumed, **changes, **kept)
    return [(history, flatten(whole).tolist()), (found, flatten(resumed).tolist())]


def test_ranks_that_were_cut_off_end_as_if_they_had_never_stopped(answers: Any) -> None:
    first, second = answers[3]
    for whole, resumed in (first, second):
        assert [epoch.number for epoch in whole[0]] == list(range(4))
        assert resumed == whole
    assert first == second


def train_idle(ranks: tuple[int, int]) -> Trained:
    """Train a net of which one layer is never used."""
    classifier = make_classifier(dropout=0.0)
    classifier.backbone.never = nn.Linear(2, 2)
    epochs = train(
        classifier,
        epochs=2,
        per_worker_batch_size=10 // ranks[1],
        optimizer={"epsilon": 1e-4, "weight_decay": 0.1, "clip_norm": 1.0},
        schedule={"head_first": 0.5},
        validation=VALIDATION,
        ranks=ranks,
    )
    return epochs, flatten(classifier).tolist()


def test_layers_that_are_not_used_hold_no_rank_up(answers: Any) -> None:
    first, second = answers[4]
    assert first == second
    epochs, weights = train_idle((0, 1))
    losses = [epoch.training_loss for epoch in epochs]
    assert [epoch.training_loss for epoch in first[0]] == pytest.approx(losses, abs=1e-4)
    np.testing.assert_allclose(first[1], weights, atol=1e-3)


def test_looking_for_unused_parameters_leaves_everything_as_it_was() -> None:
    classifier = make_classifier()
    images, before = TRAINING.make_batch(np.arange(2), CPU), flatten(classifier)
    torch.manual_seed(3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert not has_unused(classifier, images)
    assert torch.equal(torch.rand(1), drawn)
    assert torch.equal(flatten(classifier), before)
    assert all(one.grad is None for one in classifier.parameters())
    classifier.backbone.never = nn.Linear(2, 2)
    assert has_unused(classifier, images)
    classifier.backbone.never.requires_grad_(False)
    assert not has_unused(classifier, images)


# The shared batch normalization by itself


def normalize_share(rank: int) -> tuple[list[Any], list[Any], list[Any]]:
    """Pass 3 of 5 samples, or the other 2, through each kind of layer; return what comes of it."""
    found: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    for layer, features in make_layers():
        network = nn.Sequential(layer)
        synchronize_batch_norm(network, CPU)
        part = (features[:3] if rank == 0 else features[3:]).clone().requires_grad_()
        values = network(part)
        weigh(values, features.shape, rank * 3).backward()
        found[0].append(values.detach().tolist())
        found[1].append(part.grad.tolist())
        found[2].append(
            [value.tolist() for value in network.state_dict().values()]
            + [parameter.grad.tolist() for parameter in network.parameters()]
        )
    return found


def make_layers() -> list[tuple[nn.Module, torch.Tensor]]:
    torch.manual_seed(0)
    layers = [
        (nn.BatchNorm2d(3, momentum=0.3), torch.randn(5, 3, 2, 4) * 5 + 100),
        (nn.BatchNorm1d(3, momentum=None), torch.randn(5, 3)),
        (nn.BatchNorm1d(3, affine=False), torch.randn(5, 3)),
        (BatchNormAct2d(3, act_layer=nn.SiLU), torch.randn(5, 3, 2, 2)),
    ]
    for layer, _ in layers:
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
    return layers


def weigh(values: torch.Tensor, shape: torch.Size, start: int) -> torch.Tensor:
    """Sum values with weights that depend on the place in the whole batch."""
    weights = torch.linspace(-1, 2, shape.numel()).reshape(shape)
    return (values * weights[start : start + len(values)]).sum()


def test_shared_batch_norm_is_batch_norm_of_the_whole_batch(answers: Any) -> None:
    shares = answers[2]
    for number, (layer, features) in enumerate(make_layers()):
        whole = features.clone().requires_grad_()
        values = layer(whole)
        weigh(values, features.shape, 0).backward()
        for kind, expected in ((0, values.detach()), (1, whole.grad)):
            found = torch.cat([torch.tensor(share[kind][number]) for share in shares])
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        state = list(layer.state_dict().values())
        for share in shares:
            for found, expected in zip(share[2][number], state, strict=False):
                torch.testing.assert_close(
                    torch.tensor(found, dtype=expected.dtype), expected, rtol=1e-5, atol=1e-5
                )
        gradients = [parameter.grad for parameter in layer.parameters()]
        for at, expected in enumerate(gradients, len(state)):  # each rank has its part
            found = sum(torch.tensor(share[2][number][at]) for share in shares)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_synchronizing_changes_neither_keys_nor_what_is_predicted() -> None:
    classifier = make_classifier().eval()
    images = TRAINING.make_batch(np.arange(8), CPU)
    keys, before = list(classifier.state_dict()), classifier(images)
    synchronize_batch_norm(classifier, CPU)
    assert [type(m) for m in classifier.modules()].count(SharedBatchNorm) == 1
    assert list(classifier.state_dict()) == keys
    torch.testing.assert_close(classifier(images), before, rtol=0, atol=0)
    again = list(classifier.modules())
    synchronize_batch_norm(classifier, CPU)
    assert list(classifier.modules()) == again
