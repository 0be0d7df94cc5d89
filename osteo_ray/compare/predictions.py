"""The table of predictions as numbers, encoded once: what all statistics of a comparison read.

A large comparison has tens of millions of predictions, whose keys are strings. Here they become
codes, and the rows of one trained model on one split become slices that lie together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Key(NamedTuple):
    """Which trained model predicted, and on which part of its split."""

    model: str
    seed: int
    arm: str
    split: str


@dataclass(frozen=True)
class Group:
    """The predictions of one trained model on one split, in the order of the images.

    Attributes:
        images: int64, (n_images,), ascending; equal numbers of two groups are one image.
        labels: int64, (n_images,); indices of the true classes.
        probabilities: float64, (n_images, n_classes), in [0, 1].
    """

    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """Return the index of the most probable class, the first of them on a tie."""
        chosen: np.ndarray = self.probabilities.argmax(1)
        return chosen


@dataclass(frozen=True)
class Predictions:
    """All predictions of a comparison.

    Attributes:
        classes: All classes, sorted.
        positive: Index of the positive class.
        groups: Per trained model and split, sorted by key.
    """

    classes: tuple[str, ...]
    positive: int
    groups: Mapping[Key, Group]


def encode_predictions(table: pa.Table, classes: Sequence[str], positive_class: str) -> Predictions:
    """Encode the table of predictions, in any order of rows.

    Args:
        table: model, seed, arm, split, image_id, label, and `p_<class>` per class.
        classes: All classes, sorted.
        positive_class: One of them.

    Raises:
        ValueError: A column or value is missing, a label is unknown, a probability is not in
            [0, 1], or an image is predicted twice by one trained model.
    """
    check_classes(classes, positive_class)
    scores = [f"p_{name}" for name in classes]
    _check_columns(table, [*Key._fields, "image_id", "label", *scores])
    if len(table) == 0:
        return Predictions(tuple(classes), classes.index(positive_class), {})
    keys = [_encode(table[name]) for name in Key._fields]
    images, image_ids = _encode(table["image_id"])
    labels = _encode_labels(table["label"], classes)
    probabilities = np.column_stack([table[name].to_numpy().astype(np.float64) for name in scores])
    check_probabilities(probabilities)
    shape = tuple(len(names) for _, names in keys)
    trained = np.ravel_multi_index([codes for codes, _ in keys], shape)
    place = trained * len(image_ids) + images  # one number per model and image
    if np.any(place[1:] < place[:-1]):
        order = np.argsort(place, kind="stable")  # of runs in order, as trainings leave them
        place, trained, images = place[order], trained[order], images[order]
        labels, probabilities = labels[order], probabilities[order]
    numbers, starts = np.unique(trained, return_index=True)

    def name(number: int) -> Key:
        indices = np.unravel_index(number, shape)
        model, seed, arm, split = (
            names[index] for index, (_, names) in zip(indices, keys, strict=True)
        )
        return Key(str(model), int(seed), str(arm), str(split))

    repeated = np.flatnonzero(place[1:] == place[:-1])
    if len(repeated):
        found = {**name(trained[repeated[0]])._asdict(), "image_id": image_ids[images[repeated[0]]]}
        raise ValueError(f"Expected one prediction per image, but got a second one for {found}.")
    ends = [*starts[1:], len(trained)]
    groups = {
        name(number): Group(images[start:end], labels[start:end], probabilities[start:end])
        for number, start, end in zip(numbers, starts, ends, strict=True)
    }
    return Predictions(tuple(classes), classes.index(positive_class), groups)


def check_classes(classes: Sequence[str], positive_class: str) -> None:
    """Raise a ValueError unless there are two classes or more, the positive one among them."""
    if len(set(classes)) < max(2, len(classes)):
        raise ValueError(f"Expected two or more distinct classes, but got {list(classes)}.")
    if positive_class not in classes:
        raise ValueError(
            f"Expected `positive_class` among {list(classes)}, but got `{positive_class}`."
        )


def check_probabilities(probabilities: np.ndarray) -> None:
    """Raise a ValueError unless all values of an array of rows are in [0, 1]; NaN is not."""
    fine = (probabilities >= 0) & (probabilities <= 1)
    if not fine.all():
        row = int(np.argmin(fine.all(1)))
        raise ValueError(
            f"Expected probabilities in [0, 1], but got {probabilities[row].tolist()} in row {row}."
        )


def check_labels(unknown: Sequence[str], classes: Sequence[str]) -> None:
    """Raise a ValueError if any label is unknown."""
    if unknown:
        raise ValueError(f"Expected labels among {list(classes)}, but got {sorted(unknown)}.")


def _encode(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str | int]]:
    """Return codes, int64, and the distinct values that they index, sorted; at least one row."""
    encoded = column.dictionary_encode().unify_dictionaries()
    found = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
    values = encoded.chunk(0).dictionary.to_pylist()
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = np.empty(len(values), np.int64)
    ranks[order] = np.arange(len(values))
    return ranks[found], [values[index] for index in order]


def _encode_labels(column: pa.ChunkedArray, classes: Sequence[str]) -> np.ndarray:
    codes, names = _encode(column)
    check_labels([str(name) for name in names if name not in classes], classes)
    indices = np.array([classes.index(str(name)) for name in names], np.int64)
    labels: np.ndarray = indices[codes]
    return labels


def _check_columns(table: pa.Table, columns: list[str]) -> None:
    absent = [name for name in columns if name not in table.column_names]
    if absent:
        raise ValueError(f"Expected predictions with columns {columns}, but {absent} are missing.")
    empty = [name for name in columns if _has_gaps(table[name])]
    if empty:
        raise ValueError(f"Expected a value in every prediction, but columns {empty} have gaps.")


def _has_gaps(column: pa.ChunkedArray) -> bool:
    floating = pa.types.is_floating(column.type)
    return column.null_count > 0 or (floating and bool(pc.any(pc.is_nan(column)).as_py()))
