"""Submit a job, follow it, and try again a bounded number of times: Ray retries no job."""

import asyncio
import shlex
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from osteo_ray.base.errors import IncompleteError
from osteo_ray.pipeline.submit.following import follow
from osteo_ray.pipeline.submit.head import Head
from osteo_ray.pipeline.submit.outcome import Outcome, name_attempt
from osteo_ray.pipeline.submit.packing import pack_config, pack_package


@dataclass(frozen=True)
class Submission:
    """What is to run, and how hard to try.

    Attributes:
        job: Name of the command.
        arguments: Its flags, checked.
        name: Id of the first job; others are derived from it.
        retries: How many more jobs may follow it.
        lost_after_s: For how long the head may be silent.
    """

    job: str
    arguments: tuple[str, ...]
    name: str
    retries: int
    lost_after_s: float


def run_attempts(
    head: Head,
    submission: Submission,
    write: Callable[[str], object],
    tell: Callable[[str], object],
) -> Outcome:
    """Submit, follow, and submit again under a new id while that may help.

    Every attempt has the same flags, so each goes on with what those before it finished.

    Args:
        head: Of the cluster.
        submission: What is to run.
        write: Takes the log of the jobs.
        tell: Takes messages about them.

    Raises:
        InputError: The cluster refuses the id or the token.
        IncompleteError: The first attempt could not be submitted.
    """
    with tempfile.TemporaryDirectory(prefix="osteo-ray-job-") as folder:
        pack_package(Path(folder))
        arguments = pack_config(submission.arguments, Path(folder))
        entrypoint = shlex.join(
            ["python", "-m", "osteo_ray.commands.job", submission.job, *arguments]
        )
        for attempt in range(submission.retries + 1):
            job = name_attempt(submission.name, attempt)
            try:
                head.submit(job, entrypoint, Path(folder))
            except IncompleteError as error:
                if attempt == 0:
                    raise
                return Outcome("failed", message=str(error))
            tell(f"Job {job} on {head.address}")
            outcome = _follow(head, job, submission.lost_after_s, write, tell)
            tell(f"Job {job} {outcome.describe()}.")
            if not outcome.may_be_tried_again:
                break
    return outcome


def _follow(
    head: Head,
    job: str,
    lost_after_s: float,
    write: Callable[[str], object],
    tell: Callable[[str], object],
) -> Outcome:
    try:
        return asyncio.run(follow(head, job, write, lost_after_s))
    except KeyboardInterrupt:
        tell(
            f"\nNo longer following. Job {job} goes on: `ray job logs --follow {job}` shows it, "
            f"`ray job stop {job}` ends it (both with --address {head.address})."
        )
        raise
