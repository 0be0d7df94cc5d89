"""Joining of partitions, labels of copies in conflict, and groups that a split tears apart."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osteo_ray.base.errors import InputError, LeakError
from osteo_ray.data.copies.conflicts import find_conflicts, resolve_conflicts
from osteo_ray.data.copies.groups import join_groups
from osteo_ray.data.splits.checks import check_groups_whole


@st.composite
def _draw_partitions(draw: st.DrawFn) -> list[np.ndarray]:
    n = draw(st.integers(1, 14))
    numbers = st.lists(st.integers(-2, 9), min_size=n, max_size=n)
    return [np.array(row, np.int64) for row in draw(st.lists(numbers, min_size=1, max_size=3))]


@settings(max_examples=150)
@given(_draw_partitions())
def test_joined_groups_are_what_paths_of_shared_numbers_reach(partitions: list[np.ndarray]) -> None:
    n = len(partitions[0])
    tied = np.eye(n, dtype=bool)
    for partition in partitions:
        tied |= (partition[:, None] == partition) & (partition >= 0)
    for _ in range(n):
        tied = tied @ tied
    expected: list[int] = []
    for row in range(n):
        known = np.flatnonzero(tied[row, :row])
        expected.append(expected[known[0]] if len(known) else max(expected, default=-1) + 1)
    found = join_groups(*partitions)
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_unknown_images_stay_alone() -> None:
    assert join_groups(np.array([-1, -1, 4, 4])).tolist() == [0, 1, 2, 2]
    assert join_groups(np.zeros(0, np.int64)).tolist() == []


def test_conflict_marks_every_image_of_a_group_with_two_labels() -> None:
    groups = np.array([0, 1, 0, 2, 1, 0, 3])
    labels = ["sick", "well", "well", "sick", "well", "sick", "well"]
    found = find_conflicts(groups, labels)
    assert found.dtype == bool
    assert found.tolist() == [True, False, True, False, False, True, False]


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from("abc")), min_size=1, max_size=20))
def test_conflicts_are_resolved_as_counting_by_hand_does(rows: list[tuple[int, str]]) -> None:
    copies, labels = np.array([row[0] for row in rows]), [row[1] for row in rows]
    for policy in ("drop", "majority", "keep"):
        expected_labels, expected_used = [], []
        for group, label in rows:
            votes = Counter(other for number, other in rows if number == group).most_common()
            tie = len(votes) > 1 and votes[0][1] == votes[1][1]
            decided = policy == "majority" and not tie
            expected_labels.append(votes[0][0] if decided else label)
            expected_used.append(policy == "keep" or len(votes) == 1 or decided)
        resolved, used = resolve_conflicts(copies, labels, policy)
        assert resolved.tolist() == expected_labels
        assert used.tolist() == expected_used
        assert used.dtype == bool
        if policy == "drop":
            assert np.array_equal(used, ~find_conflicts(copies, labels))


def test_torn_groups_are_named() -> None:
    groups = np.array([4, 4, 7, 7, 9, 4, 2, 2, -1, -1, 5, 5])
    parts = "test train train - test train test validation test train train validation"
    splits = np.array(["" if part == "-" else part for part in parts.split()])
    names = [f"{letter}.png" for letter in "abcdefghijkl"]
    with pytest.raises(LeakError) as error:
        check_groups_whole(groups, splits, names)
    assert isinstance(error.value, InputError)
    assert str(error.value) == (
        "Expected images that belong together (copies, or images of one patient) to be in one part "
        "of the split, but found 4 groups of images in several parts: "
        "a.png (test), b.png (train); g.png (test), h.png (validation); i.png (test), "
        "j.png (train); …. Use a split that keeps groups together (`--split grouped`), or remove "
        "the copies."
    )
    with pytest.raises(LeakError, match=r"found 1 group of images .* g\.png \(test\), h\.png"):
        check_groups_whole(groups[4:8], splits[4:8], names[4:8])


def test_whole_groups_and_images_set_aside_pass() -> None:
    check_groups_whole(np.array([0, 0, 1, 1]), np.array(["train", "", "test", "test"]), "abcd")
    check_groups_whole(np.array([0, 0]), np.array(["", ""]), "ab")
    check_groups_whole(np.zeros(0, np.int64), np.zeros(0, str), [])


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="Expected at least one partition, but got none"):
        join_groups()
    with pytest.raises(ValueError, match=r"shape \(2,\), but got int64 \(3,\)"):
        join_groups(np.zeros(2, np.int64), np.zeros(3, np.int64))
    with pytest.raises(ValueError, match=r"whole numbers .* but got float64"):
        join_groups(np.zeros(2))
    for function in (find_conflicts, lambda *two: resolve_conflicts(*two, "drop")):
        with pytest.raises(ValueError, match="Expected at least one image, but got none"):
            function(np.zeros(0, np.int64), [])
        with pytest.raises(ValueError, match=r"Expected groups .*\(2,\).* but got \(3,\)"):
            function(np.zeros(3, np.int64), ["a", "b"])
    with pytest.raises(ValueError, match="one of drop, majority, keep, but got vote"):
        resolve_conflicts(np.zeros(1, np.int64), ["a"], "vote")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="of one length, but got 2, 1 and 2"):
        check_groups_whole(np.zeros(2, np.int64), np.array(["test"]), "ab")
