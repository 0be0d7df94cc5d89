"""Likeness of two images: what counts as a copy, what does not, and how images are described."""

import tracemalloc
from itertools import combinations

import cv2
import numpy as np
import pytest

from osteo_ray.data.copies import likeness as copies
from osteo_ray.data.copies.codebook import Codebook, fit_codebook
from osteo_ray.data.copies.keypoints import (
    COPY_CHANGES,
    CopyChange,
    Keypoints,
    find_keypoints,
    pack_keypoints,
    unpack_keypoints,
)
from osteo_ray.data.copies.likeness import COPY_LIKENESS, Seen, measure_likeness
from osteo_ray.data.copies.thumbnails import SIDE, make_thumbnail
from osteo_ray.data.decoding.identity import digest_pixels
from osteo_ray.data.phantoms.copying import copy_knee
from osteo_ray.data.phantoms.knee import Knee, render_knee
from osteo_ray.data.settings import COPY_KINDS

BLANK = np.zeros((SIDE, SIDE), np.uint8)
BOTH = COPY_CHANGES[:2]


def mirror(thumbnail: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(thumbnail[:, ::-1])


def compare(one: np.ndarray, other: np.ndarray) -> float:
    return measure_likeness(Seen.look(one), Seen.look(other))


def fit(thumbnails: np.ndarray) -> Codebook:
    return fit_codebook([*map(find_keypoints, thumbnails)], BOTH, words=128, dimensions=256)


def encode(codebook: Codebook, thumbnails: np.ndarray) -> np.ndarray:
    return codebook.encode([*map(find_keypoints, thumbnails)], BOTH)


@pytest.fixture(scope="module")
def knees() -> list[Knee]:
    return [
        render_knee(np.random.default_rng([5, i]), osteoporotic=bool(i % 2), size_px=128)
        for i in range(20)
    ]


@pytest.fixture(scope="module")
def thumbnails(knees: list[Knee]) -> np.ndarray:
    return np.stack([make_thumbnail(knee.image) for knee in knees])


@pytest.fixture(scope="module")
def codebook(thumbnails: np.ndarray) -> Codebook:
    return fit(thumbnails)


def test_digest_sees_pixels_and_shape_but_not_memory_layout(knees: list[Knee]) -> None:
    image = knees[0].image
    changed = image.copy()
    changed[7, 5] ^= 1
    assert digest_pixels(np.asfortranarray(image)) == digest_pixels(image)
    assert digest_pixels(changed) != digest_pixels(image)
    assert digest_pixels(image.reshape(64, 256)) != digest_pixels(image)


@pytest.mark.parametrize("shape", [(1, 50), (3, 2), (112, 112), (2000, 10), (300, 260)])
def test_thumbnail_spans_the_range_at_any_size(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 200, shape, dtype=np.uint8)
    thumbnail = make_thumbnail(image)
    assert thumbnail.shape == (SIDE, SIDE)
    assert thumbnail.dtype == np.uint8
    assert (thumbnail.min(), thumbnail.max()) == (0, 255)


@pytest.mark.parametrize("gray", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (40, 30), (300, 300)])
def test_thumbnail_of_a_constant_image_is_zero(gray: int, shape: tuple[int, int]) -> None:
    assert not make_thumbnail(np.full(shape, gray, np.uint8)).any()


def test_white_margins_do_not_matter(knees: list[Knee]) -> None:
    image = np.minimum(knees[0].image, 200)
    wider = np.pad(image, ((0, 60), (4, 9)), constant_values=255)
    assert compare(make_thumbnail(wider), make_thumbnail(image)) > COPY_LIKENESS


def test_thumbnail_does_not_see_a_linear_change_of_gray(knees: list[Knee]) -> None:
    image = knees[0].image // 2
    assert np.abs(make_thumbnail(image).astype(int) - make_thumbnail(image + 60)).max() <= 1


@pytest.mark.parametrize("function", [digest_pixels, make_thumbnail])
@pytest.mark.parametrize(
    "image", [np.zeros((2, 2)), np.zeros((2, 2, 3), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_bad_images_are_named(function: object, image: np.ndarray) -> None:
    assert callable(function)
    with pytest.raises(ValueError, match=r"Expected image to be a uint8 array .* but got"):
        function(image)


def test_codebook_is_determined_by_its_thumbnails(
    thumbnails: np.ndarray, codebook: Codebook
) -> None:
    again = fit(thumbnails)
    for name in ("words", "mean", "projection"):
        np.testing.assert_array_equal(getattr(again, name), getattr(codebook, name))
    np.testing.assert_array_equal(encode(again, thumbnails), encode(codebook, thumbnails))


def test_vectors_have_norm_one(thumbnails: np.ndarray, codebook: Codebook) -> None:
    vectors = encode(codebook, thumbnails)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(thumbnails), 2, codebook.projection.shape[1])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), 1, atol=1e-5)


def test_vectors_are_projected_sums_of_how_keypoints_differ_from_their_words() -> None:
    rng = np.random.default_rng(0)
    found = rng.random((6, 30, 128), np.float32)
    images = [Keypoints(np.zeros((30, 2), np.float32), rows / 8) for rows in found]
    codebook = fit_codebook(images, COPY_CHANGES, words=7, dimensions=5)
    vectors = codebook.encode(images, COPY_CHANGES)
    for image, of_image in zip(images, vectors, strict=True):
        for change, vector in zip(COPY_CHANGES, of_image, strict=True):
            sums = np.zeros((7, 128))
            for keypoint in change.permute(image.descriptors).astype(np.float64):
                nearest = np.argmin(np.sum((codebook.words - keypoint) ** 2, axis=1))
                sums[nearest] += keypoint - codebook.words[nearest]
            sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
            counts = sums.ravel() / np.linalg.norm(sums)
            expected = (counts - codebook.mean) @ codebook.projection
            np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-4)


def test_learning_words_does_not_hold_the_keypoints_of_all_forms() -> None:
    rng = np.random.default_rng(0)
    points = np.zeros((200, 2), np.float32)
    images = [Keypoints(points, rng.random((200, 128), np.float32)) for _ in range(100)]
    n_bytes = len(COPY_CHANGES) * sum(image.descriptors.nbytes for image in images)
    assert n_bytes > 140e6
    tracemalloc.start()
    try:
        fit_codebook(images, COPY_CHANGES, words=2, dimensions=2)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < n_bytes / 2  # a sample of 40 000 keypoints, and what faiss makes of it


def test_vectors_do_not_depend_on_what_is_encoded_with_them(
    thumbnails: np.ndarray, codebook: Codebook
) -> None:
    together = encode(codebook, np.concatenate([thumbnails[:5], BLANK[None]]))
    for row, thumbnail in enumerate(thumbnails[:5]):
        np.testing.assert_allclose(encode(codebook, thumbnail[None])[0], together[row], atol=1e-5)
    assert not together[5].any()


def test_mirrored_vector_is_that_of_the_mirror_image(
    thumbnails: np.ndarray, codebook: Codebook
) -> None:
    seen = encode(codebook, thumbnails)
    turned = encode(codebook, np.stack([mirror(thumbnail) for thumbnail in thumbnails]))
    assert np.sum(seen * turned[:, ::-1], axis=2).min() > 0.8


def test_vectors_of_copies_are_nearer_than_those_of_others(
    knees: list[Knee], thumbnails: np.ndarray, codebook: Codebook
) -> None:
    vectors = encode(codebook, thumbnails)[:, 0]
    for kind in COPY_KINDS:
        nearest = []
        for index, knee in enumerate(knees):
            other = copy_knee(np.random.default_rng([9, index]), knee, kind)
            queries = encode(codebook, make_thumbnail(other.image)[None])[0]
            nearest.append(np.argmax(vectors @ queries[int(kind == "mirrored")]) == index)
        assert sum(nearest) >= 19, kind


def test_blank_images_have_no_vector(thumbnails: np.ndarray, codebook: Codebook) -> None:
    vectors = encode(codebook, np.stack([BLANK, thumbnails[0]]))
    assert not vectors[0].any()
    assert vectors[1].any()


@pytest.mark.parametrize("n_images", [1, 3])
def test_codebook_of_blank_images_works(n_images: int, thumbnails: np.ndarray) -> None:
    learned = fit(np.stack([BLANK] * n_images))
    assert not encode(learned, np.stack([BLANK, thumbnails[0]])).any()


def test_codebook_of_one_or_two_images_works(thumbnails: np.ndarray) -> None:
    for chosen in (thumbnails[:1], thumbnails[:2], np.stack([thumbnails[0], BLANK])):
        assert np.isfinite(encode(fit(chosen), chosen)).all()


def test_codebook_needs_a_thumbnail() -> None:
    with pytest.raises(ValueError, match="Expected at least one image, but got none"):
        fit(np.zeros((0, SIDE, SIDE), np.uint8))


@pytest.mark.parametrize("kind", COPY_KINDS)
def test_copies_are_alike_whichever_comes_first(
    kind: str, knees: list[Knee], thumbnails: np.ndarray
) -> None:
    found = []
    for index, (knee, thumbnail) in enumerate(zip(knees, thumbnails, strict=True)):
        other = make_thumbnail(copy_knee(np.random.default_rng([9, index]), knee, kind).image)
        other = mirror(other) if kind == "mirrored" else other
        likeness = compare(thumbnail, other)
        assert compare(other, thumbnail) == pytest.approx(likeness, abs=0.03)
        found.append(likeness >= COPY_LIKENESS)
    assert sum(found) >= 19


@pytest.mark.parametrize("size_px", [64, 96, 112])
def test_encoded_copies_of_small_images_are_alike(size_px: int) -> None:
    # At these sizes a thumbnail would show grain that no JPEG keeps.
    found = []
    for index in range(20):
        rng = np.random.default_rng([6, index])
        knee = render_knee(rng, osteoporotic=False, size_px=size_px)
        pair = [make_thumbnail(k.image) for k in (knee, copy_knee(rng, knee, "reencoded"))]
        found.append(compare(*pair) >= COPY_LIKENESS)
    assert sum(found) >= (16 if size_px == 64 else 18)


def test_an_image_is_wholly_like_itself(thumbnails: np.ndarray) -> None:
    for thumbnail in thumbnails:
        assert compare(thumbnail, thumbnail) == pytest.approx(1, abs=1e-3)


def test_different_knees_are_not_copies(thumbnails: np.ndarray) -> None:
    naive = np.corrcoef(thumbnails[:, ::4, ::4].reshape(len(thumbnails), -1))
    assert np.median(naive) > 0.6, "the knees are too easy to tell apart"
    for one, other in combinations(thumbnails[:14], 2):
        assert compare(one, other) < COPY_LIKENESS
        assert compare(one, mirror(other)) < COPY_LIKENESS


def test_blank_images_are_like_nothing(thumbnails: np.ndarray) -> None:
    for one, other in ((BLANK, BLANK), (BLANK, thumbnails[0]), (thumbnails[0], BLANK)):
        assert compare(one, other) < COPY_LIKENESS


def test_rescaled_map_does_the_same_to_larger_images() -> None:
    # A smooth image, drawn at two sizes; warping and enlarging must commute.
    def draw(side: int) -> np.ndarray:
        row, column = (np.mgrid[:side, :side] + 0.5) / side
        wave = 100 + 50 * np.sin(9 * column + 3 * row) + 40 * np.cos(7 * row - 2 * column)
        return np.asarray(wave, np.float32)

    def warp(image: np.ndarray, transform: np.ndarray) -> np.ndarray:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(image, transform, image.shape[::-1], flags=flags))

    small = np.array([[1.05, -0.04, 1.3], [0.06, 0.93, -2.1]], np.float32)
    large = copies._rescale(small, 3)
    by_hand = warp(draw(64), small)
    enlarged = warp(draw(192), large)
    reduced = enlarged.reshape(64, 3, 64, 3).mean(axis=(1, 3))
    inner = np.s_[8:-8, 8:-8]
    assert np.abs(by_hand - reduced)[inner].max() < 0.5
    np.testing.assert_allclose(copies._rescale(large, 1 / 3), small, atol=1e-5)
    # A pixel's centre lies at whole numbers: enlarging by 3 takes (0, 0) to (1, 1).
    shift = np.array([[1, 0, 2], [0, 1, -1]], np.float32)
    np.testing.assert_allclose(copies._rescale(shift, 3), [[1, 0, 6], [0, 1, -3]])
    point = np.array([10.0, 20.0, 1.0])
    np.testing.assert_allclose(
        large @ [*(3 * point[:2] + 1), 1], 3 * (small @ point) + 1, atol=1e-4
    )


# Keypoints


@pytest.mark.parametrize("change", COPY_CHANGES)
def test_changes_of_keypoints_are_those_of_the_image(
    change: CopyChange, thumbnails: np.ndarray
) -> None:
    seen, changed = Seen.look(thumbnails[0]).change(change), Seen.look(change.apply(thumbnails[0]))
    points, other = seen.keypoints.points, changed.keypoints.points
    apart = np.abs(points[:, None] - other).max(axis=2)
    near = apart.argmin(axis=1)
    met = apart.min(axis=1) < 1
    assert met.mean() > 0.8
    alike = seen.keypoints.descriptors * changed.keypoints.descriptors[near]
    assert np.median(alike.sum(axis=1)[met]) > 0.99
    np.testing.assert_array_equal(seen.thumbnail, changed.thumbnail)


@pytest.mark.parametrize("change", COPY_CHANGES)
def test_changes_are_undone(change: CopyChange, thumbnails: np.ndarray) -> None:
    again = change.undo().apply(change.apply(thumbnails[1]))
    np.testing.assert_array_equal(again, thumbnails[1])
    assert len({one.describe() for one in COPY_CHANGES}) == len(COPY_CHANGES)


def test_stored_keypoints_are_nearly_the_same(thumbnails: np.ndarray) -> None:
    found = find_keypoints(thumbnails[0])
    again = unpack_keypoints(pack_keypoints(found, SIDE), SIDE)
    assert len(again.points) == min(100, len(found.points))
    np.testing.assert_allclose(again.points, found.points[:100], atol=0.25)
    np.testing.assert_allclose(again.descriptors, found.descriptors[:100], atol=0.002)
    assert len(unpack_keypoints(pack_keypoints(find_keypoints(BLANK), SIDE), SIDE).points) == 0


# Severe kinds


def _segment(image: np.ndarray, tall: float, wide: float) -> np.ndarray:
    row, column = np.ogrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
    return np.where(np.hypot(row / tall, column / wide) < 1, image, 0).astype(np.uint8)


@pytest.mark.parametrize(
    "kind",
    [
        lambda image: image[19:-19, 19:-19],  # 15 % a side
        lambda image: image[:, 26:],  # 20 % of one side
        lambda image: np.pad(image, 19),
        lambda image: np.pad(image, 32),
        lambda image: _segment(image, 0.9, 0.8),
    ],
    ids=["cropped", "cut", "padded", "padded more", "segmented"],
)
def test_severe_copies_are_alike(kind: object, knees: list[Knee], thumbnails: np.ndarray) -> None:
    assert callable(kind)
    found = [
        compare(thumbnail, make_thumbnail(kind(knee.image)))
        for knee, thumbnail in zip(knees, thumbnails, strict=True)
    ]
    assert sum(likeness >= COPY_LIKENESS for likeness in found) >= 19
    others = [
        compare(thumbnails[row], make_thumbnail(kind(knees[row - 1].image))) for row in range(9)
    ]
    assert max(others) < COPY_LIKENESS


def test_two_segmentations_of_one_knee_are_alike(knees: list[Knee]) -> None:
    pairs = [
        compare(
            *(make_thumbnail(_segment(knee.image, *axes)) for axes in ((0.95, 0.7), (0.7, 0.9)))
        )
        for knee in knees
    ]
    assert sum(likeness >= COPY_LIKENESS for likeness in pairs) >= 18
