"""Copies in a set: that all kinds are found and nothing else, however the work is divided."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray

from osteo_ray.base.progress import listening
from osteo_ray.data.copies.codebook import fit_codebook
from osteo_ray.data.copies.groups import join_pairs
from osteo_ray.data.copies.keypoints import (
    COPY_CHANGES,
    find_keypoints,
    pack_keypoints,
    unpack_keypoints,
)
from osteo_ray.data.copies.likeness import COPY_LIKENESS, Seen, measure_likeness
from osteo_ray.data.copies.thumbnails import SIDE, Thumbnails, make_thumbnail
from osteo_ray.data.decoding.identity import digest_pixels
from osteo_ray.data.phantoms.sets import Phantom, make_phantoms
from osteo_ray.data.settings import COPY_KINDS, PhantomSettings
from osteo_ray.pipeline.ingest import copy_search
from osteo_ray.pipeline.ingest.copy_search import find_copies


def store(images: Sequence[np.ndarray], path: Path) -> tuple[list[str], Thumbnails]:
    """Return digests and thumbnails of some images, stored in reverse order."""
    thumbnails = [make_thumbnail(image) for image in images]
    path.write_bytes(b"".join(thumbnail.tobytes() for thumbnail in thumbnails[::-1]))
    rows = np.arange(len(images), dtype=np.int64)[::-1]
    return [digest_pixels(image) for image in images], Thumbnails(path, rows)


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    settings = PhantomSettings(
        n_images=150, size_px=112, duplicate_share=0.5, copy_kinds=COPY_KINDS, seed=11
    )
    return list(make_phantoms(settings))


@pytest.fixture(scope="module")
def stored(
    phantoms: list[Phantom], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], Thumbnails]:
    images = [phantom.image for phantom in phantoms]
    return store(images, tmp_path_factory.mktemp("set") / "thumbnails.u8")


@pytest.fixture(scope="module")
def pairs(
    phantoms: list[Phantom], stored: tuple[list[str], Thumbnails], local_ray: None
) -> pd.DataFrame:
    told: list[tuple[str, int, int]] = []
    with listening(lambda *what: told.append(what)):
        found = find_copies(*stored)
    for step in ("describe images", "look for copies", "compare pairs"):
        done = [(count, total) for what, count, total in told if what == step]
        assert done[0][0] == 0
        assert done[-1][0] == done[-1][1]
    return found


def number_sources(phantoms: list[Phantom]) -> list[str]:
    return [phantom.copy_of or phantom.name for phantom in phantoms]


def test_nothing_but_copies_is_found(phantoms: list[Phantom], pairs: pd.DataFrame) -> None:
    sources = number_sources(phantoms)
    wrong = [pair for pair in pairs.itertuples() if sources[pair.first] != sources[pair.second]]
    assert wrong == []


def test_copies_of_every_kind_are_found(phantoms: list[Phantom], pairs: pd.DataFrame) -> None:
    groups = join_pairs(len(phantoms), pairs)
    row = {phantom.name: index for index, phantom in enumerate(phantoms)}
    planted, found = Counter[str](), Counter[str]()
    for index, phantom in enumerate(phantoms):
        if phantom.copy_of is not None and phantom.copy_kind is not None:
            planted[phantom.copy_kind] += 1
            found[phantom.copy_kind] += int(groups[index] == groups[row[phantom.copy_of]])
    assert set(planted) == set(COPY_KINDS)
    assert found.total() >= 0.95 * planted.total(), (found, planted)
    for kind in COPY_KINDS:
        assert found[kind] >= planted[kind] - 1, (found, planted)


def test_table_of_pairs(
    phantoms: list[Phantom], stored: tuple[list[str], Thumbnails], pairs: pd.DataFrame
) -> None:
    assert list(pairs) == ["first", "second", "exact", "mirrored", "change", "likeness"]
    kinds = ["int64", "int64", "bool", "bool", "str", "float64"]
    assert [str(kind) for kind in pairs.dtypes] == kinds
    assert (pairs["first"] < pairs["second"]).all()
    assert pairs["likeness"].between(COPY_LIKENESS, 1).all()
    assert pairs[["first", "second"]].to_numpy().tolist() == sorted(
        pairs[["first", "second"]].drop_duplicates().to_numpy().tolist()
    )
    digests, _ = stored
    for pair in pairs.itertuples():
        assert pair.exact == (digests[pair.first] == digests[pair.second])
        if pair.exact:
            assert pair.likeness == 1
        kinds_of = {phantoms[pair.first].copy_kind, phantoms[pair.second].copy_kind}
        assert pair.mirrored == ("mirrored" in kinds_of and len(kinds_of) == 2)


def test_pairs_are_those_of_all_against_all(
    phantoms: list[Phantom], local_ray: None, tmp_path: Path
) -> None:
    images = [phantom.image for phantom in phantoms[:20]]
    images[3], images[7] = 255 - images[0], np.rot90(images[1]).copy()
    digests, thumbnails = store(images, tmp_path / "thumbnails.u8")
    found = [find_keypoints(shown) for shown in thumbnails.read(np.arange(len(images)))]
    seen = [
        Seen(shown, unpack_keypoints(pack_keypoints(keypoints, SIDE), SIDE))
        for shown, keypoints in zip(thumbnails.read(np.arange(len(images))), found, strict=True)
    ]
    first_of = {digest: digests.index(digest) for digest in digests}
    expected = {}
    for one, other in combinations(range(len(images)), 2):
        if digests[one] == digests[other]:
            if one == first_of[digests[one]]:
                expected[one, other] = (True, "", 1.0)
        elif first_of[digests[one]] == one and first_of[digests[other]] == other:
            likeness = [
                measure_likeness(seen[one], seen[other].change(form)) for form in COPY_CHANGES
            ]
            if max(likeness) >= COPY_LIKENESS:
                words = COPY_CHANGES[int(np.argmax(likeness))].describe()
                expected[one, other] = (False, words, max(likeness))
    table = {
        (pair.first, pair.second): (pair.exact, pair.change, pair.likeness)
        for pair in find_copies(digests, thumbnails).itertuples()
    }
    assert expected[0, 3][1] == "inverted gray"
    assert expected[1, 7][1] == "turned by 270°"  # what brings the second back to the first
    assert len(expected) > 3
    assert table == expected


def test_dividing_the_work_otherwise_changes_nothing(
    stored: tuple[list[str], Thumbnails],
    pairs: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copy_search, "_ROWS_PER_TASK", 67)
    monkeypatch.setattr(copy_search, "_PAIRS_PER_TASK", 41)
    pd.testing.assert_frame_equal(find_copies(*stored), pairs)


def test_groups_of_four_and_blank_images(
    phantoms: list[Phantom], local_ray: None, tmp_path: Path
) -> None:
    knees = [phantom.image for phantom in phantoms if phantom.copy_of is None][:4]
    gray, white = np.full((90, 80), 128, np.uint8), np.full((90, 80), 255, np.uint8)
    # One knee four times, another four times in three encodings, two blank ones of each gray.
    one, two = knees[0], knees[1]
    images = [one, two, gray, one, two[:, ::-1].copy(), white, one, two[2:, 3:].copy()]
    images += [gray, one, two, white, knees[2], knees[3]]
    pairs = find_copies(*store(images, tmp_path / "thumbnails.u8"))
    groups = join_pairs(len(images), pairs)
    assert groups.tolist() == [0, 1, 2, 0, 1, 3, 0, 1, 2, 0, 1, 3, 4, 5]
    exact = pairs.loc[pairs["exact"], ["first", "second"]].to_numpy().tolist()
    assert exact == [[0, 3], [0, 6], [0, 9], [1, 10], [2, 8], [5, 11]]


@pytest.mark.parametrize("images", [1, 2, "blank", "one blank"])
def test_tiny_sets(
    images: int | str, phantoms: list[Phantom], local_ray: None, tmp_path: Path
) -> None:
    blanks = [np.full((30, 30), gray, np.uint8) for gray in (0, 9, 255)]
    originals = [phantom.image for phantom in phantoms if phantom.copy_of is None]
    chosen = {
        1: originals[:1],
        2: [originals[0], np.pad(originals[0], ((4, 0), (0, 3)))],
        "blank": blanks,
        "one blank": [originals[0], blanks[0]],
    }[images]
    pairs = find_copies(*store(chosen, tmp_path / "thumbnails.u8"))
    assert pairs[["first", "second"]].to_numpy().tolist() == ([[0, 1]] if images == 2 else [])
    assert list(pairs) == ["first", "second", "exact", "mirrored", "change", "likeness"]


def test_large_sets_are_searched_alike(
    stored: tuple[list[str], Thumbnails], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [find_keypoints(shown) for shown in stored[1].read(np.arange(150))]
    codebook = fit_codebook(found, COPY_CHANGES[:2], words=128, dimensions=256)
    forms = (COPY_CHANGES[0], *COPY_CHANGES[:2])
    vectors = codebook.encode(found, forms).astype(np.float16)
    look = copy_search._LOOKS[0]
    index: object = None

    # The index is cached by reference, so that it must not be asked for through Ray here.
    monkeypatch.setattr(copy_search, "_load_index", lambda _: index)
    monkeypatch.setattr(ray, "get", lambda stored: stored)

    def name_pairs() -> list[list[int]]:
        found = copy_search._search(0, 150, look, "index", vectors)  # type: ignore[arg-type]
        assert found.dtype == np.int64
        return np.unique(found, axis=0).tolist()

    index = copy_search._build_index(vectors[:, 0], 10_000)
    flat = name_pairs()
    monkeypatch.setattr(copy_search, "_FLAT_UP_TO", 10)
    index = copy_search._build_index(vectors[:, 0], 10_000)
    assert index.nlist == 48
    assert name_pairs() == flat
    assert len(flat) > 60
    # With half of the cells, hardly anything is missed.
    index.nprobe = 24
    assert len({*map(tuple, flat)} - {*map(tuple, name_pairs())}) <= 0.05 * len(flat)


def test_thumbnails_are_read_by_row(tmp_path: Path) -> None:
    rows = np.arange(4, dtype=np.uint8)[:, None, None] + np.zeros((4, SIDE, SIDE), np.uint8)
    (tmp_path / "t.u8").write_bytes(rows.tobytes())
    thumbnails = Thumbnails(tmp_path / "t.u8", np.array([3, 1, 0]))
    assert thumbnails.read(np.array([0, 2, 1]))[:, 5, 7].tolist() == [3, 0, 1]
    assert thumbnails.select(np.array([2, 0])).read(np.array([0, 1]))[:, 0, 0].tolist() == [0, 3]


def test_pairs_join_and_chain() -> None:
    pairs = pd.DataFrame({"first": [1, 2, 0], "second": [2, 5, 4]})
    groups = join_pairs(6, pairs)
    assert groups.dtype == np.int64
    assert groups.tolist() == [0, 1, 1, 2, 0, 1]
    assert join_pairs(3, pairs[:0]).tolist() == [0, 1, 2]
