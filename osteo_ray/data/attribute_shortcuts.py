"""How far site, device, view, side, age and sex tell the class, and the image tells them.

A classifier can take a shortcut by an attribute that says something of the class (its utility) and
that can be read off the image (its detectability). Both are measured here, as Pavlak et al., Data
AUDIT (2023), and Drenkow et al., G-AUDIT (2025), propose; their product says which attribute to
look at first. Age and sex may be causes of a disease, too; no audit can tell this from a shortcut.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats.contingency import association
from sklearn.linear_model import LogisticRegression

from osteo_ray.data.attributes import ATTRIBUTES, read_attribute
from osteo_ray.data.copies.groups import number_groups
from osteo_ray.data.shortcuts import (
    FOLDS_SEED,
    N_FOLDS,
    Shortcut,
    describe_exposure,
    describe_frames,
    draw_groups,
    has_groups,
    make_linear_model,
    measure_shortcut,
    read_previews,
)
from osteo_ray.data.splits.assignment import assign_folds

_AGES = 4  # parts of equal size that ages are divided into
_MOST_VALUES = 20  # those that fewer images have count as one
_UNKNOWN, _OTHER = "unknown", "other"


@dataclass(frozen=True)
class AttributeShortcut:
    """What an attribute tells of the class, and the image of the attribute.

    Attributes:
        name: See `attributes.ATTRIBUTES`.
        n_known: Number of images of which it is known; that it is not known is a value, too.
        counts: Number of images of each class, by value of the attribute; ages in four parts.
        association: Cramér's V of attribute and class, in 0..1, 0 if they are independent.
        of_class: How well a classifier predicts the class from the attribute alone.
        of_attribute: How well one predicts the attribute, where it is known, from a small preview,
            the edges and the histogram of the image; None if too few images have each value.
    """

    name: str
    n_known: int
    counts: dict[str, dict[str, int]]
    association: float
    of_class: Shortcut
    of_attribute: Shortcut | None

    @property
    def utility(self) -> float:
        """How far the attribute tells the class: 0 as chance, 1 perfectly."""
        return _above_chance(self.of_class)

    @property
    def detectability(self) -> float | None:
        """How far the image tells the attribute: 0 as chance, 1 perfectly."""
        return None if self.of_attribute is None else _above_chance(self.of_attribute)

    @property
    def risk(self) -> float | None:
        """Utility × detectability."""
        return None if self.detectability is None else self.utility * self.detectability


def find_attribute_shortcuts(
    images: pd.DataFrame, labels: np.ndarray, groups: np.ndarray
) -> list[AttributeShortcut]:
    """Measure what each attribute tells of the class, and the image of the attribute.

    Args:
        images: Rows of `Ingest.images`.
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group are never on both sides of a fold.

    Returns:
        An entry for each attribute that is known and varies; the highest risk first. None at all if
        a class has fewer groups than there are folds.
    """
    rows = draw_groups(groups)
    images, labels, groups = images.iloc[rows], labels[rows], number_groups(groups[rows])
    if not has_groups(labels, groups):
        return []
    folds = assign_folds(labels, groups, N_FOLDS, seed=FOLDS_SEED)
    seen = np.hstack([read_previews(images), describe_frames(images), describe_exposure(images)])
    found = []
    for name in ATTRIBUTES:
        told = [read_attribute(name, text) for text in images[name]]
        values = _divide(name, np.array(told))
        if not (values != _UNKNOWN).any() or len(np.unique(values)) < 2:
            continue
        table = pd.crosstab(values, labels)
        shown = pd.get_dummies(pd.Series(values)).to_numpy(np.float64)
        model = LogisticRegression(class_weight="balanced", max_iter=1000)
        found.append(
            AttributeShortcut(
                name,
                int((values != _UNKNOWN).sum()),
                {
                    str(value): {str(k): int(n) for k, n in row.items()}
                    for value, row in table.iterrows()
                },
                float(association(table.to_numpy(), method="cramer")),
                measure_shortcut(name, model, shown, labels, groups, folds),
                _detect(name, seen, values, groups),
            )
        )
    return sorted(found, key=lambda one: -(one.risk if one.risk is not None else one.utility))


def _above_chance(shortcut: Shortcut) -> float:
    return max(0.0, (shortcut.accuracy - shortcut.chance) / (1 - shortcut.chance))


def _divide(name: str, values: np.ndarray) -> np.ndarray:
    """Return the values as few groups: ages in parts of equal size, rare values as one."""
    known = values != ""
    if name == "age":
        ages = np.array([float(value) if value else np.nan for value in values])
        return _divide_ages(ages)
    counts = pd.Series(values[known]).value_counts()
    kept = set(counts.index[:_MOST_VALUES])
    return np.array(
        [_UNKNOWN if not value else value if value in kept else _OTHER for value in values.tolist()]
    )


def _divide_ages(ages: npt.NDArray[np.float64]) -> np.ndarray:
    known = np.isfinite(ages)
    if not known.any():
        return np.full(len(ages), _UNKNOWN)
    ends = np.unique(np.quantile(ages[known], np.linspace(0, 1, _AGES + 1)))
    parts = np.clip(np.searchsorted(ends, ages, side="right") - 1, 0, max(len(ends) - 2, 0))
    names = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(ends)]
    names = names or [f"{ends[0]:.3g}"]
    return np.array(
        [
            names[part] if told else _UNKNOWN
            for part, told in zip(parts.tolist(), known.tolist(), strict=True)
        ]
    )


def _detect(
    name: str, seen: npt.NDArray[np.float64], values: np.ndarray, groups: np.ndarray
) -> Shortcut | None:
    """Measure how well the image tells an attribute, among values of at least five groups."""
    enough = [
        value
        for value in np.unique(values)
        if value != _UNKNOWN and len(np.unique(groups[values == value])) >= N_FOLDS
    ]
    rows = np.isin(values, enough)
    if len(enough) < 2:
        return None
    values, of_rows = values[rows], number_groups(groups[rows])
    folds = assign_folds(values, of_rows, N_FOLDS, seed=FOLDS_SEED)
    model: Any = make_linear_model(int(rows.sum()))
    return measure_shortcut(name, model, seen[rows], values, of_rows, folds)
