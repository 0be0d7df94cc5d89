"""Reading in groups: the same whatever the size of a group, and nothing is lost between them."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.laterality import Laterality
from osteo_ray.pipeline.ingest import grouped_views
from osteo_ray.pipeline.ingest.grouped_views import ViewGroup, read_groups

N = 11
UNFETCHED, UNDECODED, UNCUT = 2, (5, 6, 10), 8


@dataclass
class Arrays:
    """A reader of small arrays, some of which cannot be fetched, and some not be decoded."""

    fetched: list[int] = field(default_factory=list)

    def read(self, path: str, position: int) -> np.ndarray:
        """Fetch one array."""
        self.fetched.append(position)
        if position == UNFETCHED:
            raise UnreadableImageError("cannot be fetched")
        pixels = np.random.default_rng(position).integers(0, 256, (32, 24), np.uint8)
        return pixels[:3] if position in UNDECODED else pixels


def read(laterality: Laterality = "split") -> tuple[list[ViewGroup], Arrays]:
    reader = Arrays()
    items = [
        {"path": f"{number}.png", "position": number, "side": "", "label": "x", "size": 0}
        for number in range(N)
    ]
    items[UNCUT]["path"] += "#left"
    return list(read_groups(items, reader, laterality)), reader


@pytest.mark.parametrize("most_images", [1, 2, 3, N, 64])
@pytest.mark.parametrize("most_bytes", [1, 2000, 2**20])
def test_nothing_is_lost_between_groups(
    monkeypatch: pytest.MonkeyPatch, most_images: int, most_bytes: int
) -> None:
    monkeypatch.setattr(grouped_views, "_MOST_IMAGES", most_images)
    monkeypatch.setattr(grouped_views, "_MOST_BYTES", most_bytes)
    groups, reader = read()
    views = [view for group in groups for view in group.views]
    items = [item for group in groups for item in group.items]
    bad = {UNFETCHED, *UNDECODED, UNCUT}
    good = [number for number in range(N) if number not in bad]
    assert [view.path for view in views] == [f"{number}.png" for number in good]
    assert [item["position"] for item in items] == good
    for number, view in zip(good, views, strict=True):
        expected = np.random.default_rng(number).integers(0, 256, (32, 24), np.uint8)
        assert np.array_equal(view.decoded.pixels, expected)
    reasons = {row["path"]: row["reason"] for group in groups for row in group.refused}
    assert sum(len(group.refused) for group in groups) == len(reasons) == len(bad)
    assert reasons["2.png"] == "cannot be fetched"
    assert reasons["10.png"] == "too small: 24 × 3 px; expected sides of 8 px or more"
    assert reasons["8.png#left"].startswith("has a row for each side, but shows no gap")
    assert reader.fetched == list(range(N))
    assert max(len(group.views) for group in groups) <= most_images


def test_large_images_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped_views, "_MOST_BYTES", 700)  # less than the 768 of one image
    groups, _ = read()
    assert all(len(group.views) <= 1 for group in groups)
