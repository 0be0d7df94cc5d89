"""Grouping of copies: what must be joined, what must stay apart, and how groups are numbered."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

from osteo_ray.data.copies import digest_pixels, group_copies, make_thumbnail

HEIGHT, WIDTH = 320, 160


def _draw_leg(seed: int) -> np.ndarray:
    """Draw a leg: one coarse layout for all, edges and bone texture of its own; uint8."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    leg = 90 * np.exp(-((column / 0.6) ** 2)) + 60 * np.exp(-((column / 0.3) ** 2))
    joint = 0.05 * rng.normal() + 0.1 * rng.normal() * column + 0.2 * rng.normal() * column**2
    leg -= 60 * np.exp(-(((row - joint) / 0.03) ** 2)) * (np.abs(column) < 0.5)
    for sigma, strength in ((3.0, 10.0), (6.0, 12.0)):
        texture = gaussian_filter(rng.normal(size=leg.shape), sigma)
        leg += strength * texture / texture.std() * (np.abs(column) < 0.6)
    return np.clip(leg + 20, 0, 230).astype(np.uint8)


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def _encode(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=40)
    return np.asarray(Image.open(buffer))


def _group(images: list[np.ndarray], **options: float) -> list[int]:
    digests = [digest_pixels(image) for image in images]
    thumbnails = np.stack([make_thumbnail(image) for image in images])
    return group_copies(digests, thumbnails, **options).tolist()


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": np.copy,
    "shrunk": lambda image: _resize(image, 80, 160),
    "enlarged": lambda image: _resize(image, 400, 800),
    "squashed": lambda image: _resize(image, 128, 128),
    "encoded": _encode,
    "dimmed": lambda image: (image * 0.5 + 10).astype(np.uint8),
    "brightened": lambda image: (image * 0.9 + 25).astype(np.uint8),
    "gamma": lambda image: (255 * (image / 255) ** 0.7).astype(np.uint8),
    "noisy": lambda image: np.clip(
        image + np.random.default_rng(9).normal(0, 5, image.shape), 0, 255
    ).astype(np.uint8),
    "white margin": lambda image: np.pad(image, ((0, 60), (0, 4)), constant_values=255),
    "narrow black margin": lambda image: np.pad(image, ((0, 0), (3, 5))),
    "cut": lambda image: image[4:-6, 3:],
    "shrunk, encoded, dimmed": lambda image: _encode(_resize(image, 128, 256) // 2),
}


@pytest.fixture(scope="module")
def legs() -> list[np.ndarray]:
    return [_draw_leg(seed) for seed in range(12)]


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES.keys())
def test_copy_joins_its_original_only(
    legs: list[np.ndarray], copy: Callable[[np.ndarray], np.ndarray]
) -> None:
    assert _group([*legs[:4], copy(legs[2])]) == [0, 1, 2, 3, 2]


def test_different_legs_stay_apart_though_their_layout_is_one(legs: list[np.ndarray]) -> None:
    naive = np.corrcoef([_resize(leg, 32, 32).ravel().astype(float) for leg in legs])
    assert naive.min() > 0.8, "the synthetic legs are too easy to tell apart"
    assert _group(legs) == list(range(len(legs)))


def test_low_threshold_joins_different_legs(legs: list[np.ndarray]) -> None:
    assert len(set(_group(legs, threshold=0.01))) < len(legs)


def test_joins_chain() -> None:
    rng = np.random.default_rng(3)
    field = gaussian_filter(rng.normal(size=(HEIGHT, 5 * WIDTH)), 5)
    field = ((field - field.min()) / np.ptp(field) * 255).astype(np.uint8)
    steps = [field[:, start : start + WIDTH] for start in range(0, 40, 4)]
    assert _group([steps[0], steps[-1]]) == [0, 1]
    assert _group(steps) == [0] * len(steps)


def test_groups_are_numbered_by_first_appearance(legs: list[np.ndarray]) -> None:
    order = [5, 2, 5, 7, 2, 0, 5]
    images = [_encode(legs[leg]) if place % 2 else legs[leg] for place, leg in enumerate(order)]
    assert _group(images) == [0, 1, 0, 2, 1, 3, 0]


@pytest.mark.parametrize("block_size", [1, 2, 5, 17, 18, 100])
def test_blocks_do_not_change_the_groups(legs: list[np.ndarray], block_size: int) -> None:
    copies = [COPIES["cut"](leg) for leg in legs[::2]]
    images = [*copies, *legs]
    digests = [digest_pixels(image) for image in images]
    thumbnails = np.stack([make_thumbnail(image) for image in images])
    direct = group_copies(digests, thumbnails, block_size=block_size)
    assert direct.dtype == np.int64
    assert direct.tolist() == [0, 1, 2, 3, 4, 5, 0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]


def test_groups_are_the_components_of_the_full_product() -> None:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(6, 4096))
    rows = centres[rng.integers(0, 6, 40)] + 0.2 * rng.normal(size=(40, 4096))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.argmax(rows @ rows.T > 0.9, axis=1)
    found = group_copies([str(row) for row in range(40)], rows.astype(np.float32), block_size=7)
    assert np.array_equal(found[:, None] == found, expected[:, None] == expected)


def test_constant_images_join_equal_ones_only() -> None:
    grey, white = np.full((40, 30), 128, np.uint8), np.full((40, 30), 255, np.uint8)
    assert not make_thumbnail(grey).any()
    assert not make_thumbnail(white).any()
    assert _group([grey, white, grey, np.full((80, 60), 128, np.uint8)]) == [0, 1, 0, 2]


def test_equal_digests_join_whatever_the_thumbnails_say(legs: list[np.ndarray]) -> None:
    thumbnails = np.stack([make_thumbnail(leg) for leg in legs[:3]])
    assert group_copies(["a", "b", "a"], thumbnails).tolist() == [0, 1, 0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 2), (2000, 10)])
def test_thumbnail_is_unit_or_zero_at_any_size(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    thumbnail = make_thumbnail(image)
    assert thumbnail.shape == (4096,)
    assert thumbnail.dtype == np.float32
    assert thumbnail.mean() == pytest.approx(0, abs=1e-6)
    assert np.linalg.norm(thumbnail) == pytest.approx(0 if image.size == 1 else 1, abs=1e-5)


def test_digest_sees_pixels_and_shape_but_not_memory_layout(legs: list[np.ndarray]) -> None:
    leg = legs[0]
    changed = leg.copy()
    changed[7, 5] += 1
    assert digest_pixels(np.asfortranarray(leg)) == digest_pixels(leg)
    assert digest_pixels(changed) != digest_pixels(leg)
    assert digest_pixels(leg.reshape(WIDTH, HEIGHT)) != digest_pixels(leg)


def test_mirrored_copy_is_not_found(legs: list[np.ndarray]) -> None:
    """A known limit, and a needed one: a left knee is much like a mirrored right knee."""
    assert _group([legs[0], legs[0][:, ::-1]]) == [0, 1]


def test_large_shift_is_not_a_copy(legs: list[np.ndarray]) -> None:
    assert _group([legs[0], shift(legs[0], (60, 0), order=0)]) == [0, 1]


def test_bad_input_is_named() -> None:
    thumbnails = np.zeros((2, 4096), np.float32)
    with pytest.raises(ValueError, match="Expected at least one image, but got none"):
        group_copies([], thumbnails[:0])
    with pytest.raises(ValueError, match=r"Expected thumbnails .*\(3, 4096\).* but got \(2, 4096"):
        group_copies(["a", "b", "c"], thumbnails)
    with pytest.raises(ValueError, match=r"Expected thumbnails .* but got \(2, 7\)"):
        group_copies(["a", "b"], thumbnails[:, :7])
    for threshold in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"Expected threshold .* but got"):
            group_copies(["a", "b"], thumbnails, threshold=threshold)
    with pytest.raises(ValueError, match=r"Expected block_size .* but got 0"):
        group_copies(["a", "b"], thumbnails, block_size=0)
    for image in (np.zeros((2, 2)), np.zeros((2, 2, 3), np.uint8), np.zeros((0, 4), np.uint8)):
        for function in (digest_pixels, make_thumbnail):
            with pytest.raises(ValueError, match=r"Expected image to be a uint8 array .* but got"):
                function(image)
