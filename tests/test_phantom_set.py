"""Sets of phantom knees: counts, copies of every kind, conflicts, and what lands on disk."""

import csv
import hashlib
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from osteo_ray.data.phantoms import sets
from osteo_ray.data.phantoms.copying import copy_knee
from osteo_ray.data.phantoms.knee import Knee, render_knee
from osteo_ray.data.phantoms.sets import CLASSES, Phantom, make_phantoms, write_phantoms
from osteo_ray.data.settings import COPY_KINDS, PhantomSettings

SMALL: dict[str, Any] = {"n_images": 24, "size_px": 40, "seed": 3}


def make(**settings: Any) -> list[Phantom]:
    return list(make_phantoms(PhantomSettings(**settings)))


def make_extreme(**settings: Any) -> list[Phantom]:
    """Make a set that no comparison could use, such as one with a single class."""
    return list(make_phantoms(PhantomSettings.model_construct(**settings)))


def equal(one: Phantom, other: Phantom) -> bool:
    values = ((getattr(one, f.name), getattr(other, f.name)) for f in fields(Phantom))
    return all(np.array_equal(a, b) for a, b in values)


def copy(kind: str, seed: int = 0) -> tuple[Knee, Knee]:
    """Return a knee of 96 px and a copy of it."""
    knee = render_knee(np.random.default_rng(2), osteoporotic=True, size_px=96, nuisance=1.0)
    return knee, copy_knee(np.random.default_rng(seed), knee, kind)


def test_data_set_is_determined_by_its_seed() -> None:
    first, again = make(**SMALL), make(**SMALL)
    assert all(map(equal, first, again))
    other = make(**SMALL | {"seed": 4})
    assert not any(np.array_equal(a.image, b.image) for a, b in zip(first, other, strict=True))


def test_an_original_does_not_depend_on_the_size_of_the_set() -> None:
    short = make_extreme(n_images=12, size_px=40, duplicate_share=0.0, positive_share=0.0)
    long = make_extreme(n_images=30, size_px=40, duplicate_share=0.0, positive_share=0.0)
    assert all(map(equal, short, long[: len(short)]))


@pytest.mark.parametrize(
    ("n_images", "positive_share", "duplicate_share"),
    [(1, 1.0, 0.2), (10, 0.5, 0.2), (31, 0.3, 0.4), (20, 0.0, 0.95), (20, 0.5, 0.9), (8, 1.0, 0.0)],
)
def test_counts_are_exact_and_copies_resolve(
    n_images: int, positive_share: float, duplicate_share: float
) -> None:
    phantoms = make_extreme(
        n_images=n_images,
        size_px=32,
        positive_share=positive_share,
        duplicate_share=duplicate_share,
    )
    by_name = {phantom.name: phantom for phantom in phantoms}
    copies = [phantom for phantom in phantoms if phantom.copy_of is not None]
    labels = Counter(phantom.label for phantom in phantoms)
    assert len(by_name) == n_images
    assert labels["osteoporosis"] == round(n_images * positive_share)
    assert labels["normal"] == n_images - labels["osteoporosis"]
    assert len(copies) == round(n_images * duplicate_share)
    for copy in copies:
        source = by_name[str(copy.copy_of)]
        assert source.label == copy.label
        assert source.copy_of is None


def test_copies_are_of_the_usual_kinds_unless_told_otherwise() -> None:
    phantoms = make(n_images=60, size_px=32, duplicate_share=0.5)
    kinds = Counter(phantom.copy_kind for phantom in phantoms if phantom.copy_of is not None)
    assert set(kinds) == {"exact", "reencoded", "resized"}
    assert min(kinds.values()) > 4
    assert all(p.copy_kind is None for p in phantoms if p.copy_of is None)
    assert PhantomSettings().copy_kinds == ("exact", "reencoded", "resized")


def test_copies_look_like_their_source() -> None:
    phantoms = make(n_images=80, size_px=40, duplicate_share=0.5, copy_kinds=COPY_KINDS)
    by_name = {phantom.name: phantom for phantom in phantoms}
    size, seen = (32, 32), set()
    for one in by_name.values():
        assert one.image.dtype == np.uint8
        assert one.region.dtype == bool
        assert one.image.shape == one.region.shape
        if one.copy_of is None or one.copy_kind == "mirrored":
            continue
        seen.add(one.copy_kind)
        pair = [
            Image.fromarray(p.image).resize(size, Image.Resampling.BOX)
            for p in (one, by_name[one.copy_of])
        ]
        assert np.corrcoef([np.asarray(image, float).ravel() for image in pair])[0, 1] > 0.7
        assert one.region.mean() == pytest.approx(by_name[one.copy_of].region.mean(), abs=0.1)
    assert seen == {*COPY_KINDS} - {"mirrored"}


def test_exact_copy() -> None:
    knee, same = copy("exact")
    np.testing.assert_array_equal(same.image, knee.image)
    np.testing.assert_array_equal(same.region, knee.region)


def test_reencoded_copy_has_lost_a_little() -> None:
    knee, again = copy("reencoded")
    difference = np.abs(again.image.astype(float) - knee.image)
    assert 0.5 < difference.mean() < 10
    np.testing.assert_array_equal(again.region, knee.region)


def test_resized_copy_has_another_size() -> None:
    sides = [copy("resized", seed)[1].image.shape for seed in range(60)]
    assert all(height == width for height, width in sides)
    heights = [height for height, _ in sides]
    assert 58 <= min(heights) < 66
    assert 146 < max(heights) <= 154
    assert 96 not in heights
    knee, small = next(copy("resized", seed) for seed in range(60) if heights[seed] < 70)
    box = np.asarray(Image.fromarray(knee.image).resize(small.image.shape, Image.Resampling.BOX))
    assert np.abs(box.astype(float) - small.image).mean() < 6
    assert small.region.mean() == pytest.approx(knee.region.mean(), abs=0.01)


def test_brightness_is_one_curve_for_all_pixels() -> None:
    for seed in range(10):
        knee, other = copy("brightness", seed)
        assert (knee.image != other.image).mean() > 0.3
        curve = [np.unique(other.image[knee.image == gray]) for gray in np.unique(knee.image)]
        assert all(len(values) == 1 for values in curve)
        assert (np.diff([int(values[0]) for values in curve]) >= 0).all()
        np.testing.assert_array_equal(other.region, knee.region)


def test_cropped_copy_is_a_slice() -> None:
    for seed in range(10):
        knee, part = copy("cropped", seed)
        height, width = part.image.shape
        assert min(height, width) >= 96 - 14
        assert min(height, width) < 96
        found = [
            (top, left)
            for top in range(97 - height)
            for left in range(97 - width)
            if np.array_equal(knee.image[top : top + height, left : left + width], part.image)
        ]
        assert found
        top, left = found[0]
        assert max(top, left, 96 - height - top, 96 - width - left) <= 7  # 8 % of 96
        region = knee.region[top : top + height, left : left + width]
        np.testing.assert_array_equal(part.region, region)


def test_mirrored_copy_is_flipped() -> None:
    knee, mirrored = copy("mirrored")
    np.testing.assert_array_equal(mirrored.image, np.fliplr(knee.image))
    np.testing.assert_array_equal(mirrored.region, np.fliplr(knee.region))


def test_rotated_copy_has_black_corners_outside_the_region() -> None:
    for seed in range(10):
        white = Knee(np.full((101, 101), 255, np.uint8), np.ones((101, 101), bool))
        turned = copy_knee(np.random.default_rng(seed), white, "rotated")
        corners = turned.image[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert not corners.any()
        assert not turned.region[turned.image == 0].any()
        assert turned.region[30:70, 30:70].all()


def test_rotation_goes_either_way_by_one_to_four_degrees() -> None:
    bar = Knee(np.zeros((201, 201), np.uint8), np.zeros((201, 201), bool))
    bar.image[:, 98:103] = 255
    angles = []
    for seed in range(30):
        turned = copy_knee(np.random.default_rng(seed), bar, "rotated").image.astype(float)
        columns = np.arange(201)
        top, bottom = (row @ columns / row.sum() for row in (turned[50], turned[150]))
        angles.append(np.degrees(np.arctan((bottom - top) / 100)))
    assert np.abs(angles).min() > 0.9
    assert np.abs(angles).max() < 4.1
    assert 5 < np.sum(np.array(angles) > 0) < 25


def test_kinds_change_copies_only() -> None:
    usual = make(**SMALL)
    other = make(**SMALL, copy_kinds=("rotated", "mirrored"))
    for one, two in zip(usual, other, strict=True):
        assert (one.name, one.copy_of) == (two.name, two.copy_of)
        assert equal(one, two) == (one.copy_of is None)
    again = make(**SMALL, copy_kinds=["mirrored", "rotated"])  # the order says nothing
    assert all(map(equal, other, again))


def test_conflicts_are_copies_in_the_other_class() -> None:
    settings: dict[str, Any] = {"n_images": 50, "size_px": 32, "duplicate_share": 0.4}
    kinds = {"copy_kinds": ["exact"]}
    phantoms = make(**settings, **kinds, conflict_share=0.3)
    by_name = {phantom.name: phantom for phantom in phantoms}
    copies = [phantom for phantom in phantoms if phantom.copy_of is not None]
    conflicts = [one for one in copies if by_name[str(one.copy_of)].label != one.label]
    assert (len(copies), len(conflicts)) == (20, 6)
    assert Counter(phantom.label for phantom in phantoms) == {"normal": 25, "osteoporosis": 25}
    for one in copies:  # the disease is that of the original, whatever the folder says
        np.testing.assert_array_equal(one.image, by_name[str(one.copy_of)].image)
    clean = make(**settings, **kinds)
    assert all(equal(a, b) for a, b in zip(clean, phantoms, strict=True) if b not in conflicts)


def test_names_give_nothing_away_beyond_the_folder() -> None:
    names = [phantom.name for phantom in make(**SMALL)]
    assert [name.split("/")[1] for name in names] == [f"knee-{i:05d}.png" for i in range(24)]
    positive = [name.startswith("osteoporosis/") for name in names]
    assert 0 < sum(positive[:12]) < 12  # the order of the numbers is not that of the classes


def test_written_files_read_back_equal(tmp_path: Path) -> None:
    write_phantoms(tmp_path, PhantomSettings(**SMALL))
    phantoms = make(**SMALL)
    modes: Counter[str] = Counter()
    for phantom in phantoms:
        with Image.open(tmp_path / "images" / phantom.name) as image:
            modes[image.mode] += 1
            np.testing.assert_array_equal(np.asarray(image.convert("L")), phantom.image)
        with Image.open(tmp_path / "regions" / phantom.name) as mask:
            assert mask.mode == "L"
            np.testing.assert_array_equal(np.asarray(mask), np.where(phantom.region, 255, 0))
    with (tmp_path / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {
            "name": p.name,
            "label": p.label,
            "copy_of": p.copy_of or "",
            "copy_kind": p.copy_kind or "",
        }
        for p in phantoms
    ]
    assert set(modes) == {"L", "RGB"}
    assert len(list((tmp_path / "images").rglob("*.png"))) == len(phantoms)
    assert {folder.name for folder in (tmp_path / "images").iterdir()} == set(CLASSES)


def test_written_bytes_are_determined_by_the_seed(tmp_path: Path) -> None:
    def digest(folder: Path, seed: int) -> str:
        write_phantoms(folder, PhantomSettings(**SMALL | {"seed": seed}))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()

    first = digest(tmp_path / "a", seed=3)
    assert digest(tmp_path / "b", seed=3) == first
    assert digest(tmp_path / "c", seed=4) != first


def test_writing_refuses_to_mix_with_what_is_there(tmp_path: Path) -> None:
    write_phantoms(tmp_path, PhantomSettings(n_images=4, size_px=32))
    with pytest.raises(FileExistsError, match="Remove it first"):
        write_phantoms(tmp_path, PhantomSettings(n_images=4, size_px=32, seed=1))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("difficulty", 3, "less than or equal to 1"),
        ("nuisance", -0.1, "greater than or equal to 0"),
        ("positive_share", 1.5, "less than 1"),
        ("conflict_share", 2, "less than or equal to 1"),
        ("copy_kinds", ["croped"], "'cropped'"),
        ("copy_kinds", [], "at least 1 item"),
        ("duplicate_share", float("nan"), "finite number"),
        ("duplicate_share", 1.0, "less than or equal to 0.5"),
        ("n_images", 0, "greater than or equal to 4"),
        ("n_images", 10**7, "less than or equal to 1000000"),
        ("size_px", 8, "greater than or equal to 32"),
        ("size_px", 5000, "less than or equal to 4096"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", 2**63, "less than 9223372036854775808"),
    ],
)
def test_settings_out_of_range(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PhantomSettings(**SMALL | {name: value})
    assert name in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"conflict_share": 1, "positive_share": 0},
            "Expected images of both classes for a conflict_share of 1, but positive_share is 0",
        ),
        ({"duplicate_share": 1.0}, "an original in each class, but got 1.0: 24 copies among 24"),
    ],
)
def test_settings_that_contradict_each_other_fail_before_the_first_image(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given = PhantomSettings.model_construct(**SMALL | settings)
    with pytest.raises(ValueError, match=message):
        make_phantoms(given)
    with pytest.raises(ValueError, match=message):
        write_phantoms(tmp_path, given)
    assert not list(tmp_path.iterdir())


def test_unknown_kinds_of_copies_are_named() -> None:
    knee = Knee(np.zeros((40, 40), np.uint8), np.zeros((40, 40), bool))
    with pytest.raises(ValueError, match=r"but got `croped`\. Did you mean `cropped`\?"):
        copy_knee(np.random.default_rng(0), knee, "croped")


def test_film_of_two_knees_shows_the_labelled_one_and_another() -> None:
    """The labelled knee is as it is alone; the other says nothing about the label."""
    both, alone = (
        make(n_images=60, size_px=32, nuisance=0.0, duplicate_share=0.0, bilateral=bilateral)
        for bilateral in (True, False)
    )
    sides = set()
    for film, knee in zip(both, alone, strict=True):
        assert film.image.shape == film.region.shape == (32, 64)
        halves = [np.s_[:, :32], np.s_[:, 32:]]
        (side,) = (n for n, half in enumerate(halves) if (film.image[half] == knee.image).all())
        sides.add(side)
        assert (film.region[halves[side]] == knee.region).all()
        assert not film.region[halves[1 - side]].any()
        assert film.label == knee.label
    assert sides == {0, 1}


def test_beside_either_class_about_half_of_the_knees_are_ill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[bool] = []

    def note(rng: np.random.Generator, **settings: Any) -> Knee:
        drawn.append(settings["osteoporotic"])
        return render_knee(rng, **settings)

    monkeypatch.setattr(sets, "render_knee", note)
    films = make(n_images=200, size_px=32, duplicate_share=0.0, bilateral=True)
    labelled, beside = np.array(drawn).reshape(-1, 2).T
    assert labelled.tolist() == [film.label == "osteoporosis" for film in films]
    for ill in (True, False):
        assert 0.35 < beside[labelled == ill].mean() < 0.65
