"""Is an arm better than chance on test images?"""

from dataclasses import dataclass

import numpy as np

from osteo_ray.statistics.predictions import Predictions
from osteo_ray.statistics.significance import corrected_t_test
from osteo_ray.statistics.sizes import Sizes


@dataclass(frozen=True)
class AboveChance:
    """How far the accuracy of an arm exceeds the agreement expected by chance.

    Attributes:
        model: The timm name.
        arm: Its name.
        excess: Mean over seeds of accuracy minus agreement by chance; None without a seed.
        p: One-sided p of the corrected t-test that the excess is above 0. Where all seeds have the
            same excess, it is that of the sign-flip test. None where nothing can be tested.
        note: Why nothing can be tested.
    """

    model: str
    arm: str
    excess: float | None
    p: float | None
    note: str | None = None

    def is_above(self, alpha: float) -> bool | None:
        """Return whether the arm is better than chance; None if that cannot be tested."""
        return None if self.p is None else self.p < alpha


def measure_chance(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the accuracy that the same labels and predictions would reach in random order.

    As in Cohen's kappa, it is the sum over classes of their share among the labels times their
    share among the predictions.

    Example:
        >>> measure_chance(np.array(["a", "a", "a", "b"]), np.array(["a", "a", "b", "b"]))
        0.5
    """
    classes = np.union1d(labels, predicted)
    shares = [np.mean(values[:, None] == classes, axis=0) for values in (labels, predicted)]
    return float(shares[0] @ shares[1])


def compare_with_chance(
    predictions: Predictions, model: str, arm: str, sizes: Sizes
) -> AboveChance:
    """Test whether an arm is better than chance on test images.

    Args:
        predictions: Of all trained models. An arm with shuffled labels is judged by those.
        model: The timm name.
        arm: Its name.
        sizes: Images per seed.
    """
    groups = [
        group
        for key, group in predictions.groups.items()
        if (key.model, key.arm, key.split) == (model, arm, "test")
    ]
    excess = [
        float(np.mean(group.labels == group.predicted))
        - measure_chance(group.labels, group.predicted)
        for group in groups
    ]
    if len(excess) < 2:
        mean = excess[0] if excess else None
        return AboveChance(
            model, arm, mean, None, f"A test needs 2 seeds; {arm} has {len(excess)}."
        )
    test = corrected_t_test(np.array(excess), sizes)
    p = test.p / 2 if test.mean > 0 else 1 - test.p / 2
    if test.sd == 0:  # no spread for a t-test, but signs can be flipped
        p = 2.0 ** -len(excess) if test.mean > 0 else 1.0
    return AboveChance(model, arm, test.mean, p)
