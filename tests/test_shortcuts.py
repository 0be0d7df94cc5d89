"""Shortcuts: those that are planted are found, and where there is none, none is reported."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesClassifier

from osteo_ray.data import shortcuts
from osteo_ray.data.appearance import (
    FRAME_SIZE,
    HISTOGRAM_BINS,
    describe_look,
    shrink_to_preview,
)
from osteo_ray.data.shortcuts import (
    Shortcut,
    describe_exposure,
    describe_frames,
    find_shortcuts,
    read_previews,
)

N = 120
LABELS = np.array(["normal", "osteoporosis"] * (N // 2))
ALONE = np.arange(N)
SICK = LABELS == "osteoporosis"


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grow fewer trees: what is planted here is plain to see, and trees take most of the time."""

    def grow(_: int, **settings: Any) -> ExtraTreesClassifier:
        return ExtraTreesClassifier(40, **settings)

    monkeypatch.setattr(shortcuts, "ExtraTreesClassifier", grow)


def make_images(seed: int = 10, n: int = N) -> pd.DataFrame:
    """Return rows of an ingest of noise: format, size, edges and pixels know no label.

    One interval in forty excludes chance by accident; with the default seed none does.
    """
    rng = np.random.default_rng(seed)
    pixels = [rng.integers(20, 200, (40, 40), dtype=np.uint8) for _ in range(n)]
    return pd.DataFrame(
        {
            "format": rng.choice(["PNG", "JPEG"], n),
            "mode": rng.choice(["L", "RGB"], n),
            "width": rng.integers(200, 300, n),
            "height": rng.integers(200, 300, n),
            "size": rng.integers(10_000, 20_000, n),
            "look": [describe_look(image).tobytes() for image in pixels],
            "preview": [shrink_to_preview(image).tobytes() for image in pixels],
        }
    )


def find(images: pd.DataFrame, labels: np.ndarray, groups: np.ndarray) -> dict[str, Shortcut]:
    return {found.name: found for found in find_shortcuts(images, labels, groups)}


def test_each_edge_is_described_by_its_own_pixels() -> None:
    # Edges are 2 of 100 pixels wide; the corners belong to two edges each.
    image = np.zeros((100, 100), np.uint8)
    image[:2], image[-2:] = 51, 102
    image[2:-2, :2], image[2:-2, -2:] = 153, 204
    look = describe_look(image)
    corners = (2 * 51 + 2 * 102) / 100
    expected = np.array([51, 102, 0.96 * 153 + corners, 0.96 * 204 + corners]) / 255
    np.testing.assert_allclose(look[:4], expected, rtol=1e-6)
    left = np.repeat([51, 153, 102], [2, 96, 2])
    right = np.repeat([51, 204, 102], [2, 96, 2])
    np.testing.assert_allclose(look[4:8], [0, 0, left.std() / 255, right.std() / 255], rtol=1e-5)


def test_nothing_is_found_in_noise() -> None:
    found = find(make_images(), LABELS, ALONE)
    assert list(found) == ["frame", "metadata", "preview"]
    for shortcut in found.values():
        assert not shortcut.is_found
        assert 0.3 < shortcut.accuracy < 0.7
        assert shortcut.low <= shortcut.accuracy <= shortcut.high
        assert (shortcut.chance, shortcut.n_images) == (0.5, N)
    assert find(make_images(), LABELS, ALONE) == found


def test_the_interval_rarely_excludes_chance_in_noise() -> None:
    # One-sided, 2.5 % of the 12 intervals should.
    found = [find(make_images(seed), LABELS, ALONE).values() for seed in range(6, 10)]
    assert sum(shortcut.is_found for each in found for shortcut in each) <= 2


@pytest.mark.parametrize("what", ["format", "mode", "width", "bytes", "edge"])
def test_what_the_file_gives_away_is_found(what: str) -> None:
    images = make_images()
    if what == "format":
        images["format"] = np.where(SICK, "PNG", "JPEG")
    elif what == "mode":
        images["mode"] = np.where(SICK, "L", "RGB")
    elif what == "width":
        images["width"] += 150 * SICK
    elif what == "bytes":
        images["size"] += 15_000 * SICK
    else:  # a letterbox
        looks = np.frombuffer(b"".join(images["look"]), np.float32).reshape(N, -1).copy()
        looks[SICK, 0] = 0
        images["look"] = [look.tobytes() for look in looks]
    found = find(images, LABELS, ALONE)
    for name in ("frame", "metadata"):
        assert found[name].is_found
        assert found[name].accuracy > 0.8
    assert not found["preview"].is_found


def test_exposure_is_told_from_metadata_but_not_from_the_frame() -> None:
    images = make_images()
    looks = np.frombuffer(b"".join(images["look"]), np.float32).reshape(N, -1).copy()
    looks[SICK, FRAME_SIZE:] = np.roll(looks[SICK, FRAME_SIZE:], 3, axis=1)
    images["look"] = [look.tobytes() for look in looks]
    found = find(images, LABELS, ALONE)
    assert found["metadata"].accuracy > 0.9
    assert not found["frame"].is_found


def test_what_a_preview_shows_is_found() -> None:
    images = make_images()
    rng = np.random.default_rng(1)
    marked = rng.integers(90, 130, (N, 16, 16), dtype=np.uint8)
    marked[SICK, 1:4, 1:4] += 60  # a burned-in letter
    images["preview"] = [preview.tobytes() for preview in marked]
    found = find(images, LABELS, ALONE)
    assert found["preview"].is_found
    assert found["preview"].accuracy > 0.9
    assert not found["frame"].is_found


def test_copies_do_not_make_a_shortcut() -> None:
    # Each image stands in the set three times: across folds, memory alone would tell the label.
    rows = np.repeat(np.arange(50), 3)
    images = make_images(n=50).iloc[rows].reset_index(drop=True)
    labels = np.random.default_rng(1).permutation(LABELS[:50])[rows]
    apart = find(images, labels, rows)
    torn = find(images, labels, np.arange(150))
    for name, shortcut in apart.items():
        assert not shortcut.is_found
        assert 0.25 < shortcut.accuracy < 0.75
        assert torn[name].accuracy > 0.9
        # Three times the same is one observation: the interval is not narrower for it.
        assert shortcut.high - shortcut.low > 0.15


def test_groups_may_hold_several_labels_and_any_numbers() -> None:
    groups = np.repeat(np.random.default_rng(0).permutation(60) * 7 - 100, 2)
    found = find(make_images(), LABELS, groups)
    renamed = find(make_images(), LABELS, np.repeat(np.arange(60), 2))
    assert found == renamed
    assert not any(shortcut.is_found for shortcut in found.values())


def test_three_classes() -> None:
    labels = np.array(["a", "b", "c"] * 40)
    images = make_images()
    images["height"] = images["height"] % 50 + np.select(
        [labels == "a", labels == "b"], [100, 200], 300
    )
    found = find(images, labels, ALONE)
    assert found["frame"].chance == pytest.approx(1 / 3)
    assert found["frame"].accuracy > 0.9


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (np.full(N, "normal"), ALONE),
        (np.where(ALONE < 4, "rare", "normal"), ALONE),
        (LABELS, ALONE // 60),
        (np.where(ALONE < 40, "rare", "normal"), np.where(ALONE < 40, ALONE // 10, ALONE)),
    ],
    ids=["one class", "four images", "two groups", "four groups"],
)
def test_too_few_groups_give_no_answer(labels: np.ndarray, groups: np.ndarray) -> None:
    assert find_shortcuts(make_images(), labels, groups) == []


def test_large_sets_are_sampled_by_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcuts, "_MOST_IMAGES", 61)
    groups = np.repeat(np.arange(30), 4)
    rows = shortcuts.draw_groups(groups)
    assert len(rows) == 60
    assert set(np.bincount(groups[rows], minlength=30)) == {0, 4}
    # A group that is larger than the sample does not keep the others out.
    large = np.array([*[0] * 90, *range(1, 31)])
    for shift in range(31):
        assert len(shortcuts.draw_groups((large + shift) % 31)) == 30


def test_tables_have_what_they_say() -> None:
    images = make_images(n=6)
    images["format"] = ["PNG", "JPEG"] * 3
    images["mode"] = "L"
    frames = describe_frames(images)
    assert frames.shape == (6, 3 + 4 + FRAME_SIZE)
    assert frames[:, :3].tolist() == [[0, 1, 1], [1, 0, 1]] * 3
    width, height = images["width"].to_numpy(), images["height"].to_numpy()
    np.testing.assert_allclose(frames[:, 5], width / height)
    np.testing.assert_allclose(frames[:, 6], images["size"] / (width * height))
    assert describe_exposure(images).shape == (6, HISTOGRAM_BINS)
    np.testing.assert_allclose(describe_exposure(images).sum(axis=1), 1, atol=1e-6)
    assert read_previews(images).shape == (6, 256)
    assert read_previews(images).max() <= 1
