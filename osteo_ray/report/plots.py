"""All plots of a run or a judgement, with their captions and data: pages and files show these."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import pandas as pd
from matplotlib.figure import Figure

from osteo_ray.base.events import read_events
from osteo_ray.base.formatting import format_level
from osteo_ray.base.networks import name_folder
from osteo_ray.base.tables import scan_table
from osteo_ray.experiment.searches import Search, read_searches
from osteo_ray.report.confusion import draw_confusions, tabulate_confusions
from osteo_ray.report.curves_figure import draw_curves
from osteo_ray.report.forest import draw_forest, tabulate_contrasts
from osteo_ray.report.grid_figure import draw_views
from osteo_ray.report.reliability import draw_reliability, tabulate_reliability
from osteo_ray.report.results import Shown
from osteo_ray.report.roc import PRECISION_RECALL, ROC, draw_receiver, say_band, tabulate_curves
from osteo_ray.report.search_figure import draw_searches
from osteo_ray.report.seeds_figure import draw_paired, tabulate_values
from osteo_ray.report.timeline import draw_timeline, make_timeline

NO_PREDICTIONS = "There is no table of predictions here."


@dataclass(frozen=True)
class Plot:
    """A figure with what is said of it.

    Attributes:
        name: Its name, as that of a file.
        alt: What it shows, for those who cannot see it.
        caption: How it is to be read.
        figure: The figure itself.
        data: What it shows, as a table.
        counterpart: The figure of the paper that it is the counterpart of; empty without one.
    """

    name: str
    alt: str
    caption: str
    figure: Figure
    data: pd.DataFrame
    counterpart: str = ""


@dataclass(frozen=True)
class Absent:
    """A plot that cannot be drawn.

    Attributes:
        name: Its name.
        reason: Why not, in a sentence.
        counterpart: The figure of the paper that it would be the counterpart of.
    """

    name: str
    reason: str
    counterpart: str = ""


def draw_plots(shown: Shown) -> dict[str, Plot | Absent]:
    """Draw all plots of a run or a judgement, by name."""
    found = [one for draw in _DRAWN for one in draw(shown)]
    return {one.name: one for one in found}


def plot_forest(shown: Shown) -> Plot | Absent:
    """Draw the contrasts of the endpoint."""
    comparison, name = shown.comparison, "forest"
    if not shown.contrasts:
        return Absent(name, "No two arms have results that can be compared.")
    level = format_level(comparison["alpha"])
    alt = (
        f"Forest plot of the differences in {shown.metric} between arms for each model, with "
        f"{level} intervals and one dot per seed."
    )
    caption = (
        f"{shown.metric} of one arm minus that of another, in percentage points. Diamond: mean; "
        f"filled where p < {comparison['alpha']:.2g} after Holm’s correction over models. Line: "
        f"the {level} interval that decides. Dots: seeds. Shaded: differences within "
        f"the margin, ± {shown.margin_in_points} points.{_say_direction(shown)}"
    )
    data = tabulate_contrasts(shown.contrasts)
    figure = draw_forest(shown.contrasts, alpha=comparison["alpha"])
    return Plot(name, alt, caption, figure, data)


def _say_direction(shown: Shown) -> str:
    return "" if shown.higher_is_better else " Lower is better."


def _plot_seeds(shown: Shown) -> Sequence[Plot | Absent]:
    data = tabulate_values(shown)
    if data.empty:
        return [Absent("seeds", "There is no table of results here.")]
    return [
        Plot(
            "seeds",
            f"{shown.metric} of each arm, a panel per model and a line per seed, with the mean "
            "over seeds.",
            f"{shown.metric} on test images. Gray: one seed, so one split, in which all arms share "
            f"their training and test images. Blue: mean over seeds.{_say_direction(shown)}",
            draw_paired(data, shown.arms, shown.metric),
            data,
        )
    ]


def _plot_confusion(shown: Shown) -> Sequence[Plot | Absent]:
    name, counterpart = "confusion", "Figures 9 and 10"
    figure = draw_confusions(shown)
    if figure is None:
        return [Absent(name, NO_PREDICTIONS, counterpart)]
    return [
        Plot(
            name,
            "Confusion matrices of the baseline and the judged arm of each model.",
            "Test images, summed over seeds; the predicted class is the most probable one. Rows: "
            "true classes. Shades and percentages: shares of a row.",
            figure,
            tabulate_confusions(shown),
            counterpart,
        )
    ]


def _plot_receivers(shown: Shown) -> Sequence[Plot | Absent]:
    found: list[Plot | Absent] = []
    for kind, words in ((ROC, "ROC curves"), (PRECISION_RECALL, "Precision over recall")):
        data = tabulate_curves(shown, kind)
        figure = draw_receiver(shown, kind, data)
        if figure is None:
            found.append(Absent(kind, NO_PREDICTIONS))
            continue
        several = " Each class against the others, averaged over classes."
        caption = (
            f"{words} on test images. Thin: one seed each. Bold: mean over seeds. {say_band(shown)}"
            f"{several if len(shown.comparison['classes']) > 2 else ''}"
        )
        alt = f"{words} of the baseline and the judged arm, a panel per model."
        found.append(Plot(kind, alt, caption.strip(), figure, data))
    return found


def _plot_calibration(shown: Shown) -> Sequence[Plot | Absent]:
    data = tabulate_reliability(shown)
    figure = draw_reliability(shown, data)
    if figure is None:
        return [Absent("calibration", NO_PREDICTIONS)]
    return [
        Plot(
            "calibration",
            "Reliability diagram: observed shares over predicted probabilities, the baseline "
            "against the judged arm, a panel per model.",
            "Probabilities are calibrated where they lie on the dashed line. Thin lines: one seed "
            "each. Bold line: the test images of all seeds together, in ten bins; the area of a "
            "dot is its share of the images. There are no intervals, because seeds share images.",
            figure,
            data,
        )
    ]


def _plot_grids(shown: Shown) -> Sequence[Plot | Absent]:
    external = shown.comparison["external"] or {}
    grids = {
        "grid": (
            shown.comparison.get("grid"),
            "",
            "No classifier predicted other views here.",
        ),
        "external": (
            external,
            f", all of it images of {external.get('name')}",
            "There is no external cohort.",
        ),
    }
    found: list[Plot | Absent] = []
    for name, (known, whose, reason) in grids.items():
        cells = (known or {}).get("cells", [])
        if known and not cells:
            reason = "An interval takes 2 seeds, and fewer, or none, predicted other views here."
        figure = draw_views(cells, higher_is_better=shown.higher_is_better)
        if figure is None:
            found.append(Absent(name, reason))
            continue
        alt = (
            f"A matrix per model of {shown.metric}: a row per arm that a classifier was trained "
            "on, a column per view of the test images that it predicts."
        )
        caption = (
            f"{shown.metric}, mean over seeds. Rows: what the classifier was trained on. Columns: "
            f"what it is tested on{whose}. The darker, the better."
        )
        found.append(Plot(name, alt, caption, figure, pd.DataFrame(cells)))
    return found


_CURVES = {
    "loss": (
        "Loss. Gray: validation images, one seed each; dots: the epochs that were kept. Blue: mean "
        "over seeds. Dashed: training images, mean over seeds."
    ),
    "auc": "AUC on the validation images. Gray: one seed each. Blue: mean over seeds.",
    "rate": "Learning rate of the head at the last step of each epoch.",
}


def _plot_curves(shown: Shown) -> Sequence[Plot | Absent]:
    table = scan_table(shown.run.curves).to_pandas()
    found: list[Plot | Absent] = []
    for model, drawn in draw_curves(table, shown.models, shown.arms).items():
        data = table[table["model"] == model]
        for kind, figure in drawn.items():
            if figure is not None:
                name = f"curves-{kind}-{name_folder(model)}"
                words = _CURVES[kind].partition(".")[0]
                alt = f"{words} by epoch, {model}: a panel per arm, a line per seed."
                found.append(Plot(name, alt, _CURVES[kind], figure, data))
    return found or [Absent("curves", "No curves of trainings are kept here.")]


def _plot_searches(shown: Shown) -> Sequence[Plot | Absent]:
    searches, name = list_searches(shown), "searches"
    figure = draw_searches(searches)
    if figure is None:
        return [Absent(name, "No training settings were searched.")]
    rows = [
        {"model": search.model, "arm": search.arm, "candidate": one.number}
        | {"learning_rate": one.settings["learning_rate"], "loss": one.best}
        | {"chosen": one.number == search.chosen, "failed": one.failed}
        for search in searches
        for one in search.tried
    ]
    return [
        Plot(
            name,
            "A panel per arm: learning rate and lowest validation loss of each candidate.",
            "Across: learning rate. Up: lowest validation loss. Large and blue: chosen. Square: "
            "the settings as given. Triangle: failed, or a loss beyond the panel.",
            figure,
            pd.DataFrame(rows),
        )
    ]


def list_searches(shown: Shown) -> list[Search]:
    """Return the searches for training settings of a run; empty if it made none."""
    if shown.config is None or not shown.config.tuning.trials:
        return []
    return read_searches(shown.run, shown.models, shown.arms)


def _plot_timeline(shown: Shown) -> Sequence[Plot | Absent]:
    timeline, name = make_timeline(read_events(shown.run.logs)), "timeline"
    figure = draw_timeline(timeline)
    if figure is None:
        return [Absent(name, "No log of events is kept here.")]
    return [
        Plot(
            name,
            "Timeline: when each worker trained, explained or failed.",
            "A row per worker (node and process; the 24 busiest). Dotted lines: the run was "
            "resumed.",
            figure,
            pd.DataFrame([asdict(span) for span in timeline.spans]),
        )
    ]


_DRAWN: tuple[Callable[[Shown], Sequence[Plot | Absent]], ...] = (
    lambda shown: [plot_forest(shown)],
    _plot_seeds,
    _plot_confusion,
    _plot_receivers,
    _plot_calibration,
    _plot_grids,
    _plot_curves,
    _plot_searches,
    _plot_timeline,
)
