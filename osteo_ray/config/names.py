"""Words that settings are made of."""

from typing import Literal, get_args

PHANTOM = "phantom"
ARM_NAMES = (
    *("original", "original_retrained", "lime", "lime_crossfit", "lime_true_label"),
    *("random_mask", "other_image_mask", "silhouette", "centre_mask", "mean_mask", "complement"),
    *("gradcam", "untrained_lime", "permuted_labels"),
)
ARM_PRESETS = {
    "paper": ("original", "lime"),
    "controls": (
        *("original", "original_retrained", "lime", "lime_crossfit"),
        *("random_mask", "silhouette"),
    ),
    "full": ARM_NAMES,
}
CLEAN = frozenset({"lime_crossfit"})
"""Arms that the paper's protocol cannot have."""
Metric = Literal[
    "accuracy",
    "precision",
    "recall",
    "specificity",
    "f1",
    "auc",
    "balanced_accuracy",
    "mcc",
    "pr_auc",
    "brier",
    "calibration_error",
]
ConflictPolicy = Literal["drop", "majority", "keep"]
ExplainMethod = Literal["lime", "gradcam"]
Background = Literal["black", "mean", "blur"]
METRIC_NAMES: tuple[Metric, ...] = get_args(Metric)
LOWER_IS_BETTER: frozenset[str] = frozenset({"brier", "calibration_error"})
"""Metrics that are errors: a negative difference is a gain. Of all others more is better."""
Spending = Literal["obrien_fleming", "pocock"]
Superpixels = Literal["quickshift", "slic", "felzenszwalb", "grid"]
CopyKind = Literal["exact", "reencoded", "resized", "brightness", "cropped", "mirrored", "rotated"]
COPY_KINDS: tuple[CopyKind, ...] = get_args(CopyKind)
USUAL_COPY_KINDS: tuple[CopyKind, ...] = ("exact", "reencoded", "resized")
"""What collections mostly hold."""
