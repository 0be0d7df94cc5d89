"""Tables for a paper, as Markdown, LaTeX and CSV."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from osteo_ray.arms.registry import label_arm
from osteo_ray.base.formatting import (
    MISSING,
    format_level,
    format_p,
    format_points,
    format_score,
)
from osteo_ray.experiment.decomposition import Step
from osteo_ray.report.forest import label_contrast
from osteo_ray.report.paper_table import list_paper
from osteo_ray.report.results import Shown
from osteo_ray.statistics.metrics.registry import METRICS

SHOWN_METRICS = ("accuracy", "precision", "recall", "f1", "specificity", "auc")
"""Those of the table of results, the paper's first."""
_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "\N{MINUS SIGN}": "$-$",
        "±": r"$\pm$",
        MISSING: "--",
    }
)


@dataclass(frozen=True)
class PaperTable:
    """A table with its caption.

    Attributes:
        name: Its name, as that of a file.
        caption: What it holds.
        header: Names of the columns.
        rows: Cells as text.
        counterpart: The table of the paper that it is the counterpart of; empty without one.
    """

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    counterpart: str = ""

    def to_markdown(self) -> str:
        """Return it as Markdown."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        body = [f"| {' | '.join(map(escape_markdown, line))} |" for line in lines]
        body[1] = "|" + "---|" * len(self.header)
        return f"{escape_markdown(self.caption)}\n\n" + "\n".join(body) + "\n"

    def to_latex(self) -> str:
        """Return it as LaTeX; it needs the package booktabs."""
        columns = "l" * len(self.header)
        lines = [
            "% \\usepackage{booktabs}",
            f"% {' '.join(self.caption.split())}",
            f"\\begin{{tabular}}{{{columns}}}",
            "\\toprule",
            " & ".join(name.translate(_TEX) for name in self.header) + " \\\\",
            "\\midrule",
            *(" & ".join(_one_line(cell).translate(_TEX) for cell in row) + " \\\\"
              for row in self.rows),
            "\\bottomrule",
            "\\end{tabular}",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def to_frame(self) -> pd.DataFrame:
        """Return it for CSV."""
        return pd.DataFrame(self.rows, columns=list(self.header))


def list_tables(shown: Shown) -> list[PaperTable]:
    """Return the tables of a run or a judgement."""
    return [_tabulate_results(shown), _tabulate_contrasts(shown), _tabulate_paper()]


def tabulate_steps(steps: Sequence[Step], metric: str, alpha: float) -> PaperTable:
    """Return the decomposition of a gain."""
    return PaperTable(
        "decomposition",
        f"What the gain is made of: {metric}, percentage points, {format_level(alpha)} intervals.",
        ("Network", "Step", "What is subtracted", "Difference", "Interval", "Seeds"),
        tuple(
            (
                *(step.model, step.name, step.basis, format_points(step.mean)),
                f"[{format_points(step.low)}, {format_points(step.high)}]",
                str(step.n_seeds),
            )
            for step in steps
        ),
    )


def _tabulate_results(shown: Shown) -> PaperTable:
    names = list(dict.fromkeys((*SHOWN_METRICS, shown.comparison["metric"])))
    rows = []
    for row in shown.comparison["arms"]:
        figures = [row["metrics"].get(name) or {} for name in names]
        cells = [
            format_score(one.get("mean"))
            + (f" ± {format_score(one['sd'])}" if one.get("sd") is not None else "")
            for one in figures
        ]
        rows.append((row["model"], label_arm(row["arm"]), str(row["n_seeds"]), *cells))
    return PaperTable(
        "results",
        "Test images; mean ± standard deviation over seeds. "
        + (
            f"Positive class: {shown.comparison['positive_class']}."
            if len(shown.comparison["classes"]) == 2
            else "Macro averages over classes, but for what is of all at once, as accuracy is."
        ),
        ("Network", "Trained and tested on", "Seeds", *(METRICS[name].label for name in names)),
        tuple(rows),
        "Table 2",
    )


def _tabulate_contrasts(shown: Shown) -> PaperTable:
    level = format_level(shown.alpha)
    rows = []
    for row in shown.contrasts:
        low, high = row.get("decisive_low"), row.get("decisive_high")
        bounded = low is not None and high is not None
        interval = f"[{format_points(low)}, {format_points(high)}]" if bounded else MISSING
        rows.append(
            (
                *(row["model"], label_contrast(row), str(row["n_seeds"])),
                *(format_points(row["difference"]), interval),
                *(format_p(row.get("p_decisive")), format_p(row.get("p_holm"))),
            )
        )
    return PaperTable(
        "contrasts",
        f"Differences in {shown.metric}, percentage points, paired by seed; {level} intervals; p "
        "after Holm’s correction over models.",
        ("Network", "Contrast", "Seeds", "Difference", "Interval", "p", "p, Holm"),
        tuple(rows),
    )


def _tabulate_paper() -> PaperTable:
    paper = list_paper()
    names = [name for name, *_ in paper[0]["figures"]]
    rows = []
    for entry in paper:
        row = entry["row"]
        images = "original" if row.data_set == "original" else "LIME-masked"
        cells = [
            printed if agrees else f"{printed} (not {format_score(value, 4)})"
            for _, printed, value, agrees in entry["figures"]
        ]
        rows.append((images, row.printed_model, *cells, row.figure))
    return PaperTable(
        "paper",
        "The paper’s Table 2 as printed: one training, 74 test images. In brackets, what its own "
        "confusion matrix gives where that contradicts it.",
        ("Images", "Network", *(METRICS[name].label for name in names), "Matrix"),
        tuple(rows),
        "Table 2",
    )


def escape_markdown(text: str) -> str:
    """Return text in one line that Markdown shows as it is, in tables as well."""
    cleaned = _one_line(text).replace("\\", "\\\\").replace("<", "&lt;")
    return "".join(f"\\{sign}" if sign in "|*_`[]" else sign for sign in cleaned)


def _one_line(text: str) -> str:
    return " ".join(text.split())
