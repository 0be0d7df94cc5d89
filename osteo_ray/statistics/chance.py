"""Is an arm better than chance? And do copies of test images stand in training?"""

from dataclasses import dataclass

import numpy as np

from osteo_ray.statistics.predictions import Predictions
from osteo_ray.statistics.significance import corrected_t_test
from osteo_ray.statistics.sizes import Sizes


@dataclass(frozen=True)
class AboveChance:
    """Accuracy of an arm beyond what its predictions would hit by chance.

    Attributes:
        model: The timm name.
        arm: Which.
        excess: Mean over seeds of accuracy minus agreement by chance; None for no seed.
        p: One-sided p of the corrected t-test that it is above 0, or where all seeds are alike,
            of the sign-flip test; None where it cannot be tested.
        note: Why not.
    """

    model: str
    arm: str
    excess: float | None
    p: float | None
    note: str | None = None

    def is_above(self, alpha: float) -> bool | None:
        """Tell whether the arm is better than chance; None if that cannot be told."""
        return None if self.p is None else self.p < alpha


def measure_chance(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of images that would be right if predictions were dealt out by chance.

    As in Cohen's kappa: the sum over classes of their share among labels times among predictions.

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
        predictions: Of all trained models; labels are those that the arm took for true.
        model: The timm name.
        arm: Which.
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
