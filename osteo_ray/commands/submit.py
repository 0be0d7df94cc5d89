"""`osteo-ray submit`."""

import argparse
import contextlib
import re
import secrets
import sys
from typing import NoReturn

from rich.console import Console

from osteo_ray.base.errors import InputError
from osteo_ray.commands.jobs import JOBS, check_job
from osteo_ray.commands.parsing import BAD_INPUT

_SUBMIT_HELP = f"""\
Run a command as a job on a Ray cluster, follow it, and end as it ends.

osteo-ray submit JOB FLAGS runs `osteo-ray JOB FLAGS` there; JOB is {", ".join(JOBS)}.
Options of submit stand before JOB. The flags are checked here first, and the code of this
osteo_ray is sent along; paths in them must be absolute, on storage that every node sees, or URIs;
only the file of --config is sent, too. A job that fails is submitted again under a new id and goes
on from what is finished. Exit code: that of the command on the cluster; 1 also for a job that was
stopped, killed or lost.
"""


def _read_count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, but got `{text}`")
    return int(text)


def _read_seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1e9:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected seconds, more than 0, but got `{text}`")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"osteo-ray submit: {message}. See osteo-ray submit --help.")


def parse_submit(arguments: list[str]) -> argparse.Namespace:
    """Part the options of submit, the name of the job, and the job's own flags.

    Raises:
        InputError: An option is unknown or its value not usable, or there is no such job.
        SystemExit: Help was printed.
    """
    parser = _Parser(
        prog="osteo-ray submit",
        description=_SUBMIT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--address", help="URL of the dashboard; by default $RAY_API_SERVER_ADDRESS, or this host's"
    )
    parser.add_argument("--id", help="id of the job, for `ray job` commands; by default a new one")
    parser.add_argument(
        "--retries", type=_read_count, default=2, help="further jobs after one that failed (2)"
    )
    parser.add_argument(
        "--lost-after", type=_read_seconds, default=120.0, metavar="SECONDS",
        help="for how long the cluster may be silent before the job counts as lost (120)",
    )  # fmt: skip
    parser.add_argument("job", metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("arguments", metavar="FLAGS", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    if options.id is None:
        options.id = f"osteo-ray-{options.job}-{secrets.token_hex(4)}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", options.id):
        raise InputError(
            f"Expected an --id of letters, digits, `_`, `.` and `-`, but got `{options.id}`."
        )
    return options


def submit_command(arguments: list[str]) -> int:
    """Run `osteo-ray submit` with these words; return the exit code."""
    options = parse_submit(arguments)
    # Imported here: Ray takes seconds to import, and bad flags need no cluster.
    from osteo_ray.pipeline.submit.packing import check_as_packed

    report = check_as_packed(check_job, options.job, options.arguments)
    from osteo_ray.pipeline.submit.attempts import Submission, run_attempts
    from osteo_ray.pipeline.submit.head import Head

    errors = Console(stderr=True)

    def tell(message: str) -> None:
        errors.print(message, markup=False, highlight=False, soft_wrap=True)

    submission = Submission(
        job=options.job,
        arguments=tuple(options.arguments),
        name=options.id,
        retries=options.retries,
        lost_after_s=options.lost_after,
    )
    try:
        outcome = run_attempts(Head(options.address), submission, _write, tell)
    except KeyboardInterrupt:
        return BAD_INPUT
    place = "Report" if outcome.has_result else "What finished is kept; the report will be"
    tell(f"{place}: {report}")
    return outcome.exit_code


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
