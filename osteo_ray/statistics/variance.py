"""How much variance each source of randomness contributes, from reruns that change one source."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

_REDRAWS = 10_000


@dataclass(frozen=True)
class SourceShare:
    """How much one source of randomness contributes to the variance of a result.

    Attributes:
        source: What was changed from rerun to rerun.
        sd: Standard deviation over the base and its reruns.
        share: Its variance among the sum over all sources; None where nothing varies.
        low: Lower end of the 95 % interval of the share.
        high: Upper end.
        n_runs: The base and its reruns.
    """

    source: str
    sd: float
    share: float | None
    low: float | None
    high: float | None
    n_runs: int


def share_variance(values: Mapping[str, np.ndarray], *, seed: int = 0) -> list[SourceShare]:
    """Divide the variance of a result among the sources of randomness (Bouthillier et al. 2021).

    Each source is varied alone, around a common base. The intervals assume normal results: the
    variances are redrawn from the chi-square distribution of so few reruns.

    Args:
        values: Per source float, (n_runs,); the results of the base and of its reruns, at least 2.
        seed: Of the redraws.

    Example:
        >>> shares = share_variance({"split": np.array([0.7, 0.9]), "lime": np.array([0.7, 0.7])})
        >>> [(one.source, round(one.sd, 3), one.share) for one in shares]
        [('split', 0.141, 1.0), ('lime', 0.0, 0.0)]
    """
    variances = {name: float(np.var(runs, ddof=1)) for name, runs in values.items()}
    total = sum(variances.values())
    freedom = np.array([len(runs) - 1 for runs in values.values()])
    rng = np.random.default_rng(seed)
    redrawn = np.array(list(variances.values())) * freedom
    redrawn = redrawn / rng.chisquare(freedom, (_REDRAWS, len(freedom)))
    with np.errstate(invalid="ignore"):
        ends = np.quantile(redrawn / redrawn.sum(1, keepdims=True), (0.025, 0.975), axis=0)
    return [
        SourceShare(
            source=name,
            sd=variances[name] ** 0.5,
            share=variances[name] / total if total else None,
            low=float(ends[0, place]) if total else None,
            high=float(ends[1, place]) if total else None,
            n_runs=len(values[name]),
        )
        for place, name in enumerate(values)
    ]


def divide_variance(
    results: pd.DataFrame, metric: str, changed: Mapping[int, str | None]
) -> list[dict[str, Any]]:
    """Divide the variance of the primary metric, per model and arm, and of each arm's gain.

    Args:
        results: As `results_table.compute_results` returns it, of the base and its reruns.
        metric: The primary endpoint.
        changed: By seed number, the source that this rerun changed; None for the base.

    Returns:
        Per model and result: model, result in words, mean, and sources (see `SourceShare`).
        Sources of which nothing was rerun are left out.
    """
    test = results[results["split"] == "test"]
    sources = dict.fromkeys(source for source in changed.values() if source is not None)
    budget = []
    for model, part in test.groupby("model", sort=False):
        table = part.pivot(index="seed", columns="arm", values=metric)
        for result, values in _list_results(table):
            found = values.dropna()
            by_source = {
                source: found[[changed[n] in (None, source) for n in found.index]]
                for source in sources
            }
            usable = {name: runs.to_numpy() for name, runs in by_source.items() if len(runs) > 1}
            budget.append(
                {
                    "model": model,
                    "result": result,
                    "mean": float(found.mean()),
                    "sources": [asdict(share) for share in share_variance(usable)],
                }
            )
    return budget


def _list_results(table: pd.DataFrame) -> list[tuple[str, "pd.Series[float]"]]:
    arms = sorted(table.columns, key=lambda name: name != "original")
    results = [(str(arm), table[arm]) for arm in arms]
    if "original" not in table:
        return results
    gains = [(f"{arm} minus original", table[arm] - table["original"]) for arm in arms[1:]]
    return [*results, *gains]
