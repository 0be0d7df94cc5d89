"""How images are dealt into steps and to workers: none left out, none alone, no worker idle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteo_ray.base.errors import InputError
from osteo_ray.models.settings import NetworkSettings, TrainingSettings
from osteo_ray.models.steps import check_batch_size, plan_steps


def make_settings(batch_size: int, *, synchronized: bool = True) -> TrainingSettings:
    network = NetworkSettings(sync_batch_norm=synchronized)
    return TrainingSettings(per_worker_batch_size=batch_size, network=network)


def deal(n: int, batch_size: int, n_workers: int = 1) -> list[list[int]]:
    """Return, for each step, how many images each worker gets."""
    plan = plan_steps(n, make_settings(batch_size), n_workers)
    steps = plan.deal(np.arange(n))
    return [[len(plan.share(step, rank)) for rank in range(n_workers)] for step in steps]


@pytest.mark.parametrize(
    ("n", "batch_size", "n_workers", "shares"),
    [
        (11, 2, 1, [[3], [2], [2], [2], [2]]),  # not [2, 2, 2, 2, 2, 1]
        (31, 10, 1, [[8], [8], [8], [7]]),  # not [10, 10, 10, 1]
        (5, 32, 1, [[5]]),
        (2, 2, 1, [[2]]),
        (21, 2, 2, [[2, 2], [2, 2], [2, 2], [2, 1], [2, 1], [2, 1]]),
        (9, 2, 4, [[2, 1, 1, 1], [1, 1, 1, 1]]),
        (7, 1, 4, [[2, 2, 2, 1]]),  # not [1, 1, 1, 1], [1, 1, 1, 0]
        (4, 1, 4, [[1, 1, 1, 1]]),
    ],
)
def test_shares_by_hand(n: int, batch_size: int, n_workers: int, shares: list[list[int]]) -> None:
    assert deal(n, batch_size, n_workers) == shares


@given(st.integers(1, 400), st.integers(1, 40), st.integers(1, 9), st.booleans())
def test_every_image_once_none_alone_and_no_worker_idle(
    n: int, batch_size: int, n_workers: int, synchronized: bool
) -> None:
    settings = make_settings(batch_size, synchronized=synchronized)
    least = 2 if n_workers > 1 and not synchronized else 1
    possible = (
        n >= max(2, least * n_workers) and batch_size * n_workers >= 2 and batch_size >= least
    )
    if not possible:
        with pytest.raises(InputError, match="Expected at least"):
            plan_steps(n, settings, n_workers)
        return
    plan = plan_steps(n, settings, n_workers)
    order = np.random.default_rng(0).permutation(n)
    steps = plan.deal(order)
    assert len(steps) == plan.n_steps
    shares = [[plan.share(step, rank) for rank in range(n_workers)] for step in steps]
    assert np.concatenate([rows for step in shares for rows in step]).tolist() == order.tolist()
    assert min(len(step) for step in steps) >= 2
    sizes = [len(rows) for step in shares for rows in step]
    assert min(sizes) >= least
    assert max(sizes) <= batch_size + (1 if batch_size <= 2 * least else 0)
    assert max(map(len, steps)) - min(map(len, steps)) <= 1


@given(st.integers(8, 300), st.integers(2, 20), st.sampled_from([2, 3, 4, 6]))
def test_steps_do_not_depend_on_the_number_of_workers(
    n: int, per_worker: int, n_workers: int
) -> None:
    one = plan_steps(n, make_settings(per_worker * n_workers))
    shared = plan_steps(n, make_settings(per_worker), n_workers)
    assert shared.n_steps == one.n_steps


@pytest.mark.parametrize(
    ("n", "batch_size", "n_workers", "message"),
    [
        (3, 2, 4, r"at least 4 training images for 4 workers, but there are 3\..*--workers"),
        (1, 8, 1, r"at least 2 training images, but there is 1\. Add images\."),
        (9, 1, 1, r"at least 2 images per step.*--training\.per-worker-batch-size"),
        (20, 21, 1, r"batch size of at most 20, the number of training images, but got 21\."),
        (20, 8, 3, r"at most 20.*but got 24 \(8 for each of 3 workers\).*or --workers"),
    ],
)
def test_what_is_refused_and_how(n: int, batch_size: int, n_workers: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_batch_size(n, make_settings(batch_size), n_workers)


def test_workers_that_normalize_alone_need_two_images_each() -> None:
    alone = make_settings(1, synchronized=False)
    with pytest.raises(InputError, match=r"per step and worker.*no-sync-batch-norm"):
        check_batch_size(9, alone, 2)
    check_batch_size(9, make_settings(1), 2)
    with pytest.raises(InputError, match="at least 4 training images for 2 workers"):
        check_batch_size(3, make_settings(2, synchronized=False), 2)


def test_batch_of_the_whole_set_is_fine() -> None:
    check_batch_size(20, make_settings(20))
    check_batch_size(20, make_settings(10), 2)
