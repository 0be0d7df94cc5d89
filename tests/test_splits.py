"""Shares of the split, copies on one side, seeds, and sets that are too small."""

from collections import Counter

import numpy as np
import pytest

from osteo_ray.data.splits import SPLIT_NAMES, assign_splits, check_class_sizes, count_parts
from osteo_ray.errors import InputError

PAPER = (7, 2, 1)


def _make_balanced(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(["normal", "worn"], n // 2), np.arange(n)


def _draw_groups(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels and groups of one to five copies each, in random order."""
    sizes = rng.integers(1, 6, rng.integers(40, 120))
    groups = np.repeat(rng.permutation(len(sizes)), sizes)
    label_of = rng.choice(["a", "b", "c"], len(sizes))
    order = rng.permutation(len(groups))
    return label_of[groups][order], groups[order]


@pytest.mark.parametrize(
    ("ratio", "parts"), [((7, 2, 1), 10), ((14, 4, 2), 10), ((3, 1, 1), 5), ((1, 1, 1), 3)]
)
def test_ratio_is_reduced(ratio: tuple[int, int, int], parts: int) -> None:
    assert count_parts(ratio) == parts


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_papers_set_is_split_as_the_paper_says(seed: int, grouped: bool) -> None:
    labels, groups = _make_balanced(744)
    splits = assign_splits(labels, groups, PAPER, seed=seed, grouped=grouped)
    for label in ("normal", "worn"):
        counts = Counter(splits[labels == label].tolist())
        for name, share in zip(SPLIT_NAMES, (0.7, 0.2, 0.1), strict=True):
            assert abs(counts[name] - 372 * share) <= 2


def test_parts_stand_for_training_validation_test_in_that_order() -> None:
    labels, groups = _make_balanced(80)
    splits = assign_splits(labels, groups, (5, 2, 1), seed=0, grouped=True)
    assert Counter(splits.tolist()) == {"train": 50, "validation": 20, "test": 10}


@pytest.mark.parametrize("seed", range(25))
def test_copies_never_straddle(seed: int) -> None:
    labels, groups = _draw_groups(np.random.default_rng(seed))
    splits = assign_splits(labels, groups, (3, 1, 1), seed=seed, grouped=True)
    assert set(splits) == set(SPLIT_NAMES)
    for group in np.unique(groups):
        assert len(set(splits[groups == group])) == 1
    shares = [np.mean(splits == name) for name in SPLIT_NAMES]
    np.testing.assert_allclose(shares, [0.6, 0.2, 0.2], atol=0.06)


def test_random_split_separates_copies() -> None:
    labels, _ = _make_balanced(200)
    groups = np.arange(200) // 2
    splits = assign_splits(labels, groups, PAPER, seed=0, grouped=False)
    separated = [len(set(splits[groups == group])) > 1 for group in range(100)]
    # 1 - (.7² + .2² + .1²) = 46 % of pairs by chance.
    assert 0.3 < np.mean(separated) < 0.6


@pytest.mark.parametrize("grouped", [True, False])
def test_seed_decides(grouped: bool) -> None:
    labels, groups = _make_balanced(100)
    found = [
        assign_splits(labels, groups, PAPER, seed=seed, grouped=grouped).tolist()
        for seed in (0, 0, 1, 2)
    ]
    assert found[0] == found[1]
    assert found[0] != found[2] != found[3] != found[0]


def test_class_may_not_have_fewer_groups_than_folds() -> None:
    labels = np.array(["normal"] * 20 + ["worn"] * 14)
    groups = np.concatenate([np.arange(20), 20 + np.arange(14) % 7])
    with pytest.raises(InputError) as error:
        check_class_sizes(labels, groups, PAPER, grouped=True)
    message = str(error.value)
    assert "at least 10 images that are not copies" in message
    assert "class `worn`" in message
    assert "7:2:1" in message
    assert "found 7." in message
    check_class_sizes(labels, groups, PAPER, grouped=False)  # 14 images will do there
    check_class_sizes(labels, groups, (3, 1, 1), grouped=True)


def test_class_may_not_have_fewer_images_than_folds() -> None:
    labels = np.array(["normal"] * 20 + ["worn"] * 9)
    with pytest.raises(InputError, match=r"at least 10 images of class `worn` .* found 9"):
        check_class_sizes(labels, np.arange(29), PAPER, grouped=False)


def test_exactly_enough_is_enough() -> None:
    labels, groups = _make_balanced(20)
    check_class_sizes(labels, groups, PAPER, grouped=True)
    splits = assign_splits(labels, groups, PAPER, seed=0, grouped=True)
    for label in ("normal", "worn"):
        assert Counter(splits[labels == label]) == {"train": 7, "validation": 2, "test": 1}


@pytest.mark.parametrize(("labels", "found"), [(["normal"] * 30, "only normal"), ([], "none")])
def test_one_class_is_not_enough(labels: list[str], found: str) -> None:
    with pytest.raises(InputError, match=f"at least two classes, but found .*{found}"):
        check_class_sizes(np.array(labels, str), np.arange(len(labels)), PAPER, grouped=True)
