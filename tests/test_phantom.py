"""One phantom knee: what differs between the classes, and what may not."""

from typing import Any

import numpy as np
import pytest

from osteo_ray.data.phantoms.knee import Knee, render_knee


def render(index: int, **settings: Any) -> Knee:
    return render_knee(np.random.default_rng([7, index]), size_px=64, **settings)


def bone_detail(knee: Knee) -> float:
    """Mean step between horizontal neighbours inside the region."""
    steps = np.abs(np.diff(knee.image.astype(float), axis=1))
    return float(steps[knee.region[:, 1:] & knee.region[:, :-1]].mean())


@pytest.mark.parametrize(("nuisance", "clutter"), [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (0.5, 1.0)])
def test_classes_differ_inside_the_region_only(nuisance: float, clutter: float) -> None:
    # Pixels outside hold all markers, stripes, borders and exposure: those know no class.
    for index in range(12):
        normal, diseased = (
            render(index, osteoporotic=sick, nuisance=nuisance, clutter=clutter)
            for sick in (False, True)
        )
        differ = normal.image != diseased.image
        np.testing.assert_array_equal(normal.region, diseased.region)
        assert not differ[~normal.region].any()
        assert differ[normal.region].mean() > 0.5


def test_clutter_covers_all_but_the_region_with_bone_of_any_kind() -> None:
    outside = []
    for index in range(12):
        plain, covered = (
            render(index, osteoporotic=False, nuisance=0.0, clutter=much) for much in (0.0, 1.0)
        )
        np.testing.assert_array_equal(covered.region, plain.region)
        differ = covered.image != plain.image
        assert differ[~plain.region].mean() > 0.9
        assert differ[plain.region].mean() < 0.5  # at its ends, where disease fades as well
        outside.append(covered.image[~plain.region].mean())
    assert np.std(outside) > 10  # gray values: no two are alike


def test_region_is_bone_near_the_joint() -> None:
    for index in range(12):
        region = render(index, osteoporotic=False, nuisance=0.0).region
        assert 0.1 < region.mean() < 0.5
        assert region[24:40].mean() > 2 * region[[0, 1, 2, -3, -2, -1]].mean()
        assert not region[:, [0, -1]].any()


def test_disease_takes_detail_and_density() -> None:
    for index in range(12):
        normal = render(index, osteoporotic=False, difficulty=0.0, nuisance=0.0)
        diseased = render(index, osteoporotic=True, difficulty=0.0, nuisance=0.0)
        assert bone_detail(diseased) < bone_detail(normal)
        region = normal.region
        assert diseased.image[region].mean() < normal.image[region].mean()


def test_difficulty_scales_the_difference_to_nothing() -> None:
    def difference(difficulty: float) -> float:
        pair = (render(1, osteoporotic=sick, difficulty=difficulty) for sick in (False, True))
        normal, diseased = (knee.image.astype(float) for knee in pair)
        return float(np.abs(normal - diseased).mean())

    differences = [difference(difficulty) for difficulty in (0.0, 0.3, 0.6, 0.9)]
    assert differences == sorted(differences, reverse=True)
    assert differences[-1] > 0.0
    assert difference(1.0) == 0.0


def test_nuisance_disturbs_what_it_should() -> None:
    clean = [render(index, osteoporotic=False, nuisance=0.0) for index in range(20)]
    noisy = [render(index, osteoporotic=False, nuisance=1.0) for index in range(20)]
    brightness = np.array([[knee.image.mean() for knee in knees] for knees in (clean, noisy)])
    assert brightness[1].std() > 1.5 * brightness[0].std()
    constant_rows = [[np.ptp(knee.image[0]) == 0 for knee in knees] for knees in (clean, noisy)]
    assert not any(constant_rows[0])
    assert any(constant_rows[1])


def test_render_is_determined_by_its_generator() -> None:
    first, again, other = (render(index, osteoporotic=True).image for index in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


@pytest.mark.parametrize(
    "settings", [{"difficulty": 3}, {"nuisance": 1.01}, {"size_px": 31}], ids=str
)
def test_render_refuses_bad_arguments(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"Expected {name} to be in .*, but got {settings[name]}"):
        render_knee(np.random.default_rng(0), osteoporotic=True, **settings)
