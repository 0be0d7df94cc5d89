"""Images of stripes: what is said to lie inside, outside and under the masks does."""

from dataclasses import replace

import numpy as np
import pytest

from osteo_ray.explain.settings import LimeSettings
from osteo_ray.explain.superpixels import find_superpixels
from osteo_ray.pipeline.validate.striped_images import (
    CLASSES,
    GRID,
    PATCH_PX,
    REGION,
    SIDE_PX,
    Drawing,
    StripedSet,
    draw_set,
)


def by_patch(values: np.ndarray) -> np.ndarray:
    """(n, SIDE_PX, SIDE_PX) → (n, GRID, GRID, PATCH_PX, PATCH_PX)."""
    parts = values.reshape(-1, GRID, PATCH_PX, GRID, PATCH_PX)
    return parts.transpose(0, 1, 3, 2, 4)


def measure_uprightness(drawn: StripedSet) -> np.ndarray:
    """Say how much more gray changes along rows than along columns: in [-1, 1], per patch.

    -1 or so for lying stripes, 1 for upright ones, 0 for none.
    """
    patches = by_patch(drawn.images.astype(float))
    upright = patches.mean(-2).var(-1)  # stripes of one column each survive the mean over rows
    lying = patches.mean(-1).var(-1)
    return np.asarray((upright - lying) / (upright + lying))


def measure_contrast(drawn: StripedSet) -> np.ndarray:
    """Standard deviation of gray, per patch: (n, GRID, GRID)."""
    return np.asarray(by_patch(drawn.images.astype(float)).std((-2, -1)))


def in_region(drawn: StripedSet) -> np.ndarray:
    return by_patch(drawn.regions)[..., 0, 0]


def kept(drawn: StripedSet) -> np.ndarray:
    return by_patch(drawn.keep_masks)[..., 0, 0]


def signs(drawn: StripedSet) -> np.ndarray:
    return np.where(drawn.labels == "upright", 1, -1)


def test_same_seed_gives_the_same_set() -> None:
    drawing = Drawing(outside="chance", n_images=20, mask="part", unreadable=0.5)
    one, again, other = (draw_set(drawing, seed=seed) for seed in (1, 1, 2))
    for name in vars(one):
        assert np.array_equal(getattr(one, name), getattr(again, name))
    assert not np.array_equal(one.images, other.images)
    assert not np.array_equal(one.labels, other.labels)


def test_shapes_and_balance() -> None:
    drawn = draw_set(Drawing(n_images=30), seed=0)
    assert drawn.images.shape == drawn.keep_masks.shape == (30, SIDE_PX, SIDE_PX)
    assert drawn.images.dtype == np.uint8
    assert drawn.keep_masks.dtype == drawn.regions.dtype == bool
    assert [np.sum(drawn.labels == name) for name in CLASSES] == [15, 15]
    assert drawn.groups.tolist() == list(range(30))
    assert np.all(drawn.regions.sum((1, 2)) == (REGION * PATCH_PX) ** 2)


def test_stripes_in_the_region_run_by_the_class_and_others_by_chance() -> None:
    drawn = draw_set(Drawing(outside="chance", n_images=200), seed=0)
    agreement = measure_uprightness(drawn) * signs(drawn)[:, None, None]
    assert agreement[in_region(drawn)].min() > 0.5
    outside = agreement[~in_region(drawn)]
    assert np.abs(outside).min() > 0.5
    assert np.mean(outside > 0) == pytest.approx(0.5, abs=0.05)


def test_amplitudes_are_those_asked_for() -> None:
    drawn = draw_set(Drawing(outside="chance", n_images=100), seed=0)
    contrast = measure_contrast(drawn)
    # A sine of amplitude a has the standard deviation a / √2; noise of 8 adds in squares.
    region = in_region(drawn)
    assert contrast[region].mean() == pytest.approx(np.hypot(30 / np.sqrt(2), 8), rel=0.05)
    assert contrast[~region].mean() == pytest.approx(np.hypot(50 / np.sqrt(2), 8), rel=0.05)


def test_where_nothing_is_striped_there_is_only_noise() -> None:
    drawn = draw_set(Drawing(n_images=100), seed=0)
    contrast = measure_contrast(drawn)[~in_region(drawn)]
    assert contrast.mean() == pytest.approx(8, rel=0.05)


def test_the_class_can_show_everywhere() -> None:
    drawn = draw_set(Drawing(outside="class", n_images=50), seed=0)
    assert (measure_uprightness(drawn) * signs(drawn)[:, None, None]).min() > 0.5


def test_unreadable_images_say_nothing() -> None:
    drawn = draw_set(Drawing(n_images=200, unreadable=1.0), seed=0)
    agreement = (measure_uprightness(drawn) * signs(drawn)[:, None, None])[in_region(drawn)]
    assert np.mean(agreement > 0) == pytest.approx(0.5, abs=0.05)
    some = draw_set(Drawing(n_images=1000, unreadable=0.2), seed=0)
    agreement = measure_uprightness(some) * signs(some)[:, None, None]
    clear = np.where(in_region(some), agreement, 1).min((1, 2)) > 0
    # Of the unreadable ones, four patches agree with the class in one of 16 by chance.
    assert clear.mean() == pytest.approx(0.8 + 0.2 / 16, abs=0.04)


def test_region_moves_or_stays_in_the_middle() -> None:
    drawing = Drawing(n_images=100)
    assert len(np.unique(draw_set(drawing, seed=0).regions, axis=0)) == (GRID - REGION + 1) ** 2
    fixed = draw_set(replace(drawing, moving=False), seed=0).regions
    assert np.all(fixed == fixed[0])
    assert np.array_equal(fixed[0], fixed[0][::-1, ::-1])


def test_copies_share_class_and_stripes_of_the_region_but_nothing_else() -> None:
    drawing = Drawing(inside="group", outside="any", n_images=60, n_copies=20)
    drawn = draw_set(drawing, seed=0)
    assert np.bincount(drawn.groups).tolist() == [20, 20, 20]
    # The spectrum of a patch forgets where its stripes begin.
    waves = np.abs(np.fft.fft2(by_patch(drawn.images.astype(float) - 64)))
    spectra = (waves / np.sqrt((waves**2).sum((-2, -1), keepdims=True))).reshape(60, GRID, GRID, -1)
    for group in range(3):
        rows = drawn.groups == group
        assert len(set(drawn.labels[rows])) == 1
        assert len(np.unique(drawn.images[rows], axis=0)) == 20
        assert len(np.unique(drawn.regions[rows], axis=0)) > 1
        inside = spectra[rows][in_region(drawn)[rows]]
        outside = spectra[rows][~in_region(drawn)[rows]]
        assert inside.std(0).mean() < 0.7 * outside.std(0).mean()


def test_groups_say_nothing_of_the_class() -> None:
    seeds = range(30)
    drawing = Drawing(inside="group", n_images=40, n_copies=2)
    agreement = [
        (measure_uprightness(drawn) * signs(drawn)[:, None, None])[in_region(drawn)].mean()
        for drawn in (draw_set(drawing, seed=seed) for seed in seeds)
    ]
    assert abs(np.mean(agreement)) < 3 * np.std(agreement) / np.sqrt(len(seeds))


def test_masks_keep_what_they_say() -> None:
    drawing = Drawing(n_images=200)
    sets = {
        mask: draw_set(replace(drawing, mask=mask), seed=0)
        for mask in ("region", "part", "elsewhere", "nearly_all", "outline")
    }
    share = {
        mask: (kept(drawn) & in_region(drawn)).sum((1, 2)) / REGION**2
        for mask, drawn in sets.items()
    }
    area = {mask: np.unique(kept(drawn).sum((1, 2))).tolist() for mask, drawn in sets.items()}
    assert np.array_equal(sets["region"].keep_masks, sets["region"].regions)
    assert np.all(share["part"] == 0.75)
    assert np.all(share["elsewhere"] == 0)
    assert np.all(share["nearly_all"] == 1)
    assert area == {
        "region": [4],
        "part": [3],
        "elsewhere": [4],
        "nearly_all": [15],
        "outline": [4],
    }
    for mask, drawn in sets.items():
        # Whole patches.
        assert np.array_equal(by_patch(drawn.keep_masks).all((-2, -1)), kept(drawn)), mask


def test_outline_is_a_row_or_a_column_by_the_class() -> None:
    drawn = draw_set(Drawing(n_images=100, mask="outline"), seed=0)
    rows, columns = kept(drawn).all(2).sum(1), kept(drawn).all(1).sum(1)
    upright = drawn.labels == "upright"
    assert np.array_equal(columns == 1, upright)
    assert np.array_equal(rows == 1, ~upright)
    assert len(np.unique(drawn.keep_masks, axis=0)) == 2 * GRID


def test_grid_superpixels_are_the_patches() -> None:
    drawn = draw_set(Drawing(n_images=2), seed=0)
    settings = LimeSettings(superpixels="grid", n_superpixels=GRID**2)
    segments = find_superpixels(drawn.images[0], settings)
    assert np.array_equal(
        segments, np.arange(GRID**2).reshape(GRID, GRID).repeat(PATCH_PX, 0).repeat(PATCH_PX, 1)
    )


@pytest.mark.parametrize(("n_images", "n_copies"), [(10, 4), (4, 4), (0, 1)])
def test_groups_that_do_not_fill_are_refused(n_images: int, n_copies: int) -> None:
    with pytest.raises(ValueError, match=f"Expected at least two full groups .* got {n_images}"):
        draw_set(Drawing(n_images=n_images, n_copies=n_copies), seed=0)


def test_masks_by_class_select_one_of_two_kinds_that_images_have_as_many_of() -> None:
    drawn = draw_set(
        Drawing(inside="half", outside="half", mask="by_class", n_images=40, nuisance=50.0), seed=0
    )
    patches = by_patch(drawn.images.astype(float))
    row, column = np.mgrid[:PATCH_PX, :PATCH_PX]
    waves = [
        np.exp(0.5j * np.pi * (row * np.cos(angle) + column * np.sin(angle)))  # 4 px long
        for angle in np.pi / 4 * np.arange(4)
    ]
    patches -= patches.mean((-2, -1), keepdims=True)
    direction = np.argmax([np.abs((patches * wave).sum((-2, -1))) for wave in waves], axis=0)
    straight = direction % 2 == 0
    assert (straight.sum((1, 2)) == GRID**2 // 2).all()
    assert (kept(drawn).sum((1, 2)) == REGION**2).all()
    is_first = (drawn.labels == CLASSES[0])[:, None, None]
    assert (straight == is_first)[kept(drawn)].all()
    assert np.bincount(direction.ravel()).min() > direction.size / 5  # either kind has two
