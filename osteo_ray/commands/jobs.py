"""Which commands run as Ray jobs, and the check of their flags before they do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.remote import split_uri
from osteo_ray.base.storage import locate
from osteo_ray.commands.audit import parse_audit
from osteo_ray.commands.compare import parse_compare
from osteo_ray.commands.explain import parse_explain
from osteo_ray.commands.job_paths import check_job_paths
from osteo_ray.commands.reproduce import parse_reproduce
from osteo_ray.config.audit import AuditConfig
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.explain import ExplainConfig
from osteo_ray.config.reproduce import ReproduceConfig


@dataclass(frozen=True)
class JobKind:
    """A command as a Ray job.

    Attributes:
        parse: Builds its configuration from flags.
        list_inputs: Flag and absolute path, URI, or `phantom`, of each thing that it reads.
        name_report: What a person will want to see first, by the configuration and its out.
        find_out: Where it writes.
    """

    parse: Callable[[Sequence[str]], Any]
    list_inputs: Callable[[Any], list[tuple[str, str]]]
    name_report: Callable[[Any, str], str]
    find_out: Callable[[Any], str | None] = attrgetter("out")


def _list_trained(config: CompareConfig | AuditConfig) -> list[tuple[str, str]]:
    files = [entry.partition("=")[2] for entry in config.weights]
    return [("--data", config.data), *(("--weights", file) for file in files if file)]


def _within_out(name: str) -> Callable[[Any, str], str]:
    def name_report(_: Any, out: str) -> str:
        place, options = split_uri(out)
        return f"{place.rstrip('/')}/{name}{options}"

    return name_report


def _list_explained(config: ExplainConfig) -> list[tuple[str, str]]:
    checkpoint = [("--checkpoint", config.checkpoint)] if config.checkpoint else []
    return [("--data", config.data), *checkpoint]


def _list_reproduced(config: ReproduceConfig) -> list[tuple[str, str]]:
    named = (("--run", config.run), ("--out", config.out), ("--ledger", config.ledger))
    return [(flag, path) for flag, path in named if path]


def _find_work(config: ReproduceConfig) -> str:
    if config.run is None:
        raise InputError("Expected a run directory, `reproduce RUN`, but got none.")
    run = locate(config.run)
    return config.out or str(run.with_name(f"{run.name}-reproductions"))


def _name_drift(config: ReproduceConfig, _: str) -> str:
    beside = locate(str(config.run)).with_name("reproductions.parquet")
    ledger = locate(config.ledger) if config.ledger else beside
    return str(ledger.with_name(f"{ledger.name.removesuffix('.parquet')}.html"))


JOBS: dict[str, JobKind] = {
    "compare": JobKind(parse_compare, _list_trained, _within_out("report.html")),
    "explain": JobKind(parse_explain, _list_explained, _within_out("masks")),
    "audit": JobKind(parse_audit, _list_trained, _within_out("audit.html")),
    "reproduce": JobKind(parse_reproduce, _list_reproduced, _name_drift, _find_work),
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
    out = kind.find_out(config)
    check_job_paths(out, kind.list_inputs(config))
    return kind.name_report(config, str(out))
