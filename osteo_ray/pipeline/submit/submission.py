"""Submit a job, follow it to its end, and submit it again if that may help: Ray retries no job."""

import asyncio
import contextlib
import shlex
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ray.job_submission import JobDetails

from osteo_ray.base.errors import IncompleteError
from osteo_ray.pipeline.submit.head import Head, NoAgentError, UnknownJobError, UnreachableError
from osteo_ray.pipeline.submit.outcome import JobOutcome
from osteo_ray.pipeline.submit.packing import (
    NO_NETWORKS,
    Networks,
    pack_config,
    pack_networks,
    pack_package,
)

Write = Callable[[str], object]
"""Receives text, such as a part of a log."""

_ENTRYPOINT = ("python", "-m", "osteo_ray.commands.entrypoint")
_POLL_S = 2.0  # between two questions for the state of a job, and before connecting again
_DRAIN_S = 20.0  # to wait for the rest of the log after a job has ended


@dataclass(frozen=True)
class Submission:
    """A command that is to run as a job, and how often to try.

    Attributes:
        command: Its name.
        arguments: Its flags, already checked.
        job: Id of the first job; the ids of further jobs are derived from it.
        retries: How many more jobs may follow the first one.
        lost_after_s: How long the head may be silent before the job counts as lost, in seconds.
        networks: The models that the flags name, and their files, which travel along.
    """

    command: str
    arguments: tuple[str, ...]
    job: str
    retries: int
    lost_after_s: float
    networks: Networks = NO_NETWORKS


def run_submission(head: Head, submission: Submission, write: Write, tell: Write) -> JobOutcome:
    """Submit a job, follow it, and submit it again under a new id as long as that may help.

    All jobs have the same flags, so each one continues with what those before it finished.

    Args:
        head: Head of the cluster.
        submission: What is to run.
        write: Receives the logs of the jobs.
        tell: Receives messages about the jobs.

    Returns:
        How the last job ended.

    Raises:
        InputError: The cluster refuses the id or the token.
        IncompleteError: The first job could not be submitted.
    """
    with tempfile.TemporaryDirectory(prefix="osteo-ray-job-") as folder:
        pack_package(Path(folder))
        arguments = pack_config(submission.arguments, Path(folder))
        arguments = pack_networks(arguments, submission.networks, Path(folder))
        entrypoint = shlex.join([*_ENTRYPOINT, submission.command, *arguments])
        for attempt in range(submission.retries + 1):
            # Ray accepts each id only once.
            job = f"{submission.job}-retry-{attempt}" if attempt else submission.job
            submit = partial(head.submit, job, entrypoint, Path(folder))
            try:
                _wait_for_agent(submit, submission.lost_after_s if attempt else 0.0)
            except IncompleteError as error:
                if attempt == 0:
                    raise
                tell(f"Job {job} was not submitted: {error}")
                return JobOutcome("failed", message=str(error))
            except KeyboardInterrupt:
                tell(
                    f"\nInterrupted while job {job} was being submitted; `ray job list --address "
                    f"{head.address}` shows whether it runs."
                )
                raise
            tell(f"Job {job} on {head.address}")
            try:
                outcome = asyncio.run(follow_job(head, job, write, submission.lost_after_s))
            except KeyboardInterrupt:
                tell(
                    f"\nNo longer following job {job}; it keeps running. `ray job logs --follow "
                    f"{job}` shows it, `ray job stop {job}` ends it (both with --address "
                    f"{head.address})."
                )
                raise
            tell(f"Job {job} {outcome.describe()}.")
            if not outcome.may_be_tried_again:
                break
    return outcome


def _wait_for_agent(submit: Callable[[], None], patience_s: float) -> None:
    """Submit a job; where nothing starts jobs yet, as on a head that comes up again, wait."""
    until = time.monotonic() + patience_s
    while True:
        try:
            submit()
        except NoAgentError:
            if time.monotonic() >= until:
                raise
            time.sleep(_POLL_S)
        else:
            return


async def follow_job(head: Head, job: str, write: Write, lost_after_s: float) -> JobOutcome:
    """Pass on the log of a job until the job ends or is lost.

    The log and the state come over separate connections, because the end of the log does not mean
    that the job has ended: to Ray's client, a lost head looks like the end of the log.

    Args:
        head: Head of the cluster.
        job: Id of the job.
        write: Receives the log; each part of it once.
        lost_after_s: How long the head may be silent, in seconds.
    """
    ended = asyncio.Event()
    log = asyncio.create_task(_stream_log(head, job, write, ended))
    try:
        outcome = await _wait_for_end(head, job, lost_after_s)
        ended.set()
        if outcome.status in ("succeeded", "failed", "stopped"):
            await asyncio.wait([log], timeout=_DRAIN_S)
    finally:
        log.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await log
    return outcome


async def _stream_log(head: Head, job: str, write: Write, ended: asyncio.Event) -> None:
    written = 0
    while True:
        with contextlib.suppress(UnreachableError):
            passed = 0
            async for text in head.tail(job):  # each connection starts at the beginning
                new = text[max(0, written - passed) :]
                passed += len(text)
                if new:
                    write(new)
                    written += len(new)
            if ended.is_set():
                return
        await asyncio.sleep(_POLL_S)


async def _wait_for_end(head: Head, job: str, lost_after_s: float) -> JobOutcome:
    answered = time.monotonic()
    while True:
        try:
            details = await asyncio.to_thread(head.read_details, job)
        except UnknownJobError:
            return JobOutcome("gone")
        except UnreachableError as error:
            silent_s = time.monotonic() - answered
            if silent_s > lost_after_s:
                said = f"{head.address} has not answered for {silent_s:.0f} s ({error})"
                return JobOutcome("unreachable", message=said)
        else:
            answered = time.monotonic()
            if details.status.is_terminal():
                return _read_outcome(details)
        await asyncio.sleep(_POLL_S)


def _read_outcome(details: JobDetails) -> JobOutcome:
    message = (details.message or "").strip()
    code = details.driver_exit_code
    match str(details.status):
        case "SUCCEEDED":
            return JobOutcome("succeeded", code)
        case "STOPPED":
            return JobOutcome("stopped", code, message)
        case _:
            return JobOutcome("failed", code, message)
