"""What `import osteo_ray` offers: the commands as functions, and what they leave as arrays.

Settings are keyword arguments with the names that YAML has, and groups are mappings:
`compare("knees/", seeds=20, lime={"samples": 500})`. docs/python.md shows each function at work.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from osteo_ray.base.errors import IncompleteError, InputError, suggest
from osteo_ray.base.formatting import count_missing
from osteo_ray.base.noise import capture_noise
from osteo_ray.base.progress import JobProgress
from osteo_ray.base.runs import open_run as locate_run
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import read_json
from osteo_ray.commands.opened import AuditedSet, ExplainedSet, FinishedRun
from osteo_ray.config.audit import AuditConfig
from osteo_ray.config.build import Config, build
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.demos import DEFAULT_DEMO
from osteo_ray.config.explain import ExplainConfig
from osteo_ray.config.problems import describe_problems
from osteo_ray.data.image_size import ImageSize

if TYPE_CHECKING:
    from osteo_ray.pipeline.compare.sweeps import Failure

Source = str | Path


def compare(data: Source | None = None, *, progress: bool = True, **settings: Any) -> FinishedRun:
    """Run `osteo-ray compare`, or resume it.

    Args:
        data: As `--data`; by default synthetic knees, and the demo if there are no settings either.
        progress: Whether to show progress on standard error.
        settings: Settings of the comparison, by their names in YAML.

    Raises:
        InputError: The input cannot be used.
        IncompleteError: Some trainings are missing; the same call tries them again.
    """
    from osteo_ray.pipeline.compare import stages
    from osteo_ray.report.page import write_report

    demo = {"demo": DEFAULT_DEMO} if data is None and not settings else {}
    config = _configure(CompareConfig, data, {**demo, **settings})
    with _following(progress) as following:
        outcome = stages.compare(config, following, write_report=write_report)
    if outcome.failures:
        raise IncompleteError(_tell_missing(outcome.failures, outcome.run.root))
    return FinishedRun(outcome.run)


def audit(data: Source, *, progress: bool = True, **settings: Any) -> AuditedSet:
    """Run `osteo-ray audit`: find copies, conflicts, blank images and shortcuts.

    Args:
        data: As `--data`.
        progress: Whether to show progress on standard error.
        settings: Settings of the audit, by their names in YAML.

    Raises:
        InputError: The input cannot be used.
        IncompleteError: Trainings of `measure_leak` are missing; the same call tries them again.
    """
    from osteo_ray.pipeline.audit import audit_set
    from osteo_ray.report.audit_page import write_audit_page

    config = _configure(AuditConfig, data, settings)
    with _following(progress) as following:
        outcome = audit_set.audit(config, following, write_audit_page)
    if outcome.failures:
        raise IncompleteError(_tell_missing(outcome.failures, outcome.out))
    return AuditedSet(outcome.out, outcome.audit)


def explain(
    data: Source, checkpoint: Source, *, progress: bool = True, **settings: Any
) -> ExplainedSet:
    """Run `osteo-ray explain`: explain each image of a set with one trained classifier.

    Args:
        data: As `--data`.
        checkpoint: As `--checkpoint`.
        progress: Whether to show progress on standard error.
        settings: Settings of the explanations, by their names in YAML.

    Raises:
        InputError: The input cannot be used.
        IncompleteError: Some images were not explained; the same call tries them again.
    """
    from osteo_ray.pipeline.explain.explain_set import explain_set

    config = _configure(ExplainConfig, data, {"checkpoint": str(checkpoint), **settings})
    with _following(progress) as following:
        run, summary = explain_set(config, following)
    size = ImageSize.read(read_json(run.environment)["checkpoint"]["image_size"])
    return ExplainedSet(run, size, config.method, summary.n_images, summary.n_failed)


def judge(tables: Source | Sequence[Source], out: Source, **request: Any) -> FinishedRun:
    """Run `osteo-ray judge`: judge predictions that anybody made with anything.

    Args:
        tables: Tables of predictions, or run directories.
        out: Folder for the results: new, empty, or an earlier judgement.
        request: What is judged and how, as the flags of the command name it: `baseline`, `judged`,
            `controls`, `metric`, `margin`, `alpha`, `positive_class`, `ordinal`, `n_train`,
            `looks`.

    Raises:
        InputError: The tables, or what is asked of them, cannot be used.
    """
    from osteo_ray.experiment import judge_tables
    from osteo_ray.experiment.judgement_folder import keep_judgement, locate_judgement
    from osteo_ray.report.page import write_report

    known = [field.name for field in fields(judge_tables.JudgeRequest)]
    for name in request:
        if name not in known:
            raise InputError(
                f"Expected keywords among {', '.join(known)}, but got `{name}`."
                + suggest(name, known)
            )
    try:
        asked = TypeAdapter(judge_tables.JudgeRequest).validate_python(request)
    except ValidationError as error:
        raise InputError(describe_problems(error)) from None
    several = [tables] if isinstance(tables, str | Path) else tables
    run = locate_judgement(str(out))
    judged = judge_tables.judge_tables([str(one) for one in several], asked)
    keep_judgement(run, judged)
    write_report(run)
    return FinishedRun(run)


def open_run(place: Source) -> FinishedRun:
    """Open a finished run directory, or a judgement, by its path or URI.

    Raises:
        InputError: There is none, or it is not finished.
    """
    run = locate_run(str(place))
    if not run.comparison.is_file():
        raise InputError(
            f"Expected a finished run, but {run.comparison} does not exist. Check the path, or "
            "finish the run with the command that began it."
        )
    return FinishedRun(run)


def _tell_missing(failures: "Sequence[Failure]", place: Place) -> str:
    first = failures[0]
    return (
        f"{count_missing(len(failures))}; the first is {first.trial}: {first.reason}. What "
        f"finished is in {place}."
    )


def _configure(kind: type[Config], data: Source | None, settings: Mapping[str, Any]) -> Config:
    given = {} if data is None else {"data": str(data)}
    return build(kind, {**given, **settings})


@contextmanager
def _following(shown: bool) -> Iterator[JobProgress]:
    """Give a display of progress; whatever libraries print goes nowhere."""
    with capture_noise() as captured:
        yield JobProgress(captured.err if shown else Console(file=io.StringIO()))
