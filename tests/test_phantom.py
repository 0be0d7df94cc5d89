"""Phantom knees: what differs between the classes, what may not, and what lands on disk."""

import csv
import hashlib
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from osteo_ray.data.phantom import (
    CLASSES,
    Knee,
    Phantom,
    make_phantoms,
    render_knee,
    write_phantoms,
)

SMALL: dict[str, Any] = {"n_images": 24, "size_px": 40, "seed": 3}


def render(index: int, **settings: Any) -> Knee:
    return render_knee(np.random.default_rng([7, index]), size_px=64, **settings)


def equal(one: Phantom, other: Phantom) -> bool:
    values = ((getattr(one, f.name), getattr(other, f.name)) for f in fields(Phantom))
    return all(np.array_equal(a, b) for a, b in values)


def bone_detail(knee: Knee) -> float:
    """Mean step between horizontal neighbours inside the region."""
    steps = np.abs(np.diff(knee.image.astype(float), axis=1))
    return float(steps[knee.region[:, 1:] & knee.region[:, :-1]].mean())


@pytest.mark.parametrize("nuisance", [0.0, 0.5, 1.0])
def test_classes_differ_inside_the_region_only(nuisance: float) -> None:
    # Pixels outside hold all markers, stripes, borders and exposure: those know no class.
    for index in range(12):
        normal = render(index, osteoporotic=False, nuisance=nuisance)
        diseased = render(index, osteoporotic=True, nuisance=nuisance)
        differ = normal.image != diseased.image
        np.testing.assert_array_equal(normal.region, diseased.region)
        assert not differ[~normal.region].any()
        assert differ[normal.region].mean() > 0.5


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


def test_data_set_is_determined_by_its_seed() -> None:
    first, again = list(make_phantoms(**SMALL)), list(make_phantoms(**SMALL))
    assert all(map(equal, first, again))
    other = list(make_phantoms(**SMALL | {"seed": 4}))
    assert not any(np.array_equal(a.image, b.image) for a, b in zip(first, other, strict=True))


def test_an_original_does_not_depend_on_the_size_of_the_set() -> None:
    short = list(make_phantoms(n_images=12, size_px=40, duplicate_share=0.0, positive_share=0.0))
    long = make_phantoms(n_images=30, size_px=40, duplicate_share=0.0, positive_share=0.0)
    assert all(map(equal, short, long))


@pytest.mark.parametrize(
    ("n_images", "positive_share", "duplicate_share"),
    [(1, 1.0, 0.2), (10, 0.5, 0.2), (31, 0.3, 0.4), (20, 0.0, 0.95), (20, 0.5, 0.9), (8, 1.0, 0.0)],
)
def test_counts_are_exact_and_copies_resolve(
    n_images: int, positive_share: float, duplicate_share: float
) -> None:
    phantoms = list(
        make_phantoms(
            n_images=n_images,
            size_px=32,
            positive_share=positive_share,
            duplicate_share=duplicate_share,
        )
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


def test_copies_look_like_their_source_and_come_in_three_kinds() -> None:
    phantoms = make_phantoms(n_images=40, size_px=40, duplicate_share=0.4)
    by_name = {phantom.name: phantom for phantom in phantoms}
    kinds: Counter[str] = Counter()
    for copy in by_name.values():
        assert copy.image.shape == copy.region.shape
        if copy.copy_of is None:
            continue
        source = by_name[copy.copy_of]
        size = (64, 64)
        small = [
            Image.fromarray(p.image).resize(size, Image.Resampling.BOX) for p in (copy, source)
        ]
        assert np.corrcoef([np.asarray(image, float).ravel() for image in small])[0, 1] > 0.95
        kinds["resized" if copy.image.shape != source.image.shape else "same size"] += 1
        kinds["exact"] += np.array_equal(copy.image, source.image)
        assert copy.region.mean() == pytest.approx(source.region.mean(), abs=0.03)
    assert kinds["resized"] > 0
    assert 0 < kinds["exact"] < kinds["same size"]


def test_names_give_nothing_away_beyond_the_folder() -> None:
    names = [phantom.name for phantom in make_phantoms(**SMALL)]
    assert [name.split("/")[1] for name in names] == [f"knee-{i:05d}.png" for i in range(24)]
    positive = [name.startswith("osteoporosis/") for name in names]
    assert 0 < sum(positive[:12]) < 12  # the order of the numbers is not that of the classes


def test_written_files_read_back_equal(tmp_path: Path) -> None:
    write_phantoms(tmp_path, **SMALL)
    phantoms = list(make_phantoms(**SMALL))
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
        {"name": p.name, "label": p.label, "copy_of": p.copy_of or ""} for p in phantoms
    ]
    assert set(modes) == {"L", "RGB"}
    assert len(list((tmp_path / "images").rglob("*.png"))) == len(phantoms)
    assert {folder.name for folder in (tmp_path / "images").iterdir()} == set(CLASSES)


def test_written_bytes_are_determined_by_the_seed(tmp_path: Path) -> None:
    def digest(folder: Path, seed: int) -> str:
        write_phantoms(folder, **SMALL | {"seed": seed})
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()

    first = digest(tmp_path / "a", seed=3)
    assert digest(tmp_path / "b", seed=3) == first
    assert digest(tmp_path / "c", seed=4) != first


def test_writing_refuses_to_mix_with_what_is_there(tmp_path: Path) -> None:
    write_phantoms(tmp_path, n_images=2, size_px=32)
    with pytest.raises(FileExistsError, match="remove it first"):
        write_phantoms(tmp_path, n_images=2, size_px=32, seed=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"difficulty": 3}, r"Expected difficulty to be in \[0, 1\], but got 3"),
        ({"nuisance": -0.1}, r"Expected nuisance to be in \[0, 1\], but got -0.1"),
        ({"positive_share": 1.5}, r"Expected positive_share to be in \[0, 1\], but got 1.5"),
        ({"duplicate_share": float("nan")}, r"Expected duplicate_share to be in \[0, 1\]"),
        ({"duplicate_share": 1.0}, "an original in each class, but got 1.0: 24 copies among 24"),
        ({"n_images": 0}, "Expected n_images to be in .*, but got 0"),
        ({"size_px": 8}, "Expected size_px to be in .*, but got 8"),
        ({"seed": -1}, "Expected seed to be in .*, but got -1"),
    ],
)
def test_bad_arguments_fail_before_the_first_image(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        make_phantoms(**SMALL | settings)
    with pytest.raises(ValueError, match=message):
        write_phantoms(tmp_path, **SMALL | settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "settings", [{"difficulty": 3}, {"nuisance": 1.01}, {"size_px": 31}], ids=str
)
def test_render_refuses_bad_arguments(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"Expected {name} to be in .*, but got {settings[name]}"):
        render_knee(np.random.default_rng(0), osteoporotic=True, **settings)
