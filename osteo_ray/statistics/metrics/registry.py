"""All metrics, in the order of tables. To add one, write its file and name it here."""

from osteo_ray.base.errors import suggest
from osteo_ray.statistics.metrics.accuracy import ACCURACY
from osteo_ray.statistics.metrics.auc import AUC
from osteo_ray.statistics.metrics.balanced_accuracy import BALANCED_ACCURACY
from osteo_ray.statistics.metrics.brier import BRIER
from osteo_ray.statistics.metrics.calibration_error import CALIBRATION_ERROR
from osteo_ray.statistics.metrics.f1 import F1
from osteo_ray.statistics.metrics.mcc import MCC
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.metrics.ordinal import GRADE_ERROR, QUADRATIC_KAPPA
from osteo_ray.statistics.metrics.pr_auc import PR_AUC
from osteo_ray.statistics.metrics.precision import PRECISION
from osteo_ray.statistics.metrics.recall import RECALL
from osteo_ray.statistics.metrics.sensitivity_at_specificity import (
    SENSITIVITY_AT_SPECIFICITY_90,
    SENSITIVITY_AT_SPECIFICITY_95,
)
from osteo_ray.statistics.metrics.specificity import SPECIFICITY
from osteo_ray.statistics.metrics.specificity_at_sensitivity import (
    SPECIFICITY_AT_SENSITIVITY_90,
    SPECIFICITY_AT_SENSITIVITY_95,
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(ACCURACY, PRECISION, RECALL, SPECIFICITY, F1, AUC),
        *(BALANCED_ACCURACY, MCC, PR_AUC, BRIER, CALIBRATION_ERROR),
        *(SENSITIVITY_AT_SPECIFICITY_90, SENSITIVITY_AT_SPECIFICITY_95),
        *(SPECIFICITY_AT_SENSITIVITY_90, SPECIFICITY_AT_SENSITIVITY_95),
        *(QUADRATIC_KAPPA, GRADE_ERROR),
    )
}
"""By name."""


def list_metrics(*, ordinal: bool) -> list[str]:
    """Return the names of all metrics, those of grades only if the classes have an order."""
    return [name for name, metric in METRICS.items() if ordinal or not metric.is_ordinal]


def list_endpoints() -> list[str]:
    """Return the names of the metrics that a comparison may rest on."""
    return [name for name, metric in METRICS.items() if metric.may_be_endpoint]


def check_endpoint(name: str) -> str:
    """Return the name of a metric that a comparison may rest on.

    Raises:
        ValueError: There is no such metric, or it may not be an endpoint.
    """
    known = list_endpoints()
    if name in METRICS and name not in known:
        raise ValueError(
            f"Expected an endpoint that no degenerate classifier wins, but got `{name}`: "
            f"{METRICS[name].refused_because}. {METRICS[name].label} is reported "
            + ("where --ordinal is given." if METRICS[name].is_ordinal else "in any case.")
        )
    if name not in known:
        raise ValueError(
            f"Expected a metric among {', '.join(known)}, but got `{name}`." + suggest(name, known)
        )
    return name
