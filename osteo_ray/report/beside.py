"""Several runs beside each other on one page: verdicts, contrasts, results, what differs. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osteo_ray.arms.registry import label_arm
from osteo_ray.base.formatting import MISSING
from osteo_ray.base.forms import ENVIRONMENT, PLANS, Form, read_record
from osteo_ray.base.storage import Place, write_whole
from osteo_ray.report.forest import (
    ForestRow,
    draw_under_headings,
    label_contrast,
    tabulate_contrasts,
)
from osteo_ray.report.plots import Plot
from osteo_ray.report.results import Shown, name_apart
from osteo_ray.report.templates import open_template

_LEFT_OUT = {"out", "mlflow", "tensorboard", "resources", "statistics"}
_MOST_LETTERS = 60  # of a setting in a cell
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Difference:
    """A setting in which runs differ.

    Attributes:
        name: Its name, with those of its groups.
        values: What each run has, in order.
    """

    name: str
    values: tuple[str, ...]


def write_beside(several: Sequence[Shown], page: Place) -> None:
    """Write one page about several runs or judgements.

    Args:
        several: What to show, in this order.
        page: The file to write; an existing one is replaced.
    """
    text = open_template("beside.html").render(_collect(several))
    with write_whole(page) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _collect(several: Sequence[Shown]) -> dict[str, Any]:
    """Return the variables of the template."""
    names = name_apart(several)
    records = [_describe(shown) for shown in several]
    return {
        "names": names,
        "several": list(zip(names, several, strict=True)),
        "label_arm": label_arm,
        "forest": _draw_contrasts(names, several),
        "results": _join_results(several),
        "settings": list_differing([_list_settings(shown) for shown in several]),
        "environment": list_differing([record["versions"] for record in records]),
        "data": [record["data_fingerprint"] for record in records],
        "plans": [record["plan"] for record in records],
        "unread": [f"{name}: {one.unread}" for name, one in zip(names, several, strict=True)
                   if one.unread],
    }  # fmt: skip


def _describe(shown: Shown) -> dict[str, Any]:
    environment = _read(shown.run.environment, ENVIRONMENT, {})
    plans = _read(shown.run.plan, PLANS, [])
    return {
        "versions": environment.get("versions") or {},
        "data_fingerprint": environment.get("data_fingerprint") or UNKNOWN,
        "plan": plans[-1]["hash"] if plans else UNKNOWN,
    }


def _read(path: Place, form: Form, otherwise: Any) -> Any:
    return read_record(path, form) if path.is_file() else otherwise


def _list_settings(shown: Shown) -> dict[str, str]:
    """Return all settings of a run by name, as text; of a judgement, what is known of it."""
    known = ("metric", "alpha", "margin", "split", "protocol", "positive_class")
    settings: dict[str, Any] = {name: shown.comparison.get(name) for name in known}
    if shown.config is not None:
        stored = shown.config.model_dump(mode="json", exclude=_LEFT_OUT)
        settings = {**stored, **settings}
    if shown.judgement is not None:
        settings["tables"] = shown.judgement["tables"]
    return dict(_flatten(settings, ""))


def _flatten(settings: Mapping[str, Any], at: str) -> list[tuple[str, str]]:
    found = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += _flatten(value, f"{at}{name}.")
        else:
            text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            shorter = text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"
            found.append((f"{at}{name}", MISSING if value is None else shorter))
    return found


def list_differing(several: Sequence[Mapping[str, str]]) -> list[Difference]:
    """List in what those of some mappings differ that have a key, in the order of keys.

    Example:
        >>> [vars(one) for one in list_differing([{"a": "1", "b": "2"}, {"a": "1", "b": "3"}])]
        [{'name': 'b', 'values': ('2', '3')}]
    """
    names = dict.fromkeys(name for one in several for name in one)
    return [
        Difference(name, tuple(one.get(name, MISSING) for one in several))
        for name in names
        if len({one[name] for one in several if name in one}) > 1
    ]


def _draw_contrasts(names: Sequence[str], several: Sequence[Shown]) -> Plot | None:
    """Draw the contrasts that two or more runs have, a group for each."""
    groups: dict[str, list[ForestRow]] = {}
    several_models = len({model for shown in several for model in shown.models}) > 1
    several_metrics = len({shown.metric for shown in several}) > 1
    for name, shown in zip(names, several, strict=True):
        for contrast in shown.contrasts:
            parts = [contrast["model"]] * several_models + [shown.metric] * several_metrics
            heading = ": ".join([*parts, label_contrast(contrast)])
            groups.setdefault(heading, []).append((name, contrast, shown.alpha))
    shared = {heading: rows for heading, rows in groups.items() if len(rows) > 1}
    if not shared:
        return None
    caption = (
        "Differences between arms, percentage points, where two or more runs have them. Diamond: "
        "mean; filled where p after Holm’s correction is below the error rate of the run. Line: "
        "the interval that decides there. Dots: seeds. Shaded: differences within the margin there."
    )
    rows = [contrast for of_group in shared.values() for _, contrast, _ in of_group]
    figure = draw_under_headings(shared)
    return Plot("contrasts", caption, caption, figure, tabulate_contrasts(rows))


def _join_results(several: Sequence[Shown]) -> list[dict[str, Any]]:
    """Return the endpoint of each model and arm, a figure per run, None where it has none."""
    means: dict[tuple[str, str], list[dict[str, Any] | None]] = {}
    for number, shown in enumerate(several):
        for row in shown.comparison["arms"]:
            figures = means.setdefault((row["model"], row["arm"]), [None] * len(several))
            figures[number] = {**(row["metrics"].get(shown.comparison["metric"]) or {}),
                               "n_seeds": row["n_seeds"]}  # fmt: skip
    order = sorted(means, key=lambda key: [*dict.fromkeys(m for m, _ in means)].index(key[0]))
    return [{"model": key[0], "arm": key[1], "figures": means[key]} for key in order]
