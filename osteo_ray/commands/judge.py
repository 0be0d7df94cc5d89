"""`osteo-ray judge`."""

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from osteo_ray.base.errors import InputError
from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.card import tell_old_card
from osteo_ray.commands.help_text import JSON
from osteo_ray.commands.parsing import DONE
from osteo_ray.commands.terminal import say

_JUDGE_HELP = """\
Judge predictions that anybody made with anything, by the rule that judges a run (docs/verdict.md).

osteo-ray judge TABLE [TABLE ...] --out DIR takes tables with a row per prediction (Parquet, CSV or
TSV) or run directories, and judges several as one. Columns: model, seed, arm, split (train,
validation, test), image_id, label, a probability p_CLASS per class, and optionally group
(docs/judge.md). Nothing is trained and no image is needed. --json prints the result as JSON. Exit
code 0 whatever the verdict.
"""


@dataclass(frozen=True)
class _Numbers:
    """What the verdict is reckoned with."""

    margin: float | None = None
    """Differences inside ± margin do not matter; by default that of the endpoint."""
    alpha: float | None = None
    """Error rate; by default that of the run, else 0.05."""
    n_train: float | None = None
    """Training images per seed; by default by the rows of split train, or the run."""
    looks: int | None = None
    """How many conclusions were drawn on these seeds before; each leaves less of alpha. By default
    those of the run, else 0."""


def judge_command(arguments: list[str]) -> int:
    """Run `osteo-ray judge` with these words; return the exit code."""
    as_json = JSON in arguments

    def judge(
        tables: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="TABLE")],
        out: str,
        baseline: str | None = None,
        judged: str | None = None,
        controls: tuple[str, ...] | None = None,
        metric: str | None = None,
        positive_class: str | None = None,
        ordinal: tuple[str, ...] = (),
        numbers: Annotated[_Numbers, tyro.conf.arg(name="")] = _Numbers(),
    ) -> None:
        """Judge tables of predictions.

        Args:
            tables: Tables of predictions, or run directories.
            out: Folder for verdict, tables and page: new, empty, or an earlier judgement.
            baseline: The arm that the others are compared with; by default original.
            judged: The arm whose gain is judged; by default told by the names of the arms.
            controls: Arms that must not account for the gain; by default told by their names.
            metric: The endpoint; by default that of the run, else auc.
            positive_class: By default recognised by the names of the classes.
            ordinal: The classes as grades, from least to most, as single words or in one as in
                'normal<mild<severe'; by default that of the run, if it has one.
        """
        from osteo_ray.commands.compare_tables import show_comparison
        from osteo_ray.commands.doubts import show_doubts
        from osteo_ray.experiment.judge_tables import JudgeRequest, judge_tables
        from osteo_ray.experiment.judgement_folder import keep_judgement, locate_judgement
        from osteo_ray.experiment.positive_class import PositiveClass
        from osteo_ray.report.page import write_report

        if not tables:
            raise InputError("Expected one or more tables of predictions, but got none.")
        run = locate_judgement(out)
        request = JudgeRequest(
            *(baseline, judged, controls, metric, numbers.margin, numbers.alpha),
            *(positive_class, ordinal, numbers.n_train, numbers.looks),
        )
        judged_tables = judge_tables(tables, request)
        comparison = judged_tables.comparison
        keep_judgement(run, judged_tables)
        report = write_report(run)
        if as_json:
            print_json(Console(), {"report": report, "comparison": comparison})
            return
        show_comparison(Console(), comparison)
        show_doubts(Console(), comparison)
        if len(comparison["classes"]) == 2:
            basis = comparison["judgement"]["positive_class_basis"]
            say(Console(), PositiveClass(comparison["positive_class"], basis).describe())
        tell_old_card(Console(), run)
        say(Console(), f"Report: {report}")

    words = [word for word in arguments if word != JSON]
    tyro.cli(judge, prog="osteo-ray judge", description=_JUDGE_HELP, args=words)
    return DONE
