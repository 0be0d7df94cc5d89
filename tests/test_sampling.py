"""Rows of perturbed images: balance, complements, enumeration, streams."""

import numpy as np
import pytest

from osteo_ray.explain.sampling import (
    draw_adaptive_rows,
    draw_balanced_rows,
    draw_rows,
    list_all_rows,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("n_superpixels", [2, 3, 7, 8, 31, 32, 50])
def test_balanced_rows_are_orthogonal_and_followed_by_their_complements(n_superpixels: int) -> None:
    rows = draw_balanced_rows(n_superpixels, rng())
    assert rows.dtype == np.uint8
    assert len(rows) in (2 ** np.arange(2, 9))
    assert n_superpixels < len(rows) // 2 <= 2 * n_superpixels
    np.testing.assert_array_equal(rows[::2] + rows[1::2], 1)
    signs = 2 * rows.astype(int) - 1
    np.testing.assert_array_equal(signs.T @ signs, len(rows) * np.eye(n_superpixels))
    np.testing.assert_array_equal(signs.sum(0), 0)


def test_balanced_rows_are_a_matter_of_chance() -> None:
    one, again, other = (draw_balanced_rows(9, rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    kept = np.mean([draw_balanced_rows(9, rng(seed))[0] for seed in range(2000)], axis=0)
    np.testing.assert_allclose(kept, 0.5, atol=0.05)


def test_all_rows_are_there_once() -> None:
    rows = list_all_rows(5)
    assert rows.dtype == np.uint8
    assert len(np.unique(rows, axis=0)) == len(rows) == 32
    assert rows[0].all()


def test_adaptive_rows_are_one_stream_however_cut() -> None:
    draws = list(draw_adaptive_rows(20, 40, 32, 300, rng()))
    assert [len(draw) for draw in draws] == [41, *[32] * 8, 3]
    together = np.concatenate(draws)
    assert together[0].all()
    np.testing.assert_array_equal(together[1:299:2] + together[2:300:2], 1)
    others = np.concatenate(list(draw_adaptive_rows(20, 80, 64, 300, rng())))
    np.testing.assert_array_equal(together, others)


def test_no_more_rows_than_allowed_or_than_there_are() -> None:
    assert [len(draw) for draw in draw_adaptive_rows(20, 40, 32, 30, rng())] == [30]
    (rows,) = draw_adaptive_rows(4, 8, 32, 16, rng())
    np.testing.assert_array_equal(rows, list_all_rows(4))


def test_rows_are_drawn_as_lime_draws_them() -> None:
    rows = draw_rows(2000, 20, rng())
    assert rows.shape == (2000, 20)
    assert rows.dtype == np.uint8
    assert rows[0].all()
    assert set(np.unique(rows)) == {0, 1}
    np.testing.assert_allclose(rows[1:].mean(0), 0.5, atol=0.05)
