"""Calibration, decision curves and subgroups of the baseline and the judged arm."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from osteo_ray.arms.registry import label_arm
from osteo_ray.base.tables import scan_table
from osteo_ray.experiment.ensemble import fit_temperature, soften
from osteo_ray.report.plots import NO_PREDICTIONS, Absent, Plot
from osteo_ray.report.results import TEST, Shown
from osteo_ray.report.style import ACCENT, INK, MUTED, RULE, add_legend, draw_grid
from osteo_ray.statistics.clinical_use import fit_calibration_line, measure_net_benefit

_THRESHOLDS = np.linspace(0.01, 0.99, 99)
_FEWEST = 10  # validation images, with which a temperature is fitted
_ALL = "act on all"


def read_probabilities(shown: Shown) -> pd.DataFrame:
    """Return the probability of the positive class, as it is and recalibrated, of test images.

    Recalibrated: by the temperature that the validation images of the same training set.

    Returns:
        model, seed, arm, image_id, `occurred`, `probability` and `recalibrated`. Empty with more
        than two classes, or without predictions.
    """
    classes, positive = shown.comparison["classes"], shown.comparison["positive_class"]
    arms = ds.field("arm").isin(list(shown.pair))
    table = scan_table(shown.run.predictions, arms).to_pandas()
    if table.empty or len(classes) != 2:
        return pd.DataFrame()
    return pd.concat(
        [
            _recalibrate(part, classes, positive)
            for _, part in table.groupby(["model", "seed", "arm"], sort=False)
        ],
        ignore_index=True,
    )


def _recalibrate(part: pd.DataFrame, classes: list[str], positive: str) -> pd.DataFrame:
    columns = [f"p_{name}" for name in classes]
    at = classes.index(positive)
    test = part[part["split"] == "test"]
    validation = part[part["split"] == "validation"]
    said = test[columns].to_numpy(float)
    softened = np.full(len(test), np.nan)
    if len(validation) >= _FEWEST and validation["label"].nunique() == 2:
        labels = (validation["label"] == classes[1]).to_numpy(int)
        temperature = fit_temperature(validation[columns].to_numpy(float), labels)
        softened = soften(said, temperature)[:, at]
    return pd.DataFrame(
        {
            **{name: test[name].to_numpy() for name in ("model", "seed", "arm", "image_id")},
            "occurred": (test["label"] == positive).to_numpy(bool),
            "probability": said[:, at],
            "recalibrated": softened,
        }
    )


def tabulate_calibration(table: pd.DataFrame) -> pd.DataFrame:
    """Return slope and intercepts of each training, as it is and recalibrated."""
    rows = []
    for (model, seed, arm), part in table.groupby(["model", "seed", "arm"], sort=False):
        for name in ("probability", "recalibrated"):
            values = part[name].to_numpy(float)
            known = not np.isnan(values).any()
            line = fit_calibration_line(values, part["occurred"].to_numpy(bool)) if known else None
            rows.append(
                {"model": model, "seed": seed, "arm": arm, "recalibrated": name != "probability"}
                | {
                    figure: None if line is None else getattr(line, figure)
                    for figure in ("slope", "intercept", "in_the_large")
                }
            )
    return pd.DataFrame(rows)


def tabulate_decisions(table: pd.DataFrame) -> pd.DataFrame:
    """Return the net benefit at each threshold, mean over seeds, of each arm and of acting on all.

    Args:
        table: What `read_probabilities` returns.
    """
    rows: list[pd.DataFrame] = []
    if table.empty:
        return table
    for (model, seed, arm), part in table.groupby(["model", "seed", "arm"], sort=False):
        occurred = part["occurred"].to_numpy(bool)
        for name, values in ((arm, part["probability"].to_numpy(float)),
                             (_ALL, np.ones(len(part)))):  # fmt: skip
            benefit = measure_net_benefit(values, occurred, _THRESHOLDS)
            one = {"model": model, "seed": seed, "arm": name, "threshold": _THRESHOLDS}
            rows.append(pd.DataFrame({**one, "net_benefit": benefit}))
    joined = pd.concat(rows, ignore_index=True)
    by = ["model", "arm", "threshold"]
    return joined.groupby(by, sort=False, as_index=False)["net_benefit"].mean()


def plot_decisions(shown: Shown, table: pd.DataFrame) -> Plot | Absent:
    """Draw the decision curve, a panel per model."""
    name, data = "decision-curve", tabulate_decisions(table)
    if data.empty:
        two = len(shown.comparison["classes"]) == 2
        return Absent(name, NO_PREDICTIONS if two else "Decision curves are for two classes.")
    caption = (
        "Net benefit of acting where the probability reaches a threshold, mean over seeds, on test "
        "images and at their prevalence. Dashed: acting on every image; zero: on none."
    )
    return Plot(name, caption, caption, _draw_decisions(shown, data), data)


def _draw_decisions(shown: Shown, data: pd.DataFrame) -> Figure:
    top = float(data["net_benefit"].max())

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        axes.axhline(0, color=INK, lw=0.8)
        whole = part[part["arm"] == _ALL]
        axes.plot(whole["threshold"], whole["net_benefit"], color=INK, lw=0.9, ls=(0, (4, 3)))
        drawn = {}
        for arm, colour in zip(shown.pair, (MUTED, ACCENT), strict=True):
            own = part[part["arm"] == arm]
            if len(own):
                line = axes.plot(own["threshold"], own["net_benefit"], color=colour, lw=2)
                drawn[label_arm(arm)] = line[0]
        axes.set_ylim(-0.1 * max(top, 0.1), 1.1 * max(top, 0.1))
        axes.grid(color=RULE, lw=0.6, zorder=0)
        add_legend(axes, drawn, loc="upper right", handlelength=1.2)

    panels = {model: data[data["model"] == model] for model in shown.models}
    panels = {model: part for model, part in panels.items() if len(part)}
    return draw_grid(
        panels, draw, height_in=2.9, x_label="Threshold probability", y_label="Net benefit"
    )


def tabulate_subgroups(shown: Shown) -> pd.DataFrame:
    """Return the AUC in each part of the test images that the run knows of: by side and site.

    With three classes and more, it is the mean over classes, each against the rest; a class counts
    in a part that holds images of it and of others.

    Returns:
        A row per model, arm, property and value: `n_images` over all seeds, `n_seeds` on which
        there is an AUC, and the mean `auc` over them. Empty without predictions, or where neither
        is known.
    """
    images = scan_table(shown.run.images).to_pandas()
    known = [name for name in ("side", "site") if name in images and images[name].nunique() > 1]
    arms = ds.field("arm").isin(list(shown.pair))
    table = scan_table(shown.run.predictions, TEST & arms).to_pandas()
    if table.empty or not known:
        return pd.DataFrame()
    classes = list(shown.comparison["classes"])
    if len(classes) == 2:  # either of two gives the same
        classes = [shown.comparison["positive_class"]]
    joined = table.drop(columns=known, errors="ignore").merge(
        images[["image_id", *known]], on="image_id"
    )
    return pd.DataFrame(row for name in known for row in _measure_parts(joined, name, classes))


def _measure_parts(
    joined: pd.DataFrame, name: str, classes: list[str]
) -> Iterator[dict[str, object]]:
    for (model, arm, value), part in joined.groupby(["model", "arm", name], sort=False):
        measured = (_measure_auc(of_seed, classes) for _, of_seed in part.groupby("seed"))
        found = [auc for auc in measured if auc is not None]
        yield {
            **{"model": model, "arm": arm, "property": name, "value": value or "unknown"},
            **{"n_images": len(part), "n_seeds": len(found)},
            "auc": float(np.mean(found)) if found else None,
        }


def _measure_auc(part: pd.DataFrame, classes: list[str]) -> float | None:
    """Return the mean AUC of the classes that have images in and out of them; None without any."""
    found = []
    for name in classes:
        occurred = (part["label"] == name).to_numpy(bool)
        if occurred.any() and not occurred.all():
            found.append(roc_auc_score(occurred, part[f"p_{name}"].to_numpy(float)))
    return float(np.mean(found)) if found else None
