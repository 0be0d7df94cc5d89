"""Results as tables on a terminal."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from osteo_ray.experiment.protocol_gains import ProtocolGain
from osteo_ray.explain.jobs import ExplanationSummary
from osteo_ray.statistics.metrics.registry import METRICS


def show_audit(console: Console, found: dict[str, Any]) -> None:
    """Show what audit.json holds."""
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    copies = found["n_images"] - found["n_radiographs"]
    rows = [
        ("images", found["n_images"]),
        *((f"  class {name}", n) for name, n in found["classes"].items()),
        ("files refused", found["n_rejects"]),
        ("copies of another image", copies),
        ("  groups of copies", len(found["copies"])),
        ("  of these with the same pixels", len(found["exact_copies"])),
        ("  of these in several classes", len(found["conflicts"])),
        ("patients known", found["n_patients"]),
        ("groups that a split keeps whole", found["n_groups"]),
        ("blank images", len(found["blank"])),
    ]
    for name, value in rows:
        table.add_row(escape(name), str(value))
    console.print(table)
    if found["shortcuts"]:
        table = Table(
            title="What tells the class without the anatomy",
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE,
        )
        table.add_column("seen", no_wrap=True)
        for heading in ("balanced accuracy", "95 % interval", "chance"):
            table.add_column(heading, justify="right", no_wrap=True)
        for shortcut in found["shortcuts"]:
            table.add_row(
                shortcut["name"],
                f"{shortcut['accuracy']:.2f}",
                f"{shortcut['low']:.2f} … {shortcut['high']:.2f}",
                f"{shortcut['chance']:.2f}",
            )
        console.print(table)
    for leak in found.get("leak", {}).get("models", []):
        console.print(
            f"{leak['model']}: accuracy {leak['random']:.3f} with copies across the split, "
            f"{leak['grouped']:.3f} without; difference {_number(leak['difference'], '+.3f')} "
            f"({_number(leak['low'], '+.3f')} … {_number(leak['high'], '+.3f')})",
            highlight=False,
            markup=False,
        )
    for finding in found["findings"]:
        console.print(f"Finding: {finding}.", style="yellow", highlight=False, markup=False)
    if not found["findings"]:
        console.print("Nothing wrong was found.", style="green")


def show_comparison(console: Console, comparison: dict[str, Any]) -> None:
    """Show what comparison.json holds."""
    _show_arms(console, comparison)
    title = f"Difference in {comparison['metric']} on test images"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE)
    table.add_column("contrast", no_wrap=True)
    for heading in ("mean", "95 % interval", "p (Holm)"):
        table.add_column(heading, justify="right", no_wrap=True)
    model = None
    models = list(comparison["models"])
    for contrast in sorted(comparison["contrasts"], key=lambda one: models.index(one["model"])):
        if contrast["model"] != model:
            model = contrast["model"]
            table.add_row(f"[bold]{escape(model)}[/bold]")
        table.add_row(
            f"{contrast['arm']} − {contrast['baseline']}",
            _number(contrast["difference"], "+.3f"),
            f"{_number(contrast['low'], '+.3f')} … {_number(contrast['high'], '+.3f')}",
            _number(contrast["p_holm"], ".3f"),
            style="" if contrast["family"] == "primary" else "dim",
        )
    console.print(table)
    for share in comparison["shares"]:
        if share["share"] is not None:
            console.print(
                f"{share['model']}: {share['control']} makes {_percent(share['share'])} of the "
                f"gain ({_percent(share['low'])} … {_percent(share['high'])})",
                highlight=False,
                markup=False,
            )
    for verdict in comparison["verdicts"]:
        console.print(f"{verdict['model']}: {verdict['verdict']}", highlight=False, markup=False)
    overall = comparison["verdict"]
    console.print(f"Verdict: {overall['verdict']}", style="bold", highlight=False, markup=False)
    console.print(overall["reason"], highlight=False, markup=False)


_COLUMNS = {
    "sensitivity_at_threshold": "sens.",
    "specificity_at_threshold": "spec.",
    **{name: METRICS[name].heading for name in ("auc", "brier", "calibration_error")},
}


def _show_arms(console: Console, comparison: dict[str, Any]) -> None:
    """Show the means over seeds on test images, per model and arm."""
    metric, binary = comparison["metric"], len(comparison["classes"]) == 2
    note = "calib.: calibration error"
    if binary:
        note += "; sens., spec.: at the threshold that validation images set"
    headings = {metric: f"{metric} ± sd"} | {
        name: heading
        for name, heading in _COLUMNS.items()
        if name != metric and (binary or not name.endswith("_at_threshold"))
    }
    for model in dict.fromkeys(row["model"] for row in comparison["arms"]):
        # A table each: the name of a model may be wider than any arm's.
        table = Table(
            box=box.SIMPLE, title=escape(f"{model}: test images, mean over seeds"), **_TITLE
        )
        table.add_column("arm", no_wrap=True)
        for heading in headings.values():
            table.add_column(heading, justify="right", no_wrap=True)
        for row in comparison["arms"]:
            if row["model"] == model:
                found = row["metrics"]
                sd = _number(found[metric]["sd"], ".3f")
                means = [_number(found.get(name, {}).get("mean"), ".3f") for name in headings]
                table.add_row(escape(row["arm"]), f"{means[0]} ± {sd}", *means[1:])
        console.print(table)
    if comparison["arms"]:
        console.print(note, highlight=False)


def show_explanations(console: Console, found: ExplanationSummary) -> None:
    """Show what explaining a set of images came to."""
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    rows = [
        ("images", str(found.n_images)),
        ("  explained", str(found.n_images - found.n_failed)),
        ("    of these just now", str(found.n_new)),
        ("  failed", str(found.n_failed)),
        ("files refused", str(found.n_refused)),
        ("seconds per image, start-up included", _number(found.seconds_per_image, ".3g")),
    ]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if found.n_failed:
        console.print(
            f"{found.n_failed} images could not be explained, the first: {found.first_failure}",
            style="yellow",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def show_protocols(console: Console, gains: Sequence[ProtocolGain]) -> None:
    """Show what the protocol alone makes of each gain."""
    table = Table(box=box.SIMPLE, title="Gain over original by protocol", **_TITLE)
    table.add_column("", no_wrap=True)
    for heading in ("clean", "paper's", "difference", "95 % interval", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for gain in gains:
        table.add_row(
            escape(f"{gain.model}, {gain.arm}"),
            *(_number(value, "+.3f") for value in (gain.clean, gain.paper, gain.difference)),
            f"{_number(gain.low, '+.3f')} … {_number(gain.high, '+.3f')}",
            _number(gain.p, ".3f"),
        )
    console.print(table)


def show_variance(console: Console, budget: Sequence[dict[str, Any]]) -> None:
    """Show how much of the variance of each result every source of chance makes."""
    for entry in budget:
        title = f"{entry['model']}, {entry['result']}: mean {entry['mean']:.3f}"
        table = Table(box=box.SIMPLE, title=escape(title), **_TITLE)
        table.add_column("source", no_wrap=True)
        for heading in ("sd", "share of variance", "95 % interval", "runs"):
            table.add_column(heading, justify="right", no_wrap=True)
        for source in entry["sources"]:
            table.add_row(
                source["source"],
                f"{source['sd']:.4f}",
                _percent(source["share"]),
                f"{_percent(source['low'])} … {_percent(source['high'])}",
                str(source["n_runs"]),
            )
        console.print(table)


_TITLE: dict[str, Any] = {"title_justify": "left", "title_style": "bold"}
