"""What is gathered from predictions before they are judged."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from osteo_ray.experiment.gathering import gather_evidence
from osteo_ray.statistics.inference import TestDesign
from osteo_ray.statistics.predictions import Group, Key, Predictions

DESIGN = TestDesign(n_test=40, n_train=100, fixed=True)
N = 40


def predict(without: Sequence[tuple[str, int]] = ()) -> Predictions:
    """Draw what two arms and a control predict on three seeds, some without validation images."""
    groups = {}
    for seed in range(3):
        for arm in ("original", "lime", "control"):
            rng = np.random.default_rng((seed, *arm.encode()))
            for split in ("validation", "test"):
                if split == "validation" and (arm, seed) in without:
                    continue
                labels = np.arange(N) % 2
                p = np.clip(0.3 + 0.4 * labels + 0.2 * rng.normal(size=N), 0, 1)
                columns = np.stack([1 - p, p], axis=1)
                groups[Key("net", seed, arm, split)] = Group(
                    np.arange(N, dtype=np.int32), labels, columns
                )
    return Predictions(("normal", "worn"), 1, groups, tuple(f"{n:02}" for n in range(N)))


def gather(predictions: Predictions, groups: Sequence[object], endpoint: str = "auc"):
    images = pd.DataFrame({"image_id": predictions.image_ids, "group": groups})
    found, _ = gather_evidence(
        predictions,
        images,
        DESIGN,
        endpoint=endpoint,
        seeds={"net": range(3)},
        compared=("lime", "original"),
        n_draws=20,
    )
    return found["net"]


def test_a_training_without_threshold_leaves_the_others_their_guard() -> None:
    whole = gather(predict(), range(N)).metrics["balanced_accuracy"].values
    found = gather(predict([("control", 1)]), range(N)).metrics["balanced_accuracy"].values
    assert found["lime"] == whole["lime"]
    assert found["original"] == whole["original"]
    assert found["control"].keys() == {0, 2}
    everywhere = [(arm, seed) for arm in ("original", "lime", "control") for seed in range(3)]
    assert "balanced_accuracy" not in gather(predict(everywhere), range(N)).metrics


def test_other_arms_decide_nothing_of_the_guard_of_those_compared() -> None:
    def are_as_called(without: Sequence[tuple[str, int]]) -> bool:
        found = gather(predict(without), range(N), "accuracy").metrics
        # Of 20 images of each class, balanced accuracy of the more probable class is accuracy.
        guards, calls = (found[name].values for name in ("balanced_accuracy", "accuracy"))
        return all(guards[arm] == pytest.approx(calls[arm]) for arm in ("lime", "original"))

    compared = [(arm, seed) for arm in ("lime", "original") for seed in range(3)]
    assert are_as_called(compared)  # the control alone has validation images
    assert are_as_called([("lime", 1)])  # and no pair is of a threshold and of none
    assert not are_as_called([("control", 1)])
    assert not are_as_called([])


@pytest.mark.parametrize(
    ("groups", "count"),
    [
        (range(N), 20),  # 20 images of each class, each a group of its own
        ([n // 4 for n in range(N)], 10),  # two images of each class in each
        ([0] * N, 1),
        ([0 if n < 30 else n for n in range(N)], 2),  # 15 and 5 times 1: 400 / 230
        ([n // 2 if n < 30 else n for n in range(N)], 20),
        ([n // 4 if n < 20 else n for n in range(N)], 14),  # 5 times 2 and 10 times 1: 400 / 30
    ],
)
def test_groups_count_by_what_they_tell(groups: Sequence[int], count: int) -> None:
    assert gather(predict(), list(groups)).fewest_groups == count


@pytest.mark.parametrize(
    ("groups", "error"),
    [
        (range(N), (41 / 4800) ** 0.5),  # 20 images of each class, as Mann and Whitney have it
        ([n // 4 for n in range(N)], (21 / 1200) ** 0.5),
        ([0] * N, (3 / 12) ** 0.5),
    ],
)
def test_error_of_chance_is_that_of_groups(groups: Sequence[int], error: float) -> None:
    found = gather(predict(), list(groups)).chance_errors
    assert found == pytest.approx(dict.fromkeys(range(3), error))
