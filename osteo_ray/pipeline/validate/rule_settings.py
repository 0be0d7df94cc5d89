"""Settings in which the error rates of the whole rule of the verdict are measured.

In most of them the judged arm is as good as the baseline while all controls fail, so that nothing
but the test of the gain stands between chance and a false *real gain*.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scipy import special

from osteo_ray.experiment.simulated import Population, SimulatedArm
from osteo_ray.pipeline.validate.situation import Situation

_A = SimulatedArm
_AUC = 0.80
_NULL = {
    "original": _A(_AUC),
    "lime": _A(_AUC),
    "random_mask": _A(0.65),
    "silhouette": _A(0.55),
}
_SHUFFLED = {**_NULL, "permuted_labels": _A(0.5)}
_GAIN = 0.08
_GAINED = {**_NULL, "lime": _A(_AUC + _GAIN)}
_FALSE = ("real gain", "real loss")


@dataclass(frozen=True)
class RuleSetting:
    """How tables are drawn, and which verdicts on them would be false.

    Attributes:
        situation: What is drawn. Its `right` verdicts are not used: they are those not false.
        false: Verdicts that would be false, each of which may be given in 5 % of the experiments.
        told: Verdicts that are true, whose rate is shown without a bar.
        extensions: Numbers of seeds at which a run that is extended draws its conclusions, each at
            the error rate that is left for it; whoever extends it stops at a gain or a loss.
        looks: Numbers of seeds at planned looks, at which a run stops if its verdict is settled.
        missing: Share of trainings that did not finish, at random.
    """

    situation: Situation
    false: tuple[str, ...] = _FALSE
    told: tuple[str, ...] = ()
    extensions: tuple[int, ...] = ()
    looks: tuple[int, ...] = ()
    missing: float = 0.0

    @property
    def name(self) -> str:
        """Its name in tables."""
        return self.situation.name

    @property
    def n_seeds(self) -> int:
        """Trainings per arm, after the last extension."""
        return self.situation.n_seeds

    @property
    def true_gain(self) -> float:
        """Expected endpoint of the judged arm minus that of the baseline."""
        judged, baseline = (self.situation.arms[name] for name in ("lime", "original"))
        if judged == baseline:
            return 0.0  # in any metric, of any number of classes
        measure = expect_auc if self.situation.metric == "auc" else expect_accuracy
        return measure(judged) - measure(baseline)


def expect_auc(arm: SimulatedArm) -> float:
    """Return the mean AUC of an arm over the luck of its trainings.

    Example:
        >>> round(expect_auc(SimulatedArm(0.8, skill=0.0)), 6)
        0.8
    """
    return float(special.ndtr(math.sqrt(2) * arm.separation / math.sqrt(1 + 2 * arm.skill**2)))


def expect_accuracy(arm: SimulatedArm) -> float:
    """Return the mean accuracy of an arm without a shift, at a threshold of .5."""
    return float(special.ndtr(arm.separation / math.sqrt(1 + arm.skill**2)))


def _set(name: str, **changes: Any) -> RuleSetting:
    options = {
        key: changes.pop(key)
        for key in ("false", "told", "extensions", "looks", "missing")
        if key in changes
    }
    base = Situation(name, (), "No difference.", _NULL, n_images=1200, n_test=120, n_train=840.0)
    return RuleSetting(replace(base, **changes), **options)


def _name_models(arms: Mapping[str, SimulatedArm], count: int = 6) -> dict[str, Any]:
    return {"arms": arms, "others": {f"model-{number}": arms for number in range(2, count + 1)}}


_FIXED: dict[str, Any] = {"n_images": 200, "n_test": 200, "n_train": 10_000.0}
_SMALL: dict[str, Any] = {"n_images": 744, "n_test": 74, "n_train": 520.0}
_THREE = ("mild", "normal", "severe")
_EXTENSIONS = (5, 7, 9, 11, 13, 15)

RULE_SETTINGS: tuple[RuleSetting, ...] = (
    _set("rule: hold-outs"),
    _set("rule: hold-outs, by accuracy", metric="accuracy"),
    _set("rule: 5 seeds", n_seeds=5),
    _set("rule: 30 seeds", n_seeds=30),
    _set("rule: 74 of 744 images", **_SMALL),
    _set("rule: 5 folds, twice", folds=5, n_test=240, n_train=720.0),
    _set("rule: one test set of 200", **_FIXED),
    _set("rule: one test set of 200, 30 seeds", n_seeds=30, **_FIXED),
    _set("rule: one test set of 200, images alone vary", **_FIXED,
         population=Population(shared=0.5, leaning=0.3),
         arms={name: replace(arm, skill=0.0) for name, arm in _NULL.items()}),
    _set("rule: one test set of 200, seeds alone vary", **_FIXED,
         population=Population(shared=0.5, leaning=0.0),
         arms={name: replace(arm, skill=0.15) for name, arm in _NULL.items()}),
    _set("rule: one test set of 74, 520 training", n_images=74, n_test=74, n_train=520.0),
    _set("rule: classes 95 to 5", n_images=4000, n_test=400, n_train=2800.0,
         population=Population(positive_share=0.05)),
    _set("rule: three classes", classes=_THREE),
    _set("rule: three classes, one test set of 200", classes=_THREE, **_FIXED),
    _set("rule: three classes, by balanced accuracy", classes=_THREE, metric="balanced_accuracy"),
    _set("rule: three classes, nothing learned", classes=_THREE, told=("nothing learned",),
         arms=dict.fromkeys(_NULL, _A(0.5))),
    _set("rule: nothing learned", arms=dict.fromkeys(_NULL, _A(0.5)),
         told=("nothing learned",)),
    _set("rule: 6 models", **_name_models(_NULL)),
    _set("rule: 6 models, one test set of 200", **_name_models(_NULL), **_FIXED),
    _set("rule: 6 models, shuffled labels, 3 seeds", **_name_models(_SHUFFLED), **_SMALL,
         n_seeds=3, false=(*_FALSE, "leakage")),
    _set("rule: extended until it shows", n_seeds=15, extensions=_EXTENSIONS),
    _set("rule: extended, one test set of 200", n_seeds=15, extensions=_EXTENSIONS, **_FIXED),
    _set("rule: looks at 5 and 8 seeds", n_seeds=12, looks=(5, 8)),
    _set("rule: a tenth of trainings missing", missing=0.1),
    _set("rule: a gain, control on 2 seeds",
         arms={**_GAINED, "random_mask": _A(0.65, seeds=(0, 1))}),
    _set("rule: a gain that random masks make", false=("real gain", "real loss", "leakage"),
         arms={**_GAINED, "random_mask": _A(_AUC + _GAIN)}, told=("any crop",)),
    _set("rule: a gain of the margin", arms={**_NULL, "lime": _A(_AUC + 0.03)},
         false=("real loss", "equivalent"), told=("real gain",)),
    _set("rule: a gain", arms=_GAINED, told=("real gain",),
         false=("real loss", "equivalent", "leakage", "any crop")),
)  # fmt: skip
"""AUC of the baseline is .8; the judged arm is no better unless the name says so."""
