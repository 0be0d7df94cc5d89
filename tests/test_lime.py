"""The fast LIME against the `lime` package: same rows and classifier in, same masks out."""

from dataclasses import dataclass
from typing import Any

import lime.lime_image
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from osteo_ray.config import LimeSettings
from osteo_ray.data.phantom_set import make_phantoms
from osteo_ray.explain import lime as fast_lime
from osteo_ray.explain.lime import (
    choose_superpixels,
    draw_rows,
    explain_image,
    fill_superpixels,
    fit_weights,
    predict_samples,
)
from osteo_ray.explain.superpixels import find_superpixels

CPU = torch.device("cpu")
SETTINGS = LimeSettings(samples=200)
CASES = [(0, 144, 0), (1, 128, 1), (2, 144, 2), (3, 128, 3)]  # phantom, size in pixels, row seed


def classify_texture(images: np.ndarray) -> np.ndarray:
    """Tell three classes by brightness here and texture there; uint8 (n, h, w) → float64 (n, 3)."""
    pixels = images.astype(np.float64) / 255
    row, column = np.mgrid[-1 : 1 : images.shape[1] * 1j, -1 : 1 : images.shape[2] * 1j]
    centre = np.exp(-4 * (row**2 + column**2))
    coarse = gaussian_filter(pixels, (0, 2, 2))
    scores = np.stack(
        [
            (pixels * row).mean((1, 2)) * 8,
            (np.abs(pixels - coarse) * centre).mean((1, 2)) * 60,
            (coarse * centre).mean((1, 2)) ** 2 * 40,
        ],
        axis=1,
    )
    odds = np.exp(scores - scores.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def predict_texture(images: torch.Tensor) -> torch.Tensor:
    """Do the same for what our engine hands over: float32 (n, 1, h, w) in [0, 1]."""
    assert images.dtype == torch.float32
    assert images.shape[1] == 1
    return torch.from_numpy(classify_texture((images[:, 0] * 255).round().byte().numpy()))


def render_phantom(number: int, size_px: int) -> np.ndarray:
    return list(make_phantoms(n_images=4, size_px=size_px, duplicate_share=0.0))[number].image


class RecordingExplainer(lime.lime_image.LimeImageExplainer):
    """The package's explainer, keeping what it draws on the way."""

    def data_labels(self, image: np.ndarray, fudged_image: np.ndarray, *rest: Any, **named: Any):
        self.fudged_image = fudged_image
        self.rows, self.predictions = super().data_labels(image, fudged_image, *rest, **named)
        return self.rows, self.predictions


@dataclass
class Stock:
    """What the package makes of one image."""

    image: np.ndarray
    seed: int
    segments: np.ndarray
    fudged_image: np.ndarray
    rows: np.ndarray
    predictions: np.ndarray
    label: int
    weights: np.ndarray
    keep_mask: np.ndarray
    score: float


def explain_with_package(
    image: np.ndarray, seed: int, hide_color: int | None = None, n_samples: int = SETTINGS.samples
) -> Stock:
    explainer = RecordingExplainer(random_state=seed)
    found = explainer.explain_instance(
        image,
        lambda batch: classify_texture(batch[..., 0]),
        top_labels=1,
        hide_color=hide_color,
        num_samples=n_samples,
        random_seed=0,
    )
    label = int(found.top_labels[0])
    weights = np.zeros(explainer.rows.shape[1])
    for number, weight in found.local_exp[label]:
        weights[number] = weight
    mask = found.get_image_and_mask(label, positive_only=True, num_features=5, hide_rest=True)[1]
    return Stock(
        image,
        seed,
        found.segments,
        explainer.fudged_image[..., 0],
        explainer.rows,
        explainer.predictions,
        label,
        weights,
        mask.astype(bool),
        found.score,
    )


@pytest.fixture(scope="module")
def quiet():
    """Switch off the progress bar that the package prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lime.lime_image, "tqdm", lambda rows: rows)
        yield


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"phantom-{case[0]}")
def stock(request: pytest.FixtureRequest, quiet: None) -> Stock:
    number, size_px, seed = request.param
    return explain_with_package(render_phantom(number, size_px), seed)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return render_phantom(1, 64)


@pytest.fixture(scope="module")
def segments(image: np.ndarray) -> np.ndarray:
    return find_superpixels(image, LimeSettings(kernel_size=2.0))


def explain(image: np.ndarray, segments: np.ndarray, predict=predict_texture, **changes: Any):
    seed = changes.pop("seed", 0)
    settings = LimeSettings(**{"samples": 60, **changes})
    rng = np.random.default_rng(seed)
    return explain_image(predict, image, segments, settings, rng=rng, device=CPU)


def test_cases_exercise_the_choice(stock: Stock) -> None:
    # Otherwise the tests below could pass by keeping all, or nothing.
    assert (stock.weights > 0).sum() > SETTINGS.top_k
    assert (stock.weights < 0).any()
    assert 0 < stock.keep_mask.mean() < 1


def test_superpixels_equal_the_packages(stock: Stock) -> None:
    np.testing.assert_array_equal(find_superpixels(stock.image, SETTINGS), stock.segments)


def test_superpixels_are_numbered_without_gaps(segments: np.ndarray) -> None:
    np.testing.assert_array_equal(np.unique(segments), np.arange(segments.max() + 1))
    assert segments.max() > 5


def test_package_draws_rows_as_documented(stock: Stock) -> None:
    # The contract that the tests below rest on: the first row whole, all others fair draws.
    expected = np.random.RandomState(stock.seed).randint(0, 2, stock.rows.size)
    expected = expected.reshape(SETTINGS.samples, stock.segments.max() + 1)
    expected[0] = 1
    np.testing.assert_array_equal(stock.rows, expected)


def test_mean_fill_equals_the_packages(stock: Stock) -> None:
    ours = fill_superpixels(stock.image, stock.segments, "mean")
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, stock.fudged_image)


def test_predictions_equal_the_packages(stock: Stock) -> None:
    ours = predict_samples(
        predict_texture,
        stock.image,
        stock.fudged_image,
        stock.segments,
        stock.rows.astype(np.uint8),
        batch_size=37,
        device=CPU,
    )
    np.testing.assert_array_equal(ours, stock.predictions)


def test_weights_and_fit_equal_the_packages(stock: Stock) -> None:
    weights, local_fit = fit_weights(
        stock.rows, stock.predictions[:, stock.label], kernel_width=0.25, alpha=1.0
    )
    np.testing.assert_allclose(weights, stock.weights, rtol=0, atol=1e-9)
    assert local_fit == pytest.approx(stock.score, abs=1e-9)


def test_keep_mask_equals_the_packages(stock: Stock) -> None:
    chosen = choose_superpixels(stock.weights, SETTINGS.top_k)
    np.testing.assert_array_equal(np.isin(stock.segments, chosen), stock.keep_mask)


def test_whole_explanation_equals_the_packages(
    stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = stock.rows.astype(np.uint8)
    monkeypatch.setattr(fast_lime, "draw_rows", lambda *arguments: rows)
    ours = explain(stock.image, find_superpixels(stock.image, SETTINGS), samples=SETTINGS.samples)
    assert ours.explained_class == stock.label
    assert ours.n_samples == len(rows)
    np.testing.assert_allclose(ours.weights, stock.weights, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(ours.keep_mask, stock.keep_mask)
    assert ours.local_fit == pytest.approx(stock.score, abs=1e-6)


def test_black_fill_equals_the_packages_hidden_colour(
    quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = explain_with_package(render_phantom(1, 96), 5, hide_color=0, n_samples=80)
    np.testing.assert_array_equal(
        fill_superpixels(stock.image, stock.segments, "black"), stock.fudged_image
    )
    monkeypatch.setattr(fast_lime, "draw_rows", lambda *arguments: stock.rows.astype(np.uint8))
    ours = explain(stock.image, stock.segments, samples=80, fill="black")
    np.testing.assert_allclose(ours.weights, stock.weights, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(ours.keep_mask, stock.keep_mask)


def test_mean_fill_by_hand() -> None:
    image = np.array([[10, 20, 200], [11, 7, 201]], np.uint8)
    segments = np.array([[0, 0, 1], [0, 2, 1]])
    expected = [[13, 13, 200], [13, 7, 200]]  # 41/3 and 401/2, truncated
    np.testing.assert_array_equal(fill_superpixels(image, segments, "mean"), expected)


def test_ridge_by_normal_equations_with_an_intercept_column() -> None:
    rng = np.random.default_rng(0)
    rows, targets = draw_rows(50, 7, rng), rng.random(50)
    rows[3] = 0  # its cosine to the whole image is taken as 0
    whole = np.ones(7)
    cosine = [row @ whole / np.linalg.norm(row) / np.sqrt(7) if row.any() else 0 for row in rows]
    closeness = np.exp(-((1 - np.array(cosine)) ** 2) / (2 * 0.4**2))  # sqrt of exp(-d²/w²)
    design = np.column_stack([np.ones(50), rows])
    penalty = np.diag([0.0] + [3.0] * 7)  # none on the intercept
    normal = design.T @ np.diag(closeness) @ design + penalty
    solution = np.linalg.solve(normal, design.T @ (closeness * targets))
    mean = closeness @ targets / closeness.sum()
    residual = closeness @ (targets - design @ solution) ** 2
    weights, local_fit = fit_weights(rows, targets, kernel_width=0.4, alpha=3.0)
    np.testing.assert_allclose(weights, solution[1:], atol=1e-12)
    assert local_fit == pytest.approx(1 - residual / (closeness @ (targets - mean) ** 2))


@pytest.mark.parametrize("value", [0.5, 0.1, 0.7310585786300049, 1.0])
def test_constant_classifier_gives_no_weight_at_all(value: float) -> None:
    # Exactly: a weight of 1e-33 from rounding would be positive, and would put noise into a mask.
    rows = draw_rows(30, 5, np.random.default_rng(0))
    weights, local_fit = fit_weights(rows, np.full(30, value), kernel_width=0.25, alpha=1.0)
    np.testing.assert_array_equal(weights, 0)
    assert local_fit == 1.0


@pytest.mark.parametrize(
    ("weights", "top_k", "expected"),
    [
        ([0.1, 0.5, -0.9, 0.3], 2, [1, 3]),
        ([0.1, 0.5, -0.9, 0.3], 5, [1, 3, 0]),
        ([-0.1, 0.0, -0.9], 5, []),
        ([0.2, 0.2, 0.2], 2, [0, 1]),
    ],
    ids=["largest", "fewer positive than asked", "none positive", "ties by number"],
)
def test_chosen_superpixels(weights: list[float], top_k: int, expected: list[int]) -> None:
    assert choose_superpixels(np.array(weights), top_k).tolist() == expected


def test_rows_are_fair_and_begin_with_the_whole_image() -> None:
    rows = draw_rows(2000, 20, np.random.default_rng(0))
    assert rows.shape == (2000, 20)
    assert rows.dtype == np.uint8
    assert rows[0].all()
    assert set(np.unique(rows)) == {0, 1}
    np.testing.assert_allclose(rows[1:].mean(0), 0.5, atol=0.05)


def test_row_of_ones_is_the_image_and_row_of_zeros_its_fill(
    image: np.ndarray, segments: np.ndarray
) -> None:
    seen: list[torch.Tensor] = []

    def predict(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return images.mean((2, 3))

    fill = fill_superpixels(image, segments, "mean")
    n_superpixels = segments.max() + 1
    rows = np.array([[1] * n_superpixels, [0] * n_superpixels, [0] * n_superpixels], np.uint8)
    rows[2, 4] = 1
    predict_samples(predict, image, fill, segments, rows, batch_size=2, device=CPU)
    assert [len(batch) for batch in seen] == [2, 1]
    shown = (torch.cat(seen)[:, 0] * 255).numpy()
    expected = [image, fill, np.where(segments == 4, image, fill)]
    np.testing.assert_allclose(shown, np.stack(expected), atol=1e-4)
    np.testing.assert_array_equal(seen[0][0, 0].numpy(), image.astype(np.float32) / 255)


@pytest.mark.parametrize("batch_size", [1, 7, 60, 1000])
def test_batch_size_changes_nothing(
    image: np.ndarray, segments: np.ndarray, batch_size: int
) -> None:
    one, other = explain(image, segments), explain(image, segments, batch_size=batch_size)
    np.testing.assert_array_equal(one.weights, other.weights)
    np.testing.assert_array_equal(one.keep_mask, other.keep_mask)


def test_same_generator_same_explanation_other_generator_another(
    image: np.ndarray, segments: np.ndarray
) -> None:
    one, again, other = (explain(image, segments, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.weights, again.weights)
    np.testing.assert_array_equal(one.keep_mask, again.keep_mask)
    assert not np.allclose(one.weights, other.weights)


def test_settings_reach_the_local_model(image: np.ndarray, segments: np.ndarray) -> None:
    plain = explain(image, segments)
    for changes in ({"kernel_width": 0.6}, {"alpha": 9.0}, {"samples": 61}, {"fill": "black"}):
        assert not np.array_equal(explain(image, segments, **changes).weights, plain.weights)
    one = explain(image, segments, top_k=1)
    np.testing.assert_array_equal(one.keep_mask, segments == plain.weights.argmax())


def test_explains_the_predicted_class(image: np.ndarray, segments: np.ndarray) -> None:
    # Class 2 wins, and speaks for the superpixel 3 only; the others must not be looked at.
    def predict(images: torch.Tensor) -> torch.Tensor:
        marked = images[:, 0, torch.from_numpy(segments == 3)].double()
        on = (marked - marked[0]).abs().amax(1) < 1e-6
        win = 0.5 + 0.4 * on.double()
        return torch.stack([(1 - win) / 2, (1 - win) / 2, win], 1)

    found = explain(image, segments, predict, fill="black")
    assert found.explained_class == 2
    assert found.weights.argmax() == 3
    np.testing.assert_array_equal(
        explain(image, segments, predict, fill="black", top_k=1).keep_mask, segments == 3
    )


def test_no_superpixel_in_favour_gives_an_empty_mask(
    image: np.ndarray, segments: np.ndarray
) -> None:
    found = explain(image, segments, lambda images: torch.full((len(images), 2), 0.5))
    assert found.keep_mask.shape == image.shape
    assert found.keep_mask.dtype == bool
    assert not found.keep_mask.any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_probabilities_that_are_no_numbers_are_refused(
    image: np.ndarray, segments: np.ndarray, value: float
) -> None:
    def predict(images: torch.Tensor) -> torch.Tensor:
        found = torch.full((len(images), 2), 0.5)
        found[-1, 0] = value
        return found

    with pytest.raises(ValueError, match="finite probabilities"):
        explain(image, segments, predict)


def test_single_superpixel_is_refused_before_anything_is_classified() -> None:
    def predict(images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("must not be called")

    flat = np.full((40, 40), 7, np.uint8)
    with pytest.raises(ValueError, match="at least 2 superpixels"):
        explain(flat, np.zeros((40, 40), np.int64), predict)


def test_image_equal_to_its_fill_gets_an_empty_mask() -> None:
    # Quickshift divides even a constant image, by the noise with which it breaks ties.
    flat = np.full((40, 40), 7, np.uint8)
    segments = find_superpixels(flat, LimeSettings(kernel_size=1.5))
    assert segments.max() > 0
    assert not explain(flat, segments).keep_mask.any()
