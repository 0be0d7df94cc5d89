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
def test_trainings_that_differ_in_one_image_repeat_nothing(fixed: bool) -> None:
    def predict(arm: str, seed: int, images: np.ndarray) -> np.ndarray:
        p = draw("any", 0)
        p[images[-1]] = draw(arm, seed)[images[-1]]  # of the last image that is compared
        p[np.max(images)] = draw(arm, seed)[np.max(images)]
        p[list(set(range(N_IMAGES - 10, N_IMAGES)))] = draw(arm, seed)[-10:]
        return p[images]

    found = encode(predict, fixed=fixed)
    assert find_repeated_seeds(found) == {}
    assert find_equal_arms(found) == {"m": ()}


@pytest.mark.parametrize("n_values", [1, 2, 9])
def test_few_values_may_agree_by_right(n_values: int) -> None:
    def predict(arm: str, seed: int, images: np.ndarray) -> np.ndarray:
        return (images % n_values) / 10

    found = encode(predict, fixed=True)
    assert find_repeated_seeds(found) == {}
    assert find_equal_arms(found) == {"m": ()}


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
