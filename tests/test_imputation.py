"""Filling what a mask removes: the linear system, its noise, and its edges."""

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer

from osteo_ray.data.imputation import impute, solve_means


# The package applies NumPy to tensors.
@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning")
@pytest.mark.parametrize("shape", [(24, 24), (17, 30)])
def test_is_that_of_the_package(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image, keep = rng.integers(0, 256, shape).astype(np.float64), rng.random(shape) < 0.3
    keep[5:12, 3:9] = False
    found = solve_means(image, keep)
    theirs = NoisyLinearImputer(noise=0)(
        torch.from_numpy(image / 255)[None].float(), torch.from_numpy(keep).float()
    )
    assert found == pytest.approx(theirs[0].numpy()[~keep] * 255, abs=1e-3)


def test_by_hand() -> None:
    image = np.array([[6.0, 12.0, 0.0]])
    keep = np.array([[True, False, True]])
    assert solve_means(image, keep) == pytest.approx([3.0])  # (6 + 0) / 2
    keep = np.array([[True, False, False]])
    assert solve_means(image, keep) == pytest.approx([6.0, 6.0])  # nothing else is known


def test_kept_pixels_stay_and_noise_is_small() -> None:
    image = np.full((40, 40), 100, np.uint8)
    keep = np.zeros(image.shape, bool)
    keep[10:20] = True
    filled = impute(image, keep)
    assert (filled[keep] == 100).all()
    assert filled[~keep].mean() == pytest.approx(100, abs=0.5)
    assert filled[~keep].std() == pytest.approx(2.55, rel=0.1)


def test_same_image_and_mask_are_filled_alike_and_others_otherwise() -> None:
    image = np.full((16, 16), 100, np.uint8)
    keep = np.zeros(image.shape, bool)
    keep[4:8] = True
    np.testing.assert_array_equal(impute(image, keep), impute(image.copy(), keep.copy()))
    other = keep.copy()
    other[8] = True
    assert (impute(image, keep) != impute(image, other))[~other].any()


def test_everything_or_nothing_kept() -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(impute(image, np.ones(image.shape, bool)), image)
    filled = impute(image, np.zeros(image.shape, bool))
    assert filled.mean() == pytest.approx(31.5, abs=1)
    assert filled.std() < 5
