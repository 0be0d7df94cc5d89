"""Which commands can run as Ray jobs, and how their flags are checked before they do.

A Ray job runs in a copy of the submitted folder, which no other node sees and which Ray deletes.
All paths that a command is given must therefore make sense outside that copy.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.paths import PHANTOM
from osteo_ray.base.remote import is_local, split_uri
from osteo_ray.base.storage import locate
from osteo_ray.commands.audit import parse_audit
from osteo_ray.commands.compare import parse_compare
from osteo_ray.commands.explain import parse_explain
from osteo_ray.commands.reproduce import parse_reproduce
from osteo_ray.config.audit import AuditConfig
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.explain import ExplainConfig
from osteo_ray.config.reproduce import ReproduceConfig
from osteo_ray.config.setup import SetupConfig, SourceConfig


@dataclass(frozen=True)
class Submittable:
    """A command that can run as a Ray job.

    Attributes:
        parse: Turns its flags into its configuration.
        list_inputs: Returns everything that it reads, as pairs of the flag and an absolute path, a
            URI, or `phantom`.
        name_report: Returns where its main result will be, from the configuration and the place
            that it writes to.
        find_out: Returns where it writes, from the configuration.
    """

    parse: Callable[[Sequence[str]], Any]
    list_inputs: Callable[[Any], list[tuple[str, str]]]
    name_report: Callable[[Any, str], str]
    find_out: Callable[[Any], str | None] = attrgetter("out")


def _list_source(config: SourceConfig) -> list[tuple[str, str]]:
    return [("--data", config.data), *([("--root", config.root)] if config.root else [])]


def _list_trained(config: CompareConfig | AuditConfig) -> list[tuple[str, str]]:
    files = [entry.partition("=")[2] for entry in config.weights]
    found = [*_list_source(config), *(("--weights", file) for file in files if file)]
    if isinstance(config, CompareConfig):
        given = (("--regions", config.regions), ("--test-data", config.test_data))
        found += [(flag, place) for flag, place in given if place]
    return found


def _list_explained(config: ExplainConfig) -> list[tuple[str, str]]:
    checkpoint = [("--checkpoint", config.checkpoint)] if config.checkpoint else []
    return [*_list_source(config), *checkpoint]


def _list_audited(config: AuditConfig) -> list[tuple[str, str]]:
    return _list_trained(config) + ([("--against", config.against)] if config.against else [])


def _list_reproduced(config: ReproduceConfig) -> list[tuple[str, str]]:
    named = (("--run", config.run), ("--out", config.out), ("--ledger", config.ledger))
    return [(flag, path) for flag, path in named if path]


def _within_out(name: str) -> Callable[[Any, str], str]:
    def name_report(_: Any, out: str) -> str:
        place, options = split_uri(out)
        return f"{place.rstrip('/')}/{name}{options}"

    return name_report


def _find_workspace(config: ReproduceConfig) -> str:
    if config.run is None:
        raise InputError("Expected a run directory, `reproduce RUN`, but got none.")
    run = locate(config.run)
    return config.out or str(run.with_name(f"{run.name}-reproductions"))


def _name_drift_page(config: ReproduceConfig, _: str) -> str:
    beside = locate(str(config.run)).with_name("reproductions.parquet")
    ledger = locate(config.ledger) if config.ledger else beside
    return str(ledger.with_name(f"{ledger.name.removesuffix('.parquet')}.html"))


SUBMITTABLE: dict[str, Submittable] = {
    "compare": Submittable(parse_compare, _list_trained, _within_out("report.html")),
    "explain": Submittable(parse_explain, _list_explained, _within_out("masks")),
    "audit": Submittable(parse_audit, _list_audited, _within_out("audit.html")),
    "reproduce": Submittable(parse_reproduce, _list_reproduced, _name_drift_page, _find_workspace),
}
"""By the name of the command."""


def list_networks(
    command: str, arguments: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """List the models that the flags of a command name, and the Python files of those.

    Relative paths are resolved against the current directory, which must be the user's.

    Args:
        command: Its name; one that cannot run as a job has none.
        arguments: Its flags.

    Raises:
        InputError: A value cannot be used.
        SystemExit: The parser has printed help, or what is wrong.
    """
    config = SUBMITTABLE[command].parse(arguments) if command in SUBMITTABLE else None
    if not isinstance(config, SetupConfig):
        return (), ()
    return config.models, config.networks


def check_command(command: str) -> None:
    """Refuse the name of a command that cannot run as a job.

    Raises:
        InputError: It cannot.
    """
    if command not in SUBMITTABLE:
        raise InputError(
            f"Expected a command that can run as a job ({', '.join(SUBMITTABLE)}), but got "
            f"`{command}`." + suggest(command, SUBMITTABLE)
        )


def check_submittable(command: str, arguments: Sequence[str]) -> str:
    """Check the flags of a command that is to run as a job; return where its result will be.

    Relative paths are resolved against the current directory, which must be the folder of the job
    or stand in for it.

    Args:
        command: Its name.
        arguments: Its flags.

    Returns:
        Path or URI of what a person will want to see first.

    Raises:
        InputError: The command cannot run as a job, a value cannot be used, or a path is one that
            other nodes do not see.
        SystemExit: The parser has printed help, or what is wrong.
    """
    check_command(command)
    kind = SUBMITTABLE[command]
    config = kind.parse(arguments)
    out = kind.find_out(config)
    check_paths(out, kind.list_inputs(config))
    return kind.name_report(config, str(out))


def check_paths(out: str | None, inputs: Sequence[tuple[str, str]]) -> None:
    """Refuse paths that mean nothing outside the job's own copy of the submitted folder.

    Args:
        out: Path or URI of the directory for the results.
        inputs: Flag and absolute path, URI, or `phantom`, of each input.

    Raises:
        InputError: `out` is missing, a relative path, or an unusable URI; or an input is inside the
            copy, which is the current directory.
    """
    if out is None or (is_local(out) and not os.path.isabs(os.path.expanduser(out))):
        found = "none" if out is None else f"`{out}`"
        raise InputError(
            f"Expected an absolute --out on storage that every node sees, or a URI, but got "
            f"{found}. A relative path would be in the working directory of the job, which Ray "
            "deletes."
        )
    locate(out)
    for flag, path in inputs:
        if path != PHANTOM and is_local(path) and Path(path).is_relative_to(Path.cwd().resolve()):
            raise InputError(
                f"Expected an absolute {flag} on storage that every node sees, but got {path}, "
                "which is in the working directory of the job: other nodes do not see it."
            )
