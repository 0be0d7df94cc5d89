"""The local model of LIME: which superpixels of one image speak for a class.

The mathematics is that of `lime` 0.2.0.1 (Ribeiro et al. 2016), solved in closed form.
"""

from dataclasses import dataclass

import numpy as np

from osteo_ray.explain.settings import Selection


@dataclass(frozen=True)
class LocalModel:
    """A ridge regression around one image.

    Attributes:
        weights: float64, (n_superpixels,).
        local_fit: Weighted R²; NaN if the targets are all equal, so that there is nothing to fit.
        covariance: float64, (n_superpixels, n_superpixels); how the weights vary over draws of
            rows.
        gram: float64, (n_superpixels, n_superpixels); weighted sums of products of the centred
            columns of the rows.
        alpha: The ridge penalty.
        total: Weighted sum of the squared centred targets.
    """

    weights: np.ndarray
    local_fit: float
    covariance: np.ndarray
    gram: np.ndarray
    alpha: float
    total: float

    def compute_moments(self, weights: np.ndarray) -> np.ndarray:
        """Return the weighted sums of products of columns and targets that would give weights.

        Args:
            weights: float64, (n, n_superpixels).

        Returns:
            float64, (n, n_superpixels).
        """
        moments: np.ndarray = weights @ self.gram + self.alpha * weights
        return moments


def fit_local_model(
    rows: np.ndarray, targets: np.ndarray, *, kernel_width: float, alpha: float, paired: bool
) -> LocalModel:
    """Fit the local linear model: ridge regression weighted by closeness to the whole image.

    Args:
        rows: uint8, (n_samples, n_superpixels); the first is the whole image.
        targets: float64, (n_samples,); what is explained, such as the probability of a class.
        kernel_width: Width of the exponential kernel on the cosine distance to the first row.
        alpha: Ridge penalty; it does not apply to the intercept.
        paired: Whether rows 1 and 2, rows 3 and 4, and so on were drawn together, so that only the
            pairs are independent.

    Returns:
        The model. Its covariance is the sandwich estimate (White 1980; for pairs, Liang & Zeger
        1986), scaled up for the degrees of freedom that the weights use.

    Raises:
        ValueError: There is no penalty, and the rows do not determine the weights.
    """
    x = rows.astype(np.float64)
    norms = np.sqrt(x.sum(1) * x.shape[1])
    cosine = np.divide(x.sum(1), norms, out=np.zeros(len(x)), where=norms > 0)
    closeness = np.sqrt(np.exp(-((1 - cosine) ** 2) / kernel_width**2))
    share = closeness / closeness.sum()
    x = x - share @ x
    y = targets - targets[0]  # so that equal targets leave exactly zero to explain
    y = y - share @ y
    weighted = x * closeness[:, None]
    gram = weighted.T @ x
    penalised = gram + alpha * np.eye(x.shape[1])
    weights = _solve(penalised, weighted.T @ y)
    residuals = y - x @ weights
    unexplained, total = closeness @ residuals**2, float(closeness @ y**2)
    scores = weighted * residuals[:, None]
    if paired:
        scores = np.add.reduceat(scores, np.append(0, np.arange(1, len(scores), 2)), axis=0)
    spread = _solve(penalised, scores.T)
    free = len(scores) / max(len(scores) - x.shape[1], 1)
    fit = float(1 - unexplained / total) if total > 0 else float("nan")
    return LocalModel(weights, fit, free * spread @ spread.T, gram, alpha, total)


def choose_masks(
    model: LocalModel, weights: np.ndarray, top_k: int, selection: Selection
) -> np.ndarray:
    """Choose the superpixels that masks keep, for weights of the model or redraws of them.

    Args:
        model: The local model.
        weights: float64, (n, n_superpixels); each row gives a mask.
        top_k: How many superpixels of positive weight a mask keeps: those of the largest weights,
            or those that are in a model of so many superpixels, if that is how they are chosen.
        selection: How they are chosen; see `LimeSettings`.

    Returns:
        bool, (n, n_superpixels); True = kept.
    """
    kept = np.zeros(weights.shape, bool)
    if selection == "forward":
        weights = select_forward(model, weights, top_k)
    order = np.argsort(-weights, axis=1, kind="stable")[:, :top_k]
    np.put_along_axis(kept, order, np.take_along_axis(weights, order, axis=1) > 0, axis=1)
    return kept


def select_forward(model: LocalModel, weights: np.ndarray, n_features: int) -> np.ndarray:
    """Fit models of few superpixels, each found by adding what explains most, one by one.

    This is `feature_selection="forward_selection"` of `lime`: superpixels are added by least
    squares, without a penalty, and the ridge regression is fitted to those that were added.

    Args:
        model: The local model of all superpixels.
        weights: float64, (n, n_superpixels); its weights or redraws of them, which stand for the
            targets that would have given them.
        n_features: How many superpixels each model has.

    Returns:
        float64, (n, n_superpixels); 0 for superpixels that are not in a model.

    Raises:
        ValueError: There is no penalty, and a superpixel adds nothing to the others.
    """
    moments = model.compute_moments(weights)
    every = np.arange(len(weights))
    # Of each superpixel, what those added so far leave of its moment and of its square.
    left, square = moments.copy(), np.tile(np.diag(model.gram), (len(weights), 1))
    smallest = 1e-9 * square.max()  # below, a superpixel adds nothing to the others
    columns: list[np.ndarray] = []  # of the Cholesky factor of those added so far
    order = np.zeros((len(weights), min(n_features, weights.shape[1])), np.int64)
    added = np.zeros(weights.shape, bool)
    for step in range(order.shape[1]):
        gain = np.divide(left**2, square, out=np.full(left.shape, -1.0), where=square > smallest)
        gain[added] = -2.0
        order[:, step] = best = gain.argmax(1)
        added[every, best] = True
        root = np.sqrt(np.maximum(square[every, best], smallest))[:, None]
        explained = sum(column * column[every, best, None] for column in columns)
        columns.append((model.gram[best] - explained) / root)
        left = left - columns[-1] * left[every, best, None] / root
        square = square - columns[-1] ** 2
    gram = model.gram[order[:, :, None], order[:, None, :]] + model.alpha * np.eye(order.shape[1])
    chosen = np.take_along_axis(moments, order, axis=1)
    found = np.zeros(weights.shape)
    np.put_along_axis(found, order, _solve(gram, chosen[..., None])[..., 0], axis=1)
    return found


def _solve(gram: np.ndarray, moments: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(gram, moments)
    except np.linalg.LinAlgError:
        raise ValueError(
            "Expected perturbed images that tell all superpixels apart, as a local model without a "
            "penalty needs, but they do not. Raise --lime.alpha, --lime-samples or "
            "--lime.kernel-width."
        ) from None


def measure_fit(model: LocalModel, weights: np.ndarray) -> float:
    """Return the weighted R² of other weights, (n_superpixels,), on the samples of a model."""
    (moments,) = model.compute_moments(model.weights[None])
    explained = 2 * moments @ weights - weights @ model.gram @ weights
    return float(explained / model.total) if model.total > 0 else float("nan")
