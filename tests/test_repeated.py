"""Predictions that were given twice."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from osteo_ray.statistics.predictions import Predictions, encode_predictions
from osteo_ray.statistics.repeated import find_equal_arms, find_repeated_seeds

CLASSES = ("normal", "worn")
N_IMAGES, N_TEST = 1000, 300


def encode(predict: Callable[[str, int, np.ndarray], np.ndarray], *, fixed: bool) -> Predictions:
    """Encode what two arms predict on three seeds, of which each tests images of its own."""
    rows: list[dict[str, object]] = []
    for seed in range(3):
        order = np.random.default_rng(0 if fixed else seed).permutation(N_IMAGES)[:N_TEST]
        for arm in ("lime", "original"):
            p = predict(arm, seed, order)
            rows += [
                {"model": "m", "seed": seed, "arm": arm, "split": "test", "image_id": f"{image:04}",
                 "label": CLASSES[image % 2], "p_normal": 1 - worn, "p_worn": worn}
                for image, worn in zip(order, p, strict=True)
            ]  # fmt: skip
    return encode_predictions(pa.Table.from_pylist(rows), CLASSES, "worn")


def draw(arm: str, seed: int) -> np.ndarray:
    return np.random.default_rng((seed, *arm.encode())).random(N_IMAGES)


@pytest.mark.parametrize("fixed", [True, False])
def test_a_seed_that_repeats_another_is_found(fixed: bool) -> None:
    """On the images that both test, and though it is not the first seed that it repeats."""

    def predict(arm: str, seed: int, images: np.ndarray) -> np.ndarray:
        of_seed = 1 if arm == "lime" and seed == 2 else seed
        return draw(arm, of_seed)[images] + seed * 1e-8  # as a file that was written and read

    found = encode(predict, fixed=fixed)
    assert find_repeated_seeds(found) == {"m": {"lime": (2,)}}
    assert find_equal_arms(found) == {"m": ()}


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize(("changed", "repeats"), [(30, True), (400, True), (600, False)])
def test_a_few_changed_values_hide_no_repeat(fixed: bool, changed: int, repeats: bool) -> None:
    """Whichever images they are of; arms are equal only if they are throughout."""

    def predict(arm: str, seed: int, images: np.ndarray) -> np.ndarray:
        p = draw("any", 0)
        p[-changed:] = draw(arm, seed)[-changed:]
        return p[images]

    found = encode(predict, fixed=fixed)
    again = {"m": {"lime": (1, 2), "original": (1, 2)}}
    assert find_repeated_seeds(found) == (again if repeats else {})
    assert find_equal_arms(found) == {"m": ()}


def rename(predict: Callable[[str, int], np.ndarray]) -> Predictions:
    """Encode what is predicted for 60 images that have other names, and another order, per seed."""
    rows: list[dict[str, object]] = []
    for seed in range(3):
        for arm in ("lime", "original"):
            order = np.random.default_rng(seed).permutation(60)
            rows += [
                {"model": "m", "seed": seed, "arm": arm, "split": "test",
                 "image_id": f"{seed}-{place:02}", "label": CLASSES[image % 2],
                 "p_normal": 1 - worn, "p_worn": worn}
                for place, (image, worn) in enumerate(
                    zip(order, predict(arm, seed)[order], strict=True))
            ]  # fmt: skip
    return encode_predictions(pa.Table.from_pylist(rows), CLASSES, "worn")


def test_images_under_other_names_hide_no_repeat() -> None:
    found = rename(lambda arm, seed: draw(arm, min(seed, 1)))
    assert find_repeated_seeds(found) == {"m": {"lime": (2,), "original": (2,)}}
    assert find_repeated_seeds(rename(draw)) == {}

    def change_one(arm: str, seed: int) -> np.ndarray:
        p = draw(arm, 0)
        p[7] += seed * 1e-5
        return p

    assert find_repeated_seeds(rename(change_one)) == {}  # sorted, they cannot be told apart


@pytest.mark.parametrize("n_values", [1, 2, 9])
def test_few_values_may_agree_by_right(n_values: int) -> None:
    def predict(arm: str, seed: int, images: np.ndarray) -> np.ndarray:
        return (images % n_values) / 10

    found = encode(predict, fixed=True)
    assert find_repeated_seeds(found) == {}
    assert find_equal_arms(found) == {"m": ()}


def saturate(p: np.ndarray, decimals: int) -> np.ndarray:
    """Push three of four probabilities to 0 or 1, and round them as a table may."""
    return np.round(1 / (1 + np.exp(-40 * (p - 0.5))), decimals)


@pytest.mark.parametrize("decimals", [3, 4, 8])
@pytest.mark.parametrize("fixed", [True, False])
def test_saturated_probabilities_may_agree_by_right(fixed: bool, decimals: int) -> None:
    def predict(arm: str, seed: int, images: np.ndarray) -> np.ndarray:
        shared, own = draw("any", 0)[images], draw(arm, seed)[images]
        return saturate(0.9 * shared + 0.1 * own, decimals)

    def repeat(arm: str, seed: int, images: np.ndarray) -> np.ndarray:
        p = predict(arm, min(seed, 1), images)
        p[::10] = predict(arm, seed, images)[::10]
        return p

    assert find_repeated_seeds(encode(predict, fixed=fixed)) == {}
    again = {"m": {"lime": (2,), "original": (2,)}}
    assert find_repeated_seeds(encode(repeat, fixed=fixed)) == again


def test_shares_of_a_few_neighbours_may_agree_by_right() -> None:
    def predict(arm: str, seed: int, images: np.ndarray) -> np.ndarray:
        shared, own = draw("any", 0)[images], draw(arm, seed)[images]
        return np.round(20 * (0.98 * shared + 0.02 * own)) / 20  # most are equal, none saturated

    assert find_repeated_seeds(encode(predict, fixed=True)) == {}


def test_an_arm_that_was_taken_twice_is_found() -> None:
    found = encode(lambda arm, seed, images: draw("any", seed)[images], fixed=False)
    assert find_repeated_seeds(found) == {}
    assert find_equal_arms(found) == {"m": (("lime", "original"),)}
    # not where one seed differs
    found = encode(
        lambda arm, seed, images: draw(arm if seed == 1 else "any", seed)[images], fixed=False
    )
    assert find_equal_arms(found) == {"m": ()}


def test_seeds_that_share_no_image_repeat_nothing() -> None:
    found = encode(lambda arm, seed, images: draw("any", 0)[images], fixed=True)
    apart = {
        key: group
        for key, group in found.groups.items()
        if (key.arm, key.seed) in (("lime", 0), ("original", 1))
    }
    assert find_repeated_seeds(Predictions(CLASSES, 1, apart, found.image_ids)) == {}
    assert find_equal_arms(Predictions(CLASSES, 1, apart, found.image_ids)) == {"m": ()}
