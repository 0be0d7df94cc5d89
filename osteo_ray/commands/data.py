"""`osteo-ray audit` and `osteo-ray phantom`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from osteo_ray.base.errors import InputError
from osteo_ray.base.noise import Capture, capture_noise
from osteo_ray.commands.parsing import BAD_INPUT, DONE, FAILED, FINDINGS, name_data, parse_config
from osteo_ray.config.audit import AuditConfig
from osteo_ray.data.settings import PhantomSettings

_AUDIT_HELP = """\
Find copies, label conflicts, blank images, shortcuts; say what may not be trusted.

osteo-ray audit DATA writes audit.json, audit.html (pairs side by side) and tables to --out.
--measure-leak also trains --models with and without copies across the split, --seeds times each,
and tells how far accuracies published on such a set may be off; only then do the settings of models
and training matter. Exit code 0: clean; 3: findings.
"""


def parse_audit(arguments: Sequence[str]) -> AuditConfig:
    """Build the configuration of `audit`, whose first word may be the data."""
    return parse_config(AuditConfig, name_data(arguments), "osteo-ray audit", _AUDIT_HELP)


def audit_command(arguments: list[str]) -> int:
    """Run `osteo-ray audit` with these words; return the exit code."""
    config = parse_audit(arguments)
    with capture_noise() as captured:
        try:
            return run_audit(config, captured)
        except KeyboardInterrupt:
            captured.err.print("\nInterrupted. Finished trainings are kept.", style="yellow")
            return BAD_INPUT


def run_audit(config: AuditConfig, captured: Capture) -> int:
    """Run an audit, show its progress and its findings; return the exit code."""
    from osteo_ray.base.progress import JobProgress
    from osteo_ray.commands.compare_tables import show_audit
    from osteo_ray.pipeline.audit.audits import audit

    outcome = audit(config, JobProgress(captured.err))
    show_audit(captured.out, outcome.audit)
    captured.out.print(f"Report: {outcome.out / 'audit.html'}", highlight=False, soft_wrap=True)
    if outcome.failures:
        captured.keep_log(outcome.out / "logs")
        captured.err.print(
            f"{len(outcome.failures)} trainings are missing, the first: "
            f"{outcome.failures[0].trial}: {outcome.failures[0].reason}. The same command tries "
            "them again.",
            style="red",
            markup=False,
            soft_wrap=True,
        )
        return FAILED
    return FINDINGS if outcome.audit["findings"] else DONE


def phantom_command(arguments: list[str]) -> int:
    """Run `osteo-ray phantom` with these words; return the exit code."""

    def phantom(
        out: Annotated[str, tyro.conf.Positional],
        settings: Annotated[PhantomSettings, tyro.conf.arg(name="")] = PhantomSettings(),
    ) -> None:
        """Write a set of synthetic knees: images, regions of disease, and what copies what.

        Args:
            out: A new or empty folder.
            settings: Of the set.
        """
        from osteo_ray.base.tables import write_whole
        from osteo_ray.data.phantoms.sets import write_phantoms

        path = Path(out).expanduser().resolve()
        if path.exists():
            if not path.is_dir() or any(path.iterdir()):
                raise InputError(f"Expected a new or empty folder, but {path} is in use.")
            path.rmdir()
        with write_whole(path) as unfinished:
            write_phantoms(unfinished, settings)
        Console().print(f"Images: {path / 'images'}", highlight=False, soft_wrap=True)

    tyro.cli(phantom, prog="osteo-ray phantom", args=arguments)
    return DONE
