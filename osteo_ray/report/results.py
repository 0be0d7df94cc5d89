"""What pages and figures show of a run, or of a judgement of tables: read once, in one place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow.dataset as ds
import yaml

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.base.errors import InputError
from osteo_ray.base.forms import COMPARISON, GROUP, Form, read_record
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import scan_table
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.config.compare import CompareConfig
from osteo_ray.experiment.gathering import encode_judged
from osteo_ray.experiment.positive_class import PositiveClass
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.predictions import Predictions

TEST = ds.field("split") == "test"
_CONTRAST: Form = {
    **{"model": str, "arm": str, "baseline": str, "n_seeds": int},
    **{"difference": object, "low": object, "high": object},
}
_SHOWN: Form = {
    **COMPARISON,
    **{"models": [str], "arms": [{"model": str, "arm": str, "metrics": GROUP}], "seeds": [int]},
    **{"metric": str, "alpha": float, "margin": float, "n_test": float, "n_train": object},
    **{"classes": [str], "positive_class": object, "ordinal?": [str], "split": object},
    **{"baseline?": str, "judged": str, "contrasts": [_CONTRAST], "shares": [GROUP]},
    **{"missing": [GROUP], "looks?": [GROUP], "shuffled?": GROUP, "seeds_of_model?": GROUP},
    **{"operating_points?": [GROUP], "per_seed?": [GROUP], "sites?": [GROUP], "grid?": GROUP},
    **{"unexplained?": GROUP, "trainings?": [GROUP], "mask_notes?": [GROUP]},
    **{"coverage?": GROUP, "external?": GROUP, "judgement?": GROUP},
}
"""What pages and figures take from a comparison; what earlier versions lack may be missing."""


@dataclass(frozen=True)
class Shown:
    """The results of a run, or of a judgement.

    Attributes:
        run: Where its files are.
        comparison: What comparison.json holds, completed where an earlier version wrote it.
        config: The settings; None where there are none, or where they cannot be read.
        unread: Why the settings cannot be read; empty if they can, or if there are none.
    """

    run: Run
    comparison: dict[str, Any]
    config: CompareConfig | None = None
    unread: str = ""

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.run.root.name

    @property
    def judgement(self) -> dict[str, Any] | None:
        """What is known of the tables that were judged; None for a run."""
        found: dict[str, Any] | None = self.comparison.get("judgement")
        return found

    @property
    def models(self) -> list[str]:
        return list(self.comparison["models"])

    @property
    def arms(self) -> list[str]:
        """The arms in order, those without results included if settings tell of them."""
        if self.config is not None:
            return list(self.config.arms)
        return list(dict.fromkeys(row["arm"] for row in self.comparison["arms"]))

    @property
    def pair(self) -> tuple[str, str]:
        """The baseline and the arm whose gain is judged: what every figure compares."""
        return self.comparison["baseline"], self.comparison["judged"]

    @property
    def metric(self) -> str:
        """The label of the endpoint."""
        return METRICS[self.comparison["metric"]].label

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value of the endpoint is better."""
        return METRICS[self.comparison["metric"]].higher_is_better

    @property
    def alpha(self) -> float:
        """Error rate of the intervals."""
        return float(self.comparison["alpha"])

    @property
    def contrasts(self) -> list[dict[str, Any]]:
        """The contrasts of the endpoint."""
        metric = self.comparison["metric"]
        return [row for row in self.comparison["contrasts"] if row.get("metric", metric) == metric]

    @property
    def corrected_t_counts(self) -> bool:
        """Whether the corrected t has a say: it has none in seeds that test the same images."""
        known = self.comparison.get("n_train") is not None
        return known and not self.comparison["fixed_test_set"]

    @property
    def margin_in_points(self) -> str:
        """The margin in percentage points, of each model where it is a share of its baseline's."""
        return self.name_margin(lambda margin: f"{100 * margin:.3g}")

    def name_margin(self, write: Callable[[float], str]) -> str:
        """Write the margin, as in `1.6`; where models have their own, as in `1.6 (a), 1.8 (b)`."""
        written = {
            row["model"]: write(row["margin"])
            for row in self.contrasts
            if row["n_seeds"] and row.get("margin") is not None
        }
        if len(set(written.values())) > 1:
            return ", ".join(f"{text} ({model})" for model, text in written.items())
        return next(iter(written.values()), write(self.comparison["margin"]))

    @property
    def positive(self) -> str | None:
        """Which class is the positive one and how that is known; None with several classes."""
        if len(self.comparison["classes"]) != 2 or self.judgement is None:
            return None
        basis = self.judgement["positive_class_basis"]
        return PositiveClass(self.comparison["positive_class"], basis).describe()

    @cached_property
    def tested(self) -> Predictions | None:
        """The predictions of the baseline and the judged arm on test images; None without any."""
        if not self.run.predictions.is_file():
            return None
        table = scan_table(self.run.predictions, TEST & ds.field("arm").isin(list(self.pair)))
        if table.num_rows == 0:
            return None
        return encode_judged(table, self.comparison)


def read_shown(run: Run) -> Shown:
    """Read the results of a run or of a judgement.

    Raises:
        InputError: There are none.
        DamagedError: They are no JSON, or JSON of another form.
    """
    if not run.comparison.is_file():
        advice = (
            "Finish it with the command that began it, which goes on where it stopped."
            if run.splits.is_file()
            else "Give the folder that `osteo-ray compare` or `judge` named at its end."
        )
        raise InputError(
            f"Expected a run whose comparison is finished, but {run.comparison} is missing. "
            + advice
        )
    comparison = _complete(read_record(run.comparison, _SHOWN))
    if "judgement" in comparison or not run.config.is_file():
        return Shown(run, comparison)
    try:
        return Shown(run, comparison, build_config(read_yaml(run.config)))
    except (InputError, yaml.YAMLError) as error:
        return Shown(run, comparison, unread=f"{run.config} cannot be read: {error}")


def name_apart(several: Sequence[Shown]) -> list[str]:
    """Name runs by their folders, with a number where two folders have one name.

    Example:
        >>> name_apart([])
        []
    """
    names: list[str] = []
    for shown in several:
        number, name = 1, shown.name
        while name in names:
            number += 1
            name = f"{shown.name}-{number}"
        names.append(name)
    return names


def _complete(comparison: dict[str, Any]) -> dict[str, Any]:
    """Add what a comparison by an earlier version does not hold."""
    said = {"next": "", "remarks": []}
    return {
        "shuffled": {},
        "conclusion": None,
        "external": None,
        "baseline": ORIGINAL,
        "fixed_test_set": comparison["split"] == "given",
        **comparison,
        "verdict": {**said, **comparison["verdict"]},
        "verdicts": [{**said, **verdict} for verdict in comparison["verdicts"]],
        "contrasts": [
            {
                **{"decisive_low": row["low"], "decisive_high": row["high"], "inference": None},
                **{"p_decisive": row.get("p_corrected_t"), **row},
            }
            for row in comparison["contrasts"]
        ],
        "looks": [look for look in comparison.get("looks", []) if "verdicts" in look],
    }
