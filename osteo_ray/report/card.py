"""Documents about a run: model card, datasheet, and two reporting guidelines as checklists."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from osteo_ray.arms.registry import label_arm
from osteo_ray.base.formatting import format_score
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, write_whole
from osteo_ray.report.card_facts import NOT_FOR_USE, list_facts
from osteo_ray.report.checklists import CLAIM_2024, NOT_REPORTED, TRIPOD_AI, fill
from osteo_ray.report.paper_tables import PaperTable, escape_markdown, list_tables
from osteo_ray.report.plots import Plot
from osteo_ray.report.results import Shown, read_shown
from osteo_ray.report.style import export_figure
from osteo_ray.report.use_figures import (
    plot_decisions,
    read_probabilities,
    tabulate_calibration,
    tabulate_subgroups,
)

_NO_SUBGROUPS = "there are no predictions, or not two sides or sites that the run knows"


@dataclass(frozen=True)
class Card:
    """What was written about a run.

    Attributes:
        files: Names of the files, in order.
        absent: What could not be written, with the reason.
        n_known: By checklist, how many of its items the run knows something of.
        n_items: By checklist, how many it has.
    """

    files: tuple[str, ...]
    absent: tuple[str, ...]
    n_known: Mapping[str, int]
    n_items: Mapping[str, int]


def write_documents(run: Run, out: Place) -> Card:
    """Write the documents of a run or a judgement into a folder; files of the same names go.

    Raises:
        InputError: It has no results yet.
    """
    shown = read_shown(run)
    table = read_probabilities(shown)
    calibration = tabulate_calibration(table) if len(table) else pd.DataFrame()
    subgroups, decisions = tabulate_subgroups(shown), plot_decisions(shown, table)
    facts = list_facts(
        shown,
        calibrated=len(calibration) > 0,
        subgroups=subgroups,
        decisions=isinstance(decisions, Plot),
    )
    lists = {"tripod-ai": fill(TRIPOD_AI, facts), "claim-2024": fill(CLAIM_2024, facts)}
    texts = {
        "model-card.md": "\n".join(_write_model_card(shown, facts, calibration, subgroups)),
        "datasheet.md": "\n".join(_write_datasheet(shown, facts)),
        "tripod-ai.md": _write_checklist(
            "TRIPOD+AI", "Collins et al., BMJ 2024", lists["tripod-ai"]
        ),
        "claim-2024.md": _write_checklist(
            "CLAIM, 2024 update", "Tejani et al., Radiology: AI 2024", lists["claim-2024"]
        ),
    }
    contents = {name: text.encode() for name, text in texts.items()}
    for name, frame in (("calibration.csv", calibration), ("subgroups.csv", subgroups)):
        if len(frame):
            contents[name] = str(frame.to_csv(index=False, lineterminator="\n")).encode()
    absent = [shown.unread] if shown.unread else []
    if isinstance(decisions, Plot):
        figures = export_figure(decisions.figure)
        contents |= {f"{decisions.name}.{form}": one for form, one in figures.items()}
        text = decisions.data.to_csv(index=False, lineterminator="\n")
        contents[f"{decisions.name}.csv"] = str(text).encode()
    else:
        absent.append(f"No {decisions.name}: {decisions.reason}")
    if not len(subgroups):
        absent.append(f"No subgroups: {_NO_SUBGROUPS}.")
    for name, content in contents.items():
        with write_whole(out / name) as unfinished:
            unfinished.write_bytes(content)
    return Card(
        tuple(contents),
        tuple(absent),
        {name: sum(told != NOT_REPORTED for *_, told in rows) for name, rows in lists.items()},
        {name: len(rows) for name, rows in lists.items()},
    )


def _write_model_card(
    shown: Shown, facts: Mapping[str, str], calibration: pd.DataFrame, subgroups: pd.DataFrame
) -> Iterator[str]:
    """Write a model card (Mitchell et al. 2019)."""
    yield f"# Model card: {escape_markdown(shown.name)}\n"
    yield f"**{NOT_FOR_USE}**\n"
    for title, names in (
        ("Model", ("model", "start", "training", "keep", "weights", "software", "code")),
        ("Intended use", ("use", "aim")),
        ("Data", ("data", "classes", "preparation", "split", "disjoint", "counts")),
        ("Verdict", ("verdict", "next", "limits")),
        ("Output and prediction", ("output", "prediction", "recalibration")),
        ("Explanations", ("explanations", "failures")),
    ):
        yield f"## {title}\n"
        known = [_make_sentence(facts[name]) for name in names if name in facts]
        yield from (f"- {text}" for text in known)
        if not known:
            yield "- Not reported."
        yield ""
    yield "## Results\n"
    results = list_tables(shown)[0]
    yield results.to_markdown()
    yield "## Calibration of test images\n"
    if len(calibration):
        yield _summarise(calibration).to_markdown()
    else:
        yield "Not reported: there are no predictions, or more than two classes.\n"
    yield "## Subgroups\n"
    if len(subgroups):
        several = len(shown.comparison["classes"]) > 2
        macro = ", and over classes, each against the rest" if several else ""
        caption = f"AUC by what the run knows of its images, mean over seeds{macro}."
        yield _tabulate(subgroups, caption)
    else:
        yield f"Not reported: {_NO_SUBGROUPS}. Sex and age are not kept.\n"


def _make_sentence(text: str) -> str:
    """Return a fact as a sentence in Markdown; names in it may hold any signs."""
    return escape_markdown(text[:1].upper() + text[1:] + ("" if text[-1] in ".?" else "."))


def _summarise(calibration: pd.DataFrame) -> PaperTable:
    rows = []
    by = ["model", "arm", "recalibrated"]
    for (model, arm, recalibrated), part in calibration.groupby(by, sort=False):
        known = part.dropna()
        cells = [
            f"{format_score(known[name].astype(float).mean())} ± "
            f"{format_score(known[name].astype(float).std())}"
            if len(known) > 1
            else format_score(known[name].astype(float).mean() if len(known) else None)
            for name in ("slope", "intercept", "in_the_large")
        ]
        which = "yes" if recalibrated else "no"
        rows.append(
            (str(model), label_arm(str(arm)), which, f"{len(known)} of {len(part)}", *cells)
        )
    return PaperTable(
        "calibration",
        "Logistic line of the outcome on the log-odds of its probability, mean ± standard "
        "deviation over those seeds on which it can be fitted; a slope of 1 and intercepts of 0 "
        "are calibrated. Recalibrated by a temperature that validation images set.",
        ("Network", "Arm", "Recalibrated", "Seeds", "Slope", "Intercept", "In the large"),
        tuple(rows),
    )


def _tabulate(frame: pd.DataFrame, caption: str) -> str:
    rows = tuple(
        tuple(format_score(one) if isinstance(one, float) else str(one) for one in row)
        for row in frame.itertuples(index=False)
    )
    return PaperTable("table", caption, tuple(map(str, frame.columns)), rows).to_markdown()


def _write_datasheet(shown: Shown, facts: Mapping[str, str]) -> Iterator[str]:
    """Write a datasheet of the images (Gebru et al. 2021), as far as a run knows of them."""
    yield f"# Datasheet: the images of {escape_markdown(shown.name)}\n"
    for title, names in (
        ("Motivation: why, by whom, and with what money they were collected", ()),
        ("Composition", ("data", "classes", "imbalance", "missing", "flow")),
        ("Collection: how, when, from whom, with what consent", ("selection",)),
        ("Preprocessing", ("preparation",)),
        ("Uses", ("use", "split", "disjoint")),
        ("Distribution and licence", ()),
        ("Maintenance", ()),
    ):
        yield f"## {title}\n"
        known = [_make_sentence(facts[name]) for name in names if name in facts]
        yield from (f"- {text}" for text in known)
        if not known:
            yield "- Not reported: only who made the set can tell."
        yield ""


def _write_checklist(title: str, source: str, rows: Sequence[tuple[str, str, str]]) -> str:
    known = sum(told != NOT_REPORTED for *_, told in rows)
    caption = (
        f"{source}. Topics in short; the guideline has the full text. Filled from what the run "
        f"knows ({known} of {len(rows)} items): whoever publishes checks each and adds the rest."
    )
    header = ("Item", "Topic", "Where, or what")
    return f"# {title}\n\n" + PaperTable("checklist", caption, header, tuple(rows)).to_markdown()
