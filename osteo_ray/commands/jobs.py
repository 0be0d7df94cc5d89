"""Which commands run as Ray jobs, and the check of their flags before they do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from osteo_ray.commands.compare import parse_compare
from osteo_ray.commands.data import parse_audit
from osteo_ray.commands.explain import parse_explain
from osteo_ray.config import AuditConfig, CompareConfig, ExplainConfig
from osteo_ray.errors import InputError, suggest
from osteo_ray.job_paths import check_job_paths


@dataclass(frozen=True)
class JobKind:
    """A command as a Ray job.

    Attributes:
        parse: Builds its configuration from flags.
        list_inputs: Flag and absolute path, or `phantom`, of each thing that it reads.
        report: What in its --out a person wants to see first.
    """

    parse: Callable[[Sequence[str]], Any]
    list_inputs: Callable[[Any], list[tuple[str, str]]]
    report: str


def _list_trained(config: CompareConfig | AuditConfig) -> list[tuple[str, str]]:
    files = [entry.partition("=")[2] for entry in config.weights]
    return [("--data", config.data), *(("--weights", file) for file in files if file)]


def _list_explained(config: ExplainConfig) -> list[tuple[str, str]]:
    checkpoint = [("--checkpoint", config.checkpoint)] if config.checkpoint else []
    return [("--data", config.data), *checkpoint]


JOBS: dict[str, JobKind] = {
    "compare": JobKind(parse_compare, _list_trained, "report.html"),
    "explain": JobKind(parse_explain, _list_explained, "masks"),
    "audit": JobKind(parse_audit, _list_trained, "audit.html"),
}


def check_job(name: str, arguments: Sequence[str]) -> str:
    """Check the flags of a job; return the path or URI of what a person will want to see.

    Relative paths are taken from the current directory, which must be the job's own folder, or
    stand for it.

    Raises:
        InputError: There is no such job, a value is not usable, or a path lies where other nodes do
            not see it.
        SystemExit: The parser has printed help, or what is wrong.
    """
    if name not in JOBS:
        raise InputError(
            f"Expected a job among {', '.join(JOBS)}, but got `{name}`." + suggest(name, JOBS)
        )
    kind = JOBS[name]
    config = kind.parse(arguments)
    check_job_paths(config.out, kind.list_inputs(config))
    return f"{config.out.rstrip('/')}/{kind.report}"
