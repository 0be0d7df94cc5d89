"""`osteo-ray submit`."""

import argparse
import contextlib
import re
import secrets
import sys
from typing import NoReturn

from rich.console import Console

from osteo_ray.base.errors import InputError
from osteo_ray.commands.parsing import BAD_INPUT
from osteo_ray.commands.submittable import (
    SUBMITTABLE,
    check_command,
    check_submittable,
    list_networks,
)

_SUBMIT_HELP = f"""\
Run a command as a job on a Ray cluster, follow it, and end with its exit code.

`osteo-ray submit COMMAND FLAGS` runs `osteo-ray COMMAND FLAGS` on the cluster; COMMAND is one of
{", ".join(SUBMITTABLE)}. Options of submit go before COMMAND. The flags are checked here first.
Paths in them must be URIs, or absolute paths on storage that every node sees. The code of this
osteo_ray, the file of --config and the Python files of --models are sent along; nothing else is. A
job that fails is submitted again under a new id and continues from what is finished. The exit code
is that of the command on the cluster; it is 1 as well for a job that was stopped, killed or lost.
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
    """Separate the options of submit, the name of the command, and the command's own flags.

    Raises:
        InputError: An option or the command is unknown, or a value cannot be used.
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
    parser.add_argument("--id", help="id of the job, as `ray job` takes it; by default a new one")
    parser.add_argument(
        "--retries",
        type=_read_count,
        default=2,
        help="how many further jobs may follow one that failed (2)",
    )
    parser.add_argument(
        "--lost-after", type=_read_seconds, default=120.0, metavar="SECONDS",
        help="how long the cluster may be silent before the job counts as lost (120)",
    )  # fmt: skip
    parser.add_argument("command", metavar="COMMAND", help=", ".join(SUBMITTABLE))
    parser.add_argument("arguments", metavar="FLAGS", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    check_command(options.command)  # of which the id is made
    if options.id is None:
        options.id = f"osteo-ray-{options.command}-{secrets.token_hex(4)}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", options.id):
        raise InputError(
            f"Expected an --id of letters, digits, `_`, `.` and `-`, but got `{options.id}`."
        )
    return options


def submit_command(arguments: list[str]) -> int:
    """Run `osteo-ray submit` with these arguments; return the exit code."""
    options = parse_submit(arguments)
    # Imported only now: Ray takes seconds to import, and bad flags need no cluster.
    from osteo_ray.pipeline.submit.packing import Networks, check_as_packed

    networks = Networks(*list_networks(options.command, options.arguments))
    report = check_as_packed(check_submittable, options.command, options.arguments, networks)
    from osteo_ray.pipeline.submit.head import Head
    from osteo_ray.pipeline.submit.submission import Submission, run_submission

    errors = Console(stderr=True)

    def tell(message: str) -> None:
        errors.print(message, markup=False, highlight=False, soft_wrap=True)

    submission = Submission(
        command=options.command,
        arguments=tuple(options.arguments),
        job=options.id,
        retries=options.retries,
        lost_after_s=options.lost_after,
        networks=networks,
    )
    try:
        outcome = run_submission(Head(options.address), submission, _write, tell)
    except KeyboardInterrupt:
        return BAD_INPUT
    place = "Report" if outcome.has_result else "What finished is kept; the report will be"
    tell(f"{place}: {report}")
    return outcome.exit_code


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
