"""The fast LIME against the `lime` package: same rows and classifier in, same masks out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lime.lime_image
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter
from scipy.special import logit, softmax

from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.phantoms.sets import make_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.explain import lime as fast_lime
from osteo_ray.explain.lime import LimeExplanation, explain_by_lime
from osteo_ray.explain.local_model import (
    LocalModel,
    choose_masks,
    fit_local_model,
    select_forward,
)
from osteo_ray.explain.perturbation import Perturbable, fill_superpixels, predict_rows
from osteo_ray.explain.sampling import draw_rows
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.explain.superpixels import find_superpixels

CPU = torch.device("cpu")
AS_THE_PACKAGE = ImageSize.square(224)
SETTINGS = LimeSettings(samples=200, mode="exact").scale_to(AS_THE_PACKAGE)
SMALL = ImageSize.square(96)
SIZES = [*map(ImageSize.square, (144, 128, 144, 128)), ImageSize(168, 120), ImageSize(80, 128)]
CASES = [(0, 0), (1, 1), (2, 2), (3, 3), (1, 4), (2, 5)]  # phantom, row seed and place in `SIZES`


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
    """Do the same for what our engine hands over, float32 (n, 1, h, w) in [0, 1]: logits."""
    assert images.dtype == torch.float32
    assert images.shape[1] == 1
    return torch.from_numpy(classify_texture((images[:, 0] * 255).round().byte().numpy())).log()


def render_phantom(number: int, size: ImageSize) -> np.ndarray:
    settings = PhantomSettings(n_images=4, size_px=size.longer_px, duplicate_share=0.0)
    return resize_image(list(make_phantoms(settings))[number].image, size).copy()


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
    image: np.ndarray,
    seed: int,
    hide_color: int | None = None,
    n_samples: int = SETTINGS.samples,
    num_features: int = 100_000,
    classify: Callable[[np.ndarray], np.ndarray] = lambda batch: classify_texture(batch[..., 0]),
) -> Stock:
    explainer = RecordingExplainer(random_state=seed)
    found = explainer.explain_instance(
        image,
        classify,
        top_labels=1,
        num_features=num_features,
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


@pytest.fixture(scope="module", params=CASES, ids=lambda case: str(SIZES[case[1]]))
def stock(request: pytest.FixtureRequest, quiet: None) -> Stock:
    number, seed = request.param
    return explain_with_package(render_phantom(number, SIZES[seed]), seed)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return render_phantom(1, ImageSize.square(64))


@pytest.fixture(scope="module")
def segments(image: np.ndarray) -> np.ndarray:
    return find_superpixels(image, LimeSettings(kernel_size=2.0, max_dist=200.0, ratio=0.2))


def explain(
    image: np.ndarray, segments: np.ndarray, predict=predict_texture, **changes: Any
) -> LimeExplanation:
    """Explain one image, by default by 60 samples in the exact mode."""
    rng = np.random.default_rng(changes.pop("seed", 0))
    targets = changes.pop("targets", None)
    settings = LimeSettings(**{"samples": 60, "mode": "exact", **changes})
    (found,) = explain_by_lime(
        predict, [image], [segments], settings, rngs=[rng], device=CPU, targets=targets
    )
    if isinstance(found, ValueError):
        raise found
    return found


def fit(rows: np.ndarray, targets: np.ndarray, **changes: Any) -> LocalModel:
    options = {"kernel_width": 0.25, "alpha": 1.0, "paired": False, **changes}
    return fit_local_model(rows, targets, **options)


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
    perturbable = Perturbable(stock.image, stock.fudged_image, stock.segments, CPU)
    rows = stock.rows.astype(np.uint8)
    (ours,) = predict_rows(predict_texture, [(perturbable, rows)], 37)
    np.testing.assert_allclose(softmax(ours, axis=1), stock.predictions, rtol=1e-12)


def test_weights_and_fit_equal_the_packages(stock: Stock) -> None:
    model = fit(stock.rows, stock.predictions[:, stock.label])
    np.testing.assert_allclose(model.weights, stock.weights, rtol=0, atol=1e-9)
    assert model.local_fit == pytest.approx(stock.score, abs=1e-9)


def test_keep_mask_equals_the_packages(stock: Stock) -> None:
    chosen = choose(stock.weights, SETTINGS.top_k)
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
    stock = explain_with_package(render_phantom(1, SMALL), 5, hide_color=0, n_samples=80)
    np.testing.assert_array_equal(
        fill_superpixels(stock.image, stock.segments, "black"), stock.fudged_image
    )
    monkeypatch.setattr(fast_lime, "draw_rows", lambda *arguments: stock.rows.astype(np.uint8))
    ours = explain(stock.image, stock.segments, samples=80, fill="black")
    np.testing.assert_allclose(ours.weights, stock.weights, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(ours.keep_mask, stock.keep_mask)


def test_gray_fill_equals_the_packages_hidden_colour(
    quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = explain_with_package(render_phantom(1, SMALL), 5, hide_color=130, n_samples=80)
    np.testing.assert_array_equal(
        fill_superpixels(stock.image, stock.segments, 130), stock.fudged_image
    )
    monkeypatch.setattr(fast_lime, "draw_rows", lambda *arguments: stock.rows.astype(np.uint8))
    ours = explain(stock.image, stock.segments, samples=80, fill=130)
    np.testing.assert_allclose(ours.weights, stock.weights, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(ours.keep_mask, stock.keep_mask)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_forward_selection_equals_the_packages(
    quiet: None, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    # `num_features=5` makes the package select forward ("auto" does for 6 and fewer).
    stock = explain_with_package(render_phantom(number, SMALL), 5, n_samples=80, num_features=5)
    assert np.count_nonzero(stock.weights) == 5
    monkeypatch.setattr(fast_lime, "draw_rows", lambda *arguments: stock.rows.astype(np.uint8))
    ours = explain(stock.image, stock.segments, samples=80, selection="forward")
    np.testing.assert_allclose(ours.weights, stock.weights, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(ours.keep_mask, stock.keep_mask)
    assert ours.local_fit == pytest.approx(stock.score, abs=1e-9)
    plain = explain(stock.image, stock.segments, samples=80)
    assert np.count_nonzero(plain.weights) > 5
    assert ours.stability != plain.stability


def test_log_odds_equal_the_packages(quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def classify(batch: np.ndarray) -> np.ndarray:
        return logit(classify_texture(batch[..., 0]))

    stock = explain_with_package(render_phantom(1, SMALL), 5, n_samples=80, classify=classify)
    monkeypatch.setattr(fast_lime, "draw_rows", lambda *arguments: stock.rows.astype(np.uint8))
    ours = explain(stock.image, stock.segments, samples=80, target="log-odds")
    assert ours.explained_class == stock.label
    np.testing.assert_allclose(ours.weights, stock.weights, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(ours.keep_mask, stock.keep_mask)


def test_forward_selection_of_superpixels_that_repeat_each_other() -> None:
    # The third column is the sum of the others, and the fourth is always on.
    rows = np.array(
        [[1, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1], [1, 0, 1, 1], [0, 1, 1, 1]], np.uint8
    )
    model = fit(rows, np.array([3.0, 1.0, 0.0, 3.0, 1.0]))
    (found,) = select_forward(model, model.weights[None], 4)
    assert np.isfinite(found).all()
    (one,) = select_forward(model, model.weights[None], 1)
    assert np.flatnonzero(one).tolist() == [0]


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
    model = fit(rows, targets, kernel_width=0.4, alpha=3.0)
    np.testing.assert_allclose(model.weights, solution[1:], atol=1e-12)
    assert model.local_fit == pytest.approx(1 - residual / (closeness @ (targets - mean) ** 2))


@pytest.mark.parametrize("value", [0.5, 0.1, 0.7310585786300049, 1.0])
def test_constant_classifier_gives_no_weight_at_all(value: float) -> None:
    # Exactly: a weight of 1e-33 from rounding would be positive, and would put noise into a mask.
    rows = draw_rows(30, 5, np.random.default_rng(0))
    model = fit(rows, np.full(30, value))
    np.testing.assert_array_equal(model.weights, 0)
    np.testing.assert_array_equal(model.covariance, 0)
    assert np.isnan(model.local_fit)


def choose(weights: Any, top_k: int) -> list[int]:
    """List which superpixels a mask keeps."""
    n = len(weights)
    model = LocalModel(np.array(weights), 1.0, np.zeros((n, n)), np.eye(n), 1.0, 1.0)
    return np.flatnonzero(choose_masks(model, model.weights[None], top_k, "weights")[0]).tolist()


@pytest.mark.parametrize(
    ("weights", "top_k", "expected"),
    [
        ([0.1, 0.5, -0.9, 0.3], 2, [1, 3]),
        ([0.1, 0.5, -0.9, 0.3], 5, [0, 1, 3]),
        ([-0.1, 0.0, -0.9], 5, []),
        ([0.2, 0.2, 0.2], 2, [0, 1]),
    ],
    ids=["largest", "fewer positive than asked", "none positive", "ties by number"],
)
def test_chosen_superpixels(weights: list[float], top_k: int, expected: list[int]) -> None:
    assert choose(weights, top_k) == expected


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
    predict_rows(predict, [(Perturbable(image, fill, segments, CPU), rows)], 2)
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
        return torch.stack([(1 - win) / 2, (1 - win) / 2, win], 1).log()

    found = explain(image, segments, predict, fill="black")
    assert found.explained_class == 2
    assert found.weights.argmax() == 3
    np.testing.assert_array_equal(
        explain(image, segments, predict, fill="black", top_k=1).keep_mask, segments == 3
    )


def test_no_superpixel_in_favour_gives_an_empty_mask(
    image: np.ndarray, segments: np.ndarray
) -> None:
    def predict(images: torch.Tensor) -> torch.Tensor:
        shown = (images - images[:1]).abs().mean((1, 2, 3)).double()  # the whole image comes first
        return torch.stack([shown * 9, torch.zeros(len(images))], 1)

    options = {"targets": [0], "batch_size": 60, "target": "log-odds", "alpha": 0}  # all is linear
    found = explain(image, segments, predict, **options)
    assert (found.weights < 0).all()
    assert found.keep_mask.shape == image.shape
    assert found.keep_mask.dtype == bool
    assert not found.keep_mask.any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(
    image: np.ndarray, segments: np.ndarray, value: float
) -> None:
    def predict(images: torch.Tensor) -> torch.Tensor:
        found = torch.full((len(images), 2), 0.5)
        found[-1, 0] = value
        return found

    with pytest.raises(ValueError, match="finite logits"):
        explain(image, segments, predict)


def test_single_superpixel_is_refused_before_anything_is_classified() -> None:
    def predict(images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("must not be called")

    flat = np.full((40, 40), 7, np.uint8)
    with pytest.raises(ValueError, match="at least 2 superpixels"):
        explain(flat, np.zeros((40, 40), np.int64), predict)


def test_image_equal_to_its_fill_is_refused() -> None:
    flat = np.full((40, 40), 7, np.uint8)
    segments = np.arange(40)[:, None] // 10 + np.zeros((40, 40), np.int64)
    with pytest.raises(ValueError, match="the same for all 60 perturbed images"):
        explain(flat, segments)


@pytest.mark.parametrize("changes", [{"kernel_width": 0.001}, {"samples": 17}])
@pytest.mark.parametrize("selection", ["weights", "forward"])
def test_samples_that_do_not_tell_superpixels_apart_need_a_penalty(
    image: np.ndarray, changes: dict[str, float], selection: str
) -> None:
    row, column = np.arange(40)[:, None] // 10, np.arange(40) // 10
    quarters = 4 * row + column
    kernel = {"kernel_width": 0.01, **changes, "selection": selection}
    with pytest.raises(ValueError, match=r"^Expected perturbed images that tell all .*lime\.alpha"):
        explain(image[:40, :40], quarters, alpha=0, **kernel)


@pytest.mark.parametrize("name", ["kernel_width", "alpha"])
def test_settings_of_the_local_model_stay_within_what_can_be_computed(
    name: str, image: np.ndarray, segments: np.ndarray
) -> None:
    with pytest.raises(ValidationError, match="less than or equal to 1000000"):
        LimeSettings(**{name: 1e160})
    assert np.isfinite(explain(image, segments, **{name: 1e6}).weights).all()
    with pytest.raises(ValidationError, match="greater than or equal to"):
        LimeSettings(**{name: -1.0 if name == "alpha" else 1e-160})


# The adaptive mode


def explain_all(numbers: list[int], **changes: Any):
    """Explain phantoms, each by its own random stream."""
    images = [render_phantom(number, ImageSize.square(64)) for number in numbers]
    options = LimeSettings(kernel_size=2.0, max_dist=200.0, ratio=0.2)
    pieces = [find_superpixels(image, options) for image in images]
    settings = LimeSettings(**{"samples": 300, "stability": 0.97, **changes})
    rngs = [np.random.default_rng(number) for number in numbers]
    return explain_by_lime(predict_texture, images, pieces, settings, rngs=rngs, device=CPU)


@pytest.mark.parametrize("mode", ["adaptive", "exact"])
def test_what_is_explained_together_changes_nothing(mode: str) -> None:
    together = explain_all([0, 1, 2, 3], mode=mode, batch_size=7)
    alone = [explain_all([number], mode=mode, batch_size=50)[0] for number in range(4)]
    backwards = explain_all([3, 1, 0, 2], mode=mode)
    assert (len({one.n_samples for one in together}) > 1) == (mode == "adaptive")
    for number, one in enumerate(together):
        for other in (alone[number], backwards[[3, 1, 0, 2].index(number)]):
            np.testing.assert_array_equal(one.weights, other.weights)
            np.testing.assert_array_equal(one.keep_mask, other.keep_mask)
            assert (one.n_samples, one.stability) == (other.n_samples, other.stability)


def test_sampling_ends_when_the_mask_is_stable_or_samples_run_out(
    image: np.ndarray, segments: np.ndarray
) -> None:
    found = [
        explain(image, segments, mode="adaptive", samples=600, stability=wanted)
        for wanted in (0.5, 0.8, 0.95, 1.0)
    ]
    counts = [one.n_samples for one in found]
    assert counts == sorted(counts)
    assert counts[0] < counts[2]
    for one, wanted in zip(found, (0.5, 0.8, 0.95, 1.0), strict=True):
        assert one.n_samples == 600 or not one.unstable
        assert one.unstable or one.stability >= wanted
    assert counts[-1] == 600


def test_few_superpixels_are_enumerated_without_repeats(image: np.ndarray) -> None:
    segments = (np.arange(64)[:, None] // 32) * 2 + np.arange(64) // 32  # 4 quarters
    seen: list[torch.Tensor] = []

    def predict(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return predict_texture(images)

    found = explain(image, segments, predict, mode="adaptive", samples=100, stability=0.01)
    shown = torch.cat(seen)
    assert len(shown) == len(torch.unique(shown, dim=0)) == found.n_samples == 16
    assert found.stability == 1
    everything = np.array(list(np.ndindex(2, 2, 2, 2)))[::-1].astype(np.uint8)
    perturbable = Perturbable(image, fill_superpixels(image, segments, "mean"), segments, CPU)
    (targets,) = predict_rows(predict_texture, [(perturbable, everything)], 16)
    targets = softmax(targets, axis=1)[:, found.explained_class]
    model = fit(everything, targets, alpha=0.16)
    np.testing.assert_allclose(found.weights, model.weights, atol=1e-12)


def test_images_without_an_explanation_do_not_stop_the_others(
    image: np.ndarray, segments: np.ndarray
) -> None:
    whole = np.zeros_like(segments)
    settings = LimeSettings(samples=60)
    rngs = [np.random.default_rng(0), np.random.default_rng(0)]
    refused, found = explain_by_lime(
        predict_texture, [image, image], [whole, segments], settings, rngs=rngs, device=CPU
    )
    assert isinstance(refused, ValueError)
    assert isinstance(found, LimeExplanation)


@pytest.mark.parametrize("paired", [False, True])
def test_covariance_is_that_of_repeated_draws(paired: bool) -> None:
    truth = np.random.default_rng(1).normal(size=6)

    def draw(seed: int) -> LocalModel:
        rng = np.random.default_rng(seed)
        rows = draw_rows(201, 6, rng)
        if paired:
            rows[2::2] = 1 - rows[1::2]
        # What a linear model cannot tell: pairs of superpixels, and threes.
        signs = 2.0 * rows - 1
        pairs, threes = signs[:, 0] * signs[:, 1], signs[:, 2] * signs[:, 3] * signs[:, 4]
        targets = rows @ truth + 2 * pairs + threes
        return fit(rows, targets, kernel_width=50.0, paired=paired)

    models = [draw(seed) for seed in range(400)]
    seen = np.cov(np.stack([model.weights for model in models]).T)
    told = np.mean([model.covariance for model in models], axis=0)
    np.testing.assert_allclose(np.diag(told), np.diag(seen), rtol=0.25)
    if paired:  # complements cancel what pairs of superpixels do
        assert np.diag(seen).max() < 0.5 * 4 * (2**2 + 1) / 201
