"""Measure how well the label is predicted without seeing the anatomy.

A classifier that sees only the metadata of a file, or a tiny preview, should do no better than
chance. If it does better, a network may have learned the same shortcut, and its accuracy says
little about the disease.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from osteo_ray.data.appearance import FRAME_SIZE, PREVIEW_SIDE
from osteo_ray.data.copies.groups import number_groups
from osteo_ray.data.splits.assignment import assign_folds

N_FOLDS = 5
_MOST_IMAGES = 5000  # more would take long and change little
_RESAMPLES = 1000
_COMPONENTS = 30
FOLDS_SEED = 0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shortcut:
    """How well the label is predicted without the anatomy.

    Attributes:
        name: What the classifier saw: frame, metadata or preview.
        accuracy: Balanced accuracy in [0, 1], cross-validated with whole groups.
        low: Lower end of its 95 % interval, from a bootstrap of groups.
        high: Upper end of that interval.
        chance: Balanced accuracy of guessing, 1 / number of classes.
        n_images: Number of images used.
    """

    name: str
    accuracy: float
    low: float
    high: float
    chance: float
    n_images: int

    @property
    def is_found(self) -> bool:
        """Whether the whole interval lies above chance."""
        return self.low > self.chance


def describe_frames(images: pd.DataFrame) -> Floats:
    """Tabulate the metadata of files and their frames, without the exposure.

    Args:
        images: Table with the columns format, mode, width, height, size and look.

    Returns:
        float64 (n, columns): format and mode as 0/1 columns, width, height, aspect ratio, bytes per
        pixel, and mean and standard deviation of the gray of each edge.
    """
    kinds = pd.get_dummies(images[["format", "mode"]]).to_numpy(np.float64)
    width, height = (images[name].to_numpy(np.float64) for name in ("width", "height"))
    per_pixel = images["size"].to_numpy(np.float64) / (width * height)
    sizes = np.stack([width, height, width / height, per_pixel], axis=1)
    return np.hstack([kinds, sizes, _read_looks(images)[:, :FRAME_SIZE]])


def describe_exposure(images: pd.DataFrame) -> Floats:
    """Tabulate the shares of 16 bins of gray: float64 (n, 16)."""
    return _read_looks(images)[:, FRAME_SIZE:]


def read_previews(images: pd.DataFrame) -> Floats:
    """Return the previews, scaled to 0..1: float64 (n, 256)."""
    rows = np.frombuffer(b"".join(images["preview"]), np.uint8)
    return rows.reshape(len(images), PREVIEW_SIDE**2) / 255


def _read_looks(images: pd.DataFrame) -> Floats:
    rows = np.frombuffer(b"".join(images["look"]), np.float32).astype(np.float64)
    return rows.reshape(len(images), -1)


def find_shortcuts(images: pd.DataFrame, labels: np.ndarray, groups: np.ndarray) -> list[Shortcut]:
    """Measure how well metadata and a preview predict the label.

    Args:
        images: Rows of `Ingest.images`.
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group are never on both sides of a fold.

    Returns:
        A shortcut for the frame alone (file format, mode, size, aspect ratio, edges), one for all
        metadata (the frame and the histogram of gray), and one for a preview of 16 × 16 pixels.
        None at all if a class has fewer groups than there are folds.
    """
    rows = draw_groups(groups)
    images, labels, groups = images.iloc[rows], labels[rows], number_groups(groups[rows])
    if not has_groups(labels, groups):
        return []
    folds = assign_folds(labels, groups, N_FOLDS, seed=FOLDS_SEED)
    frames = describe_frames(images)
    trees = ExtraTreesClassifier(
        200, min_samples_leaf=3, class_weight="balanced", random_state=FOLDS_SEED
    )
    previews = read_previews(images)
    linear = make_linear_model(len(rows))
    seen = (
        ("frame", frames, trees),
        ("metadata", np.hstack([frames, describe_exposure(images)]), trees),
        ("preview", previews, linear),
    )
    return [measure_shortcut(name, model, x, labels, groups, folds) for name, x, model in seen]


def has_groups(labels: np.ndarray, groups: np.ndarray) -> bool:
    """Tell whether there are several classes, each with a group for every fold."""
    of_class = [len(np.unique(groups[labels == label])) for label in np.unique(labels)]
    return len(of_class) >= 2 and min(of_class) >= N_FOLDS


def make_linear_model(n_images: int) -> Any:
    """Return a classifier of small pictures, of which there are so many."""
    return make_pipeline(
        StandardScaler(),
        PCA(min(_COMPONENTS, n_images // 2), random_state=FOLDS_SEED),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    )


def draw_groups(groups: np.ndarray) -> npt.NDArray[np.int64]:
    """Draw whole groups with at most `_MOST_IMAGES` images in all; larger groups are left out."""
    numbers = number_groups(groups)
    order = np.random.default_rng(FOLDS_SEED).permutation(int(numbers.max()) + 1)
    sizes = np.bincount(numbers)
    order = order[sizes[order] <= _MOST_IMAGES]
    chosen = order[np.cumsum(sizes[order]) <= _MOST_IMAGES]
    return np.flatnonzero(np.isin(numbers, chosen))


def measure_shortcut(
    name: str,
    model: Any,
    x: Floats,
    labels: np.ndarray,
    groups: np.ndarray,
    folds: np.ndarray,
) -> Shortcut:
    """Measure by cross-validation how well a classifier predicts a label.

    Args:
        name: What it sees.
        model: Classifier of scikit-learn.
        x: What it sees of each image, (n, columns).
        labels: str (n,).
        groups: int (n,), from 0 on.
        folds: int (n,), from 0 on; whole groups.
    """
    predicted = np.empty_like(labels)
    for fold in range(N_FOLDS):
        held = folds == fold
        predicted[held] = model.fit(x[~held], labels[~held]).predict(x[held])
    classes, truth = np.unique(labels, return_inverse=True)
    right = (predicted == labels).astype(np.float64)
    # Count right answers and images of each class for each group; a resample adds rows up.
    n_groups = int(groups.max()) + 1
    cells = groups * len(classes) + truth
    hits = np.bincount(cells, right, n_groups * len(classes)).reshape(n_groups, -1)
    sizes = np.bincount(cells, minlength=n_groups * len(classes)).reshape(n_groups, -1)
    rng = np.random.default_rng(FOLDS_SEED)
    drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), _RESAMPLES)
    recalls = (drawn @ hits) / np.maximum(drawn @ sizes, 1)
    low, high = np.quantile(recalls.mean(axis=1), [0.025, 0.975])
    accuracy = float(balanced_accuracy_score(labels, predicted))
    return Shortcut(name, accuracy, float(low), float(high), 1 / len(classes), len(labels))
