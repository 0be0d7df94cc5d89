"""The table of predictions as numbers, encoded once: what all statistics of a comparison read.

A large comparison has tens of millions of predictions, whose keys are strings. Here they become
codes, and the rows of one trained model on one split become slices that lie together.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.base.errors import InputError

NAMES = ("model", "arm", "split", "image_id", "label")
"""Columns of predictions that hold strings. A large table is read much faster with these as
dictionaries: `pyarrow.parquet.read_table(path, read_dictionary=NAMES)`."""


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
        images: int32, (n_images,), ascending; the same number stands for the same image in all
            groups.
        labels: int64, (n_images,); indices of the true classes.
        probabilities: float64, (n_images, n_classes), in [0, 1].
        on_tie: Index of the class that is called where two are equally probable: the positive one,
            as by a threshold of 0.5, so that the order of the alphabet does not decide.
    """

    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    on_tie: int = 1

    @property
    def predicted(self) -> np.ndarray:
        """Return the index of the most probable class."""
        return choose_classes(self.probabilities, self.on_tie)

    def take(self, rows: np.ndarray | slice) -> "Group":
        """Keep some images."""
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            probabilities=self.probabilities[rows],
        )

    def shares_images(self, other: "Group") -> bool:
        """Return whether both are of the same images with the same labels."""
        return np.array_equal(self.images, other.images) and np.array_equal(
            self.labels, other.labels
        )


@dataclass(frozen=True)
class Predictions:
    """All predictions of a comparison.

    Attributes:
        classes: All classes, sorted.
        positive: Index of the positive class.
        groups: Per trained model and split, sorted by key.
        image_ids: By the number that an image has in the groups; some may be in none.
        ranks: The place of each class in their order from 0 on, if they have one.
    """

    classes: tuple[str, ...]
    positive: int
    groups: Mapping[Key, Group]
    image_ids: tuple[str, ...]
    ranks: tuple[int, ...] | None = None

    def select(self, keep: Callable[[Key], bool]) -> "Predictions":
        """Keep only the groups whose key `keep` accepts; images keep their numbers."""
        kept = {key: group for key, group in self.groups.items() if keep(key)}
        return replace(self, groups=kept)


def encode_predictions(
    table: pa.Table, classes: Sequence[str], positive_class: str, ordinal: Sequence[str] = ()
) -> Predictions:
    """Encode the table of predictions, in any order of rows.

    Args:
        table: model, seed, arm, split, image_id, label, and `p_<class>` per class. Strings are
            plain or dictionary-encoded.
        classes: All classes, sorted.
        positive_class: One of them.
        ordinal: All of them in their order, if they have one.

    Raises:
        ValueError: A column or value is missing, a label is unknown, or a probability is not in
            [0, 1].
        InputError: An image is predicted twice by one trained model: tables of two runs are mixed.
    """
    check_classes(classes, positive_class)
    scores = [f"p_{name}" for name in classes]
    _check_columns(table, [*Key._fields, "image_id", "label", *scores])
    positive = classes.index(positive_class)
    ranks = rank_classes(classes, ordinal)
    if len(table) == 0:
        return Predictions(tuple(classes), positive, {}, (), ranks)
    trained, keys = _number_keys(table)
    images, image_ids = _encode(table["image_id"])
    labels = _encode_labels(table["label"], classes)
    probabilities = np.empty((len(table), len(classes)))
    for column, name in enumerate(scores):
        probabilities[:, column] = table[name].to_numpy()
    check_probabilities(probabilities)
    rows = Group(images, labels, probabilities, positive)
    groups = {}
    for number, found in _divide(trained, rows):
        group = _sort(found)
        repeated = np.flatnonzero(group.images[1:] == group.images[:-1])
        if len(repeated):
            twice = {**keys[number]._asdict(), "image_id": image_ids[group.images[repeated[0]]]}
            raise InputError(
                f"Expected one prediction per image, but got a second one for {twice}. Do not mix "
                "the tables of two runs."
            )
        groups[keys[number]] = group
    return Predictions(tuple(classes), positive, groups, tuple(map(str, image_ids)), ranks)


def rank_classes(classes: Sequence[str], ordinal: Sequence[str]) -> tuple[int, ...] | None:
    """Return the place of each class in an order of all of them; None without an order.

    Example:
        >>> rank_classes(["healthy", "mild", "early"], ["healthy", "early", "mild"])
        (0, 2, 1)
    """
    return tuple(ordinal.index(name) for name in classes) if ordinal else None


def choose_classes(probabilities: np.ndarray, on_tie: int) -> np.ndarray:
    """Return the index of the most probable class.

    Args:
        probabilities: float, (n_images, n_classes), no NaN.
        on_tie: Index of the class to return where none is more probable than it.

    Returns:
        int64, (n_images,).

    Example:
        >>> choose_classes(np.array([[0.2, 0.8], [0.5, 0.5]]), on_tie=0).tolist()
        [1, 0]
    """
    if probabilities.shape[1] == 2:  # a search of rows of two takes ten times as long
        is_called = probabilities[:, on_tie] >= probabilities[:, 1 - on_tie]
        return np.where(is_called, on_tie, 1 - on_tie)
    found = probabilities.argmax(1)
    rows = np.arange(len(found))
    return np.where(probabilities[:, on_tie] >= probabilities[rows, found], on_tie, found)


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


def _number_keys(table: pa.Table) -> tuple[np.ndarray, dict[int, Key]]:
    """Return a number per row, int64, that ascends with its key, and the keys by number."""
    columns = [_encode(table[name]) for name in Key._fields]
    trained = np.zeros(len(table), np.int64)
    for codes, values in columns:
        trained *= len(values)
        trained += codes
    shape = tuple(len(values) for _, values in columns)

    def name(number: int) -> Key:
        places = np.unravel_index(number, shape)
        model, seed, arm, split = (
            values[place] for place, (_, values) in zip(places, columns, strict=True)
        )
        return Key(str(model), int(seed), str(arm), str(split))

    return trained, {int(number): name(number) for number in _list_runs(trained)[0]}


def _divide(trained: np.ndarray, rows: Group) -> Iterator[tuple[int, Group]]:
    """Yield each number, ascending, with its rows; rows that lie together are not copied."""
    numbers, starts = _list_runs(trained)
    if len(np.unique(numbers)) < len(numbers):  # unlike trainings write them, one after the other
        order = np.argsort(trained, kind="stable")
        trained, rows = trained[order], rows.take(order)
        numbers, starts = _list_runs(trained)
    ends = np.append(starts[1:], len(trained))
    for at in np.argsort(numbers):
        yield int(numbers[at]), rows.take(slice(starts[at], ends[at]))


def _list_runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the value and the first place of each run of equal values."""
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    return values[starts], starts


def _sort(group: Group) -> Group:
    if np.any(group.images[1:] < group.images[:-1]):
        return group.take(np.argsort(group.images))
    return group


def _encode(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str | int]]:
    """Return codes, int32, and the distinct values that they index, sorted; at least one row."""
    encoded = column.dictionary_encode().unify_dictionaries()
    found = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
    values = encoded.chunk(0).dictionary.to_pylist()
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = np.empty(len(values), np.int32)
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
