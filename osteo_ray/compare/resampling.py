"""From the table of predictions to a metric of every trained model on resampled test images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.compare.bootstrap import draw_weights
from osteo_ray.compare.weighted import measure_weighted
from osteo_ray.errors import InputError

N_DRAWS = 500
"""A variance is estimated, no quantile: the noise of so many draws is that of 500 degrees of
freedom, small beside that of seeds and images."""

NAMES = ("model", "arm", "split", "image_id", "label")
"""Columns of predictions that hold strings. To read them as dictionaries, by `read_table(path,
read_dictionary=NAMES)` of pyarrow.parquet, saves most of the time that a large table takes."""


@dataclass(frozen=True)
class Resampled:
    """A metric of trained models on bootstrap samples of the test images.

    Draw k uses the same weights of groups everywhere, so that differences of arms are paired, and
    what seeds share through common test images is seen.

    Attributes:
        metric: A name in `METRIC_NAMES`.
        draws: Per model, arm and seed float64, (n_draws,); NaN where a draw lacks a class.
        tested: Per seed the numbers of the groups in its test set, distinct.
        note: Why there are no draws; None where there are.
    """

    metric: str
    draws: dict[tuple[str, str, int], npt.NDArray[np.float64]]
    tested: dict[int, npt.NDArray[np.int64]]
    note: str | None = None

    def stack(
        self, model: str, arms: Sequence[str], seeds: Sequence[int]
    ) -> tuple[npt.NDArray[np.float64], None] | tuple[None, str]:
        """Return the draws of arms, (n_draws, n_arms, n_seeds), or None and why there are none.

        In a few draws a test set may lack a class, and the metric is NaN; more than half of them
        are too many.
        """
        keys = [[(model, arm, seed) for seed in seeds] for arm in arms]
        missing = sorted({key[2] for row in keys for key in row if key not in self.draws})
        if missing:
            return None, f"predictions of seeds {', '.join(map(str, missing))} are missing."
        draws = np.stack([np.stack([self.draws[key] for key in row], axis=1) for row in keys], 1)
        if np.isnan(draws).mean(0).max(initial=0.0) > 0.5:
            return None, (
                f"test sets are so small that most samples of them leave {self.metric} undefined."
            )
        return draws, None

    def count_shared(self, seeds: Sequence[int]) -> int:
        """Return how many groups the test sets of two of the seeds or more hold."""
        groups = np.concatenate([self.tested[seed] for seed in seeds])
        return int(np.sum(np.unique(groups, return_counts=True)[1] > 1))


def resample_metric(
    predictions: pa.Table,
    images: pd.DataFrame,
    *,
    metric: str,
    classes: Sequence[str],
    positive_class: str,
    n_draws: int = N_DRAWS,
    seed: int = 0,
) -> Resampled:
    """Measure every trained model on bootstrap samples of the groups of test images.

    Args:
        predictions: model, seed, arm, split, image_id, label, and `p_<class>` per class; rows of
            other splits than test play no role. Plain or dictionary-encoded strings.
        images: image_id and group; images of one group (copies of a radiograph, one patient) are
            drawn together. One row per image that the splits deal.
        metric: The primary endpoint.
        classes: All classes, sorted.
        positive_class: One of them.
        n_draws: Bootstrap samples.
        seed: Of the samples.

    Raises:
        InputError: Trained models of one seed were tested on different images, an image was
            predicted twice by one of them, or is not in `images`: tables of two runs are mixed.
    """
    test = _Encoded.of(predictions.filter(pc.equal(predictions["split"], "test")), classes)
    groups = _number_groups(images, test.image_ids)
    draws: dict[tuple[str, str, int], npt.NDArray[np.float64]] = {}
    tested: dict[int, npt.NDArray[np.int64]] = {}
    weights = draw_weights(max(1, images["group"].nunique()), n_draws, seed)
    for number, runs, rows in test.walk_seeds():
        in_seed = groups[test.image[rows[0]]]
        tested[number] = np.unique(in_seed)
        values = measure_weighted(
            metric,
            test.label[rows[0]],
            test.probabilities[rows],
            weights[:, in_seed].astype(np.float32),
            list(classes).index(positive_class),
        )
        if values is None:
            note = f"No bootstrap interval: {metric} has no weighted form."
            return Resampled(metric, {}, {}, note)
        for (model, arm), column in zip(runs, values.T, strict=True):
            draws[model, arm, number] = column
    return Resampled(metric, draws, tested)


@dataclass(frozen=True)
class _Encoded:
    """Test predictions as numbers, sorted by seed, model, arm and image."""

    seeds: npt.NDArray[np.int64]
    models: list[str]
    arms: list[str]
    image_ids: list[str]
    run: npt.NDArray[np.int64]  # (n_rows,); seed, model and arm in one number
    image: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]  # (n_rows, n_classes)

    @classmethod
    def of(cls, table: pa.Table, classes: Sequence[str]) -> "_Encoded":
        seeds, seed = np.unique(table["seed"].to_numpy(), return_inverse=True)
        model, models = _encode(table["model"])
        arm, arms = _encode(table["arm"])
        image, image_ids = _encode(table["image_id"])
        label, names = _encode(table["label"])
        run = (seed * len(models) + model) * len(arms) + arm
        order = np.argsort(run * max(1, len(image_ids)) + image, kind="stable")
        in_classes = np.array([list(classes).index(name) for name in names], dtype=np.int64)
        scores = np.stack([table[f"p_{name}"].to_numpy() for name in classes], axis=1)
        return cls(
            seeds=seeds.astype(np.int64),
            models=models,
            arms=arms,
            image_ids=image_ids,
            run=run[order],
            image=image[order],
            label=in_classes[label[order]],
            probabilities=scores[order].astype(np.float64, copy=False),
        )

    def walk_seeds(
        self,
    ) -> Iterator[tuple[int, list[tuple[str, str]], npt.NDArray[np.int64]]]:
        """Yield seed, its runs as (model, arm), and their rows (n_runs, n_images) in the table."""
        if not len(self.run):
            return
        starts = np.flatnonzero(np.diff(self.run, prepend=-1))
        counts = np.diff(starts, append=len(self.run))
        of_seed = self.run[starts] // (len(self.models) * len(self.arms))
        for position in np.unique(of_seed):
            at = of_seed == position
            runs = [self._name(number) for number in self.run[starts[at]]]
            seed = int(self.seeds[position])
            self._check(seed, runs, starts[at], counts[at])
            yield seed, runs, starts[at][:, None] + np.arange(counts[at][0])

    def _name(self, run: int) -> tuple[str, str]:
        model, arm = divmod(int(run) % (len(self.models) * len(self.arms)), len(self.arms))
        return self.models[model], self.arms[arm]

    def _check(
        self, seed: int, runs: Sequence[tuple[str, str]], starts: np.ndarray, counts: np.ndarray
    ) -> None:
        """Refuse a seed whose runs were not tested on the same images with the same labels."""
        expected = slice(starts[0], starts[0] + counts[0])
        if np.any(np.diff(self.image[expected]) == 0):
            raise InputError(
                f"Expected one test prediction per image, but arm {runs[0][1]} of {runs[0][0]}, "
                f"seed {seed}, has two of one image. Do not mix the tables of two runs."
            )
        for (model, arm), start, count in zip(runs, starts, counts, strict=True):
            rows = slice(start, start + count)
            if count != counts[0] or any(
                np.any(column[rows] != column[expected]) for column in (self.image, self.label)
            ):
                raise InputError(
                    f"Expected all arms of seed {seed} to be tested on the same images, but arm "
                    f"{arm} of {model} ({count} images) was tested on others than arm {runs[0][1]} "
                    f"of {runs[0][0]} ({counts[0]} images). Do not mix the tables of two runs."
                )


def _encode(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the number of each value, and the values."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    array = column.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # what is left of an empty column
        return np.zeros(0, np.int64), []
    return array.indices.to_numpy().astype(np.int64), array.dictionary.to_pylist()


def _number_groups(images: pd.DataFrame, image_ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the number of each image's group, from 0 on."""
    numbers = np.unique(images["group"].to_numpy(), return_inverse=True)[1]
    number_of = dict(zip(images["image_id"].tolist(), numbers.tolist(), strict=True))
    unknown = [image_id for image_id in image_ids if image_id not in number_of]
    if unknown:
        raise InputError(
            f"Expected every predicted image in the table of images, but {unknown[0]} is not. "
            "Do not mix the tables of two runs."
        )
    return np.array([number_of[image_id] for image_id in image_ids], dtype=np.int64)
