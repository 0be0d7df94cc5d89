"""Which trainings of a run to rerun if not all of them are."""

from collections.abc import Sequence
from math import lcm

import numpy as np

from osteo_ray.experiment.trials import Trial


def draw_sample(
    models: Sequence[str], arms: Sequence[str], seeds: Sequence[int], n: int, *, seed: int
) -> list[Trial]:
    """Draw trainings so that models and arms occur as evenly as possible.

    A sample that is at least as large as the number of models and the number of arms contains each
    of them. One that is at least as large as their product contains each arm of each model. A
    smaller sample with the same seed is the beginning of a larger one.

    Args:
        models: timm names.
        arms: Names of the arms.
        seeds: Numbers of the seeds; all models and arms have all of them.
        n: Number of trainings to draw, at most as many as there are.
        seed: Random seed of the sample.

    Example:
        >>> [str(trial) for trial in draw_sample(["m"], ["original", "lime"], range(9), 2, seed=0)]
        ['m, seed 4, original', 'm, seed 2, lime']
    """
    rng = np.random.default_rng(seed)
    shuffled_models = [models[k] for k in rng.permutation(len(models))]
    shuffled_arms = [arms[k] for k in rng.permutation(len(arms))]
    # Along diagonals, so that rows and columns occur as evenly as possible.
    period = lcm(len(models), len(arms))
    cells = [
        (shuffled_models[k % len(models)], shuffled_arms[(k + offset) % len(arms)])
        for offset in range(len(models) * len(arms) // period)
        for k in range(period)
    ]
    order = {cell: rng.permutation(len(seeds)) for cell in cells}
    drawn = [
        Trial(model, int(seeds[order[model, arm][number]]), arm)
        for number in range(len(seeds))
        for model, arm in cells
    ]
    return drawn[:n]
