"""Which seeds have a value of a metric for all arms of a comparison, and why others do not."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from osteo_ray.base.errors import InputError


@dataclass(frozen=True)
class TestValues:
    """A metric of every trained model on its test images.

    Attributes:
        metric: A name in `METRICS`.
        values: Per model and arm, by seed; NaN where the metric is undefined.
    """

    __test__ = False  # no tests, whatever pytest makes of the name

    metric: str
    values: dict[tuple[str, str], dict[int, float]]

    @classmethod
    def of(cls, results: pd.DataFrame, metric: str) -> "TestValues":
        """Take the test rows of the table of results.

        Raises:
            InputError: The trained models of one seed were tested on different numbers of images.
            ValueError: A model, seed and arm stands twice in the test rows.
        """
        test = results[results["split"] == "test"]
        columns = (test[name].tolist() for name in ("model", "seed", "arm", "n_images", metric))
        values: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        sizes: dict[int, int] = {}
        for model, seed, arm, n_images, value in zip(*columns, strict=True):
            if seed in values[model, arm]:
                raise ValueError(
                    "Expected one row per model, seed and arm, but got a second for "
                    f"{model}, {seed}, {arm}."
                )
            values[model, arm][seed] = float(value)
            if sizes.setdefault(seed, n_images) != n_images:
                raise InputError(
                    f"Expected all arms of seed {seed} to be tested on the same images, but "
                    f"results have {sizes[seed]} and {n_images} images. Do not mix the "
                    "tables of two runs."
                )
        return cls(metric, dict(values))

    @property
    def models(self) -> tuple[str, ...]:
        """Models, in the order of the table."""
        return tuple(dict.fromkeys(model for model, _ in self.values))

    def pair(
        self, model: str, arms: Sequence[str]
    ) -> tuple[tuple[int, ...], npt.NDArray[np.float64], str | None]:
        """Keep the seeds on which all the arms of a model have a value.

        Returns:
            The seeds, sorted; float64 (n_arms, n_seeds); which seeds were left out, and why.
        """
        of_arms = [self.values.get((model, arm), {}) for arm in arms]
        seeds = sorted({seed for of_arm in of_arms for seed in of_arm})
        lonely = [seed for seed in seeds if any(seed not in of_arm for of_arm in of_arms)]
        undefined = [
            seed
            for seed in seeds
            if seed not in lonely and any(math.isnan(of_arm[seed]) for of_arm in of_arms)
        ]
        used = [seed for seed in seeds if seed not in lonely and seed not in undefined]
        notes = []
        if lonely:
            notes.append(f"Left out, as an arm is missing: seeds {_list(lonely)}.")
        if undefined:
            notes.append(f"Left out, as {self.metric} is undefined: seeds {_list(undefined)}.")
        values = np.array([[of_arm[seed] for seed in used] for of_arm in of_arms], dtype=np.float64)
        return tuple(used), values, join_notes(notes)


def join_notes(notes: Iterable[str | None]) -> str | None:
    """Join sentences; None where there are none.

    Example:
        >>> join_notes([None, "One.", "Two."])
        'One. Two.'
    """
    return " ".join(note for note in notes if note) or None


def _list(seeds: Iterable[int]) -> str:
    return ", ".join(str(seed) for seed in seeds)
