"""How much a mask would change with other samples, and what the local model explains."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm

from osteo_ray.explain.lime import LimeExplanation, explain_by_lime, measure_targets
from osteo_ray.explain.local_model import LocalModel, choose_masks, fit_local_model
from osteo_ray.explain.sampling import draw_rows
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.explain.stability import Stability, draw_true_weights, measure_stability

CPU = torch.device("cpu")


def make_model(weights: Any, variances: Any) -> LocalModel:
    n = len(weights)
    return LocalModel(np.array(weights), 1.0, np.diag(variances), np.eye(n), 1.0, 1.0)


def make_image(n_superpixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Make an image of vertical stripes, 1 pixel dark beside 1 pixel bright, a superpixel each."""
    image = np.tile(np.array([0, 200], np.uint8), (8, n_superpixels))
    return image, np.tile(np.arange(n_superpixels).repeat(2), (8, 1))


def see(images: torch.Tensor) -> torch.Tensor:
    """Tell which superpixels of such an image are on: float64 (n, n_superpixels)."""
    return (images[:, 0, 0, 1::2] - images[:, 0, 0, ::2] > 0.5).double()


def explain(score: Any, n_superpixels: int, seed: int = 0, **changes: Any) -> Any:
    """Explain class 0 of a classifier whose logits are `score` of what is on, and 0."""

    def predict(images: torch.Tensor) -> torch.Tensor:
        found = score(see(images))
        return torch.stack([found, torch.zeros_like(found)], 1).float()

    image, segments = make_image(n_superpixels)
    settings, rngs = LimeSettings(**changes), [np.random.default_rng(seed)]
    (found,) = explain_by_lime(
        predict, [image], [segments], settings, rngs=rngs, device=CPU, targets=[0]
    )
    return found


# The estimate of a redraw


def test_large_weights_stay_and_change_places_as_often_as_two_draws_would() -> None:
    # Against errors of 0.01, both are large, so what is true lies around what was found. A redraw
    # differs by the errors of both: the difference 0.01 has the variance 2 × (0.0001 + 0.0001).
    model = make_model([0.5, 0.49], [1e-4, 1e-4])
    rng = np.random.default_rng(0)
    found = [measure_stability(model, np.array([9, 1]), 1, rng) for _ in range(100)]
    expected = norm.cdf(0.01 / 0.02)
    assert np.mean([one.overlap for one in found]) == pytest.approx(expected, abs=0.02)
    assert np.mean([one.poor for one in found]) == pytest.approx(1 - expected, abs=0.02)


def test_areas_count_and_weights_that_are_not_positive_do_not() -> None:
    areas, rng = np.array([30, 10, 60]), np.random.default_rng(0)
    certain = make_model([0.2, 0.1, -1.0], [0, 0, 0])
    assert measure_stability(certain, areas, 2, rng) == Stability(1.0, 0.0)
    # The second one is positive half of the time: 30 or 40 of 30 pixels are shared.
    even = make_model([0.2, 0.0, -1.0], [0, 1e-4, 0])
    found = np.mean([measure_stability(even, areas, 3, rng).overlap for _ in range(100)])
    assert found == pytest.approx((1 + 0.75) / 2, abs=0.02)
    negative = make_model([-0.2, -0.1, -1.0], [0, 0, 0])
    assert measure_stability(negative, areas, 2, rng) == Stability(1.0, 0.0)
    assert measure_stability(make_model([0.0] * 3, [0.0] * 3), areas, 2, rng).overlap == 1


def test_weights_that_chance_explains_are_drawn_near_zero() -> None:
    rng = np.random.default_rng(0)
    errors = np.full(40, 0.1)
    noise = rng.normal(0, 0.1, 40)
    drawn = draw_true_weights(noise, errors, 500, rng)
    assert drawn.shape == (500, 40)
    assert (drawn**2).mean() < 0.2 * 0.1**2
    noise[7] = 3.0  # thirty errors away from 0
    drawn = draw_true_weights(noise, errors, 500, rng)
    assert drawn[:, 7].mean() == pytest.approx(3, abs=0.1)
    assert drawn[:, 7].std() == pytest.approx(0.1, abs=0.03)
    assert (np.delete(drawn, 7, 1) ** 2).mean() < 0.3 * 0.1**2


@pytest.mark.parametrize("kind", ["noise", "few", "many"])
def test_expected_overlap_is_that_of_redraws(kind: str) -> None:
    # A function of 25 superpixels, with interactions that a linear model takes for noise.
    told, seen = [], []
    areas = np.random.default_rng(0).integers(20, 200, 25)
    for number in range(60):
        rng = np.random.default_rng((1, number))
        truth = rng.normal(0, 0.3, 25) * (
            rng.random(25) < {"few": 0.2, "many": 1.0, "noise": 0}[kind]
        )
        pairs = rng.normal(0, 0.5, (25, 25))
        models = []
        for _ in range(2):
            rows = draw_rows(200, 25, rng)
            signs = 2.0 * rows - 1
            targets = signs @ truth + np.einsum("ij,jk,ik->i", signs, pairs, signs) / 5
            options = {"kernel_width": 0.25, "alpha": 0.2, "paired": False}
            models.append(fit_local_model(rows, targets, **options))
        one, other = (choose_masks(each, each.weights[None], 5, "weights")[0] for each in models)
        seen.append(areas[one & other].sum() / max(areas[one | other].sum(), 1))
        told.append(measure_stability(models[0], areas, 5, rng).overlap)
    assert np.mean(told) == pytest.approx(np.mean(seen), abs=0.06)
    if kind == "noise":
        assert np.mean(told) < 0.25


def test_a_mask_with_too_many_poor_redraws_is_not_stable() -> None:
    assert Stability(0.95, 0.05).reaches(0.92)
    assert not Stability(0.95, 0.06).reaches(0.92)
    assert not Stability(0.91, 0.0).reaches(0.92)


# What is explained


def test_targets_by_hand() -> None:
    logits = np.log([[0.5, 0.3, 0.2], [0.25, 0.25, 0.5]])
    found = measure_targets(logits, 0, "probability")
    np.testing.assert_allclose(np.diff(found), [-0.25])
    found = measure_targets(logits, 1, "probability")
    np.testing.assert_allclose(found, [0.3, 0.25])
    np.testing.assert_allclose(
        measure_targets(logits, 0, "log-odds"), [0, np.log(1 / 3)], atol=1e-12
    )


def test_targets_of_a_saturated_classifier_do_not_round() -> None:
    # 1 - p is exp(-60), exp(-50), exp(-61), where even 64 bits hold 1 for p.
    logits = np.array([[60.0, 0.0], [50.0, 0.0], [61.0, 0.0]])
    found = measure_targets(logits, 0, "probability")
    assert found is not None
    np.testing.assert_allclose(found, -np.exp(-logits[:, 0]), rtol=1e-12)
    np.testing.assert_allclose(measure_targets(logits, 0, "log-odds"), logits[:, 0])
    # Beyond what 64 bits can hold, log-odds remain.
    assert measure_targets(logits * 50, 0, "probability") is None
    np.testing.assert_allclose(measure_targets(logits * 50, 0, "log-odds"), logits[:, 0] * 50)


@pytest.mark.parametrize("target", ["probability", "log-odds"])
@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_rounding_is_no_variation(target: Any, size: float) -> None:
    noise = np.random.default_rng(0).normal(0, 1e-8 * size, (50, 1))
    logits = np.concatenate([size + noise, np.zeros((50, 1))], 1)
    assert measure_targets(logits, 0, target) is None
    logits[7, 0] += 1e-3 * size
    assert (measure_targets(logits, 0, target) is None) == (target == "probability" and size > 700)


@pytest.mark.parametrize("mode", ["adaptive", "exact"])
def test_planted_saturated_classifier_gets_the_masks_of_what_it_sees(mode: str) -> None:
    # Its probability is 1 - 1e-26 with all superpixels, and 1 - 1e-17 without the first three.
    def score(on: torch.Tensor) -> torch.Tensor:
        return 40 + 20 * on[:, :3].mean(1) + 0.1 * on[:, 3:].mean(1)

    for seed in range(6):
        found = explain(score, 12, seed, mode=mode, samples=800, top_k=3)
        assert isinstance(found, LimeExplanation)
        assert np.unique(np.nonzero(found.keep_mask)[1] // 2).tolist() == [0, 1, 2]
        assert found.local_fit < 1


@pytest.mark.parametrize("mode", ["adaptive", "exact"])
@pytest.mark.parametrize(
    ("slope", "text"),
    [
        (0.0, "the same for all 200 perturbed images."),
        (100.0, "Only its log-odds vary, which --lime.target log-odds explains."),
    ],
)
def test_output_that_does_not_vary_is_an_error(mode: str, slope: float, text: str) -> None:
    found = explain(lambda on: 1000 + slope * on.mean(1), 12, mode=mode, samples=200)
    assert isinstance(found, ValueError)
    assert text in str(found)
    if slope:
        options = {"mode": mode, "samples": 200, "target": "log-odds"}
        found = explain(lambda on: 1000 + slope * on[:, 4], 12, top_k=1, **options)
        assert np.unique(np.nonzero(found.keep_mask)[1] // 2).tolist() == [4]


@pytest.mark.parametrize("mode", ["adaptive", "exact"])
def test_kernel_in_which_no_perturbed_image_counts_is_an_error(mode: str) -> None:
    """Nothing is fitted then, and an empty mask would be found stable."""
    options = {"mode": mode, "samples": 200}
    found = explain(lambda on: on[:, 4], 12, kernel_width=1e-4, **options)
    assert isinstance(found, ValueError)
    assert "a kernel of width 0.0001 leaves none. Raise --lime.kernel-width." in str(found)


def test_sampling_goes_on_until_something_has_varied() -> None:
    # The probability drops only if all of the first six superpixels are off: 1 row in 64.
    def score(on: torch.Tensor) -> torch.Tensor:
        return 2 - 4 * (on[:, :6].sum(1) == 0).double()

    for seed in range(20):
        found = explain(score, 30, seed, samples=1000, top_k=6)
        assert isinstance(found, LimeExplanation)
        assert found.keep_mask.any()
        right = np.isin(np.unique(np.nonzero(found.keep_mask)[1] // 2), range(6)).sum()
        assert right >= 3 or found.unstable


def test_more_superpixels_than_samples_are_refused() -> None:
    found = explain(lambda on: on[:, 0], 30, samples=30)
    assert isinstance(found, ValueError)
    assert "30 superpixels, and the samples are 30. Raise --lime-samples" in str(found)
    found = explain(lambda on: on[:, 0], 30, samples=60)
    assert found.stability is None
    assert found.unstable
    assert explain(lambda on: on[:, 0], 30, samples=61).stability is not None
