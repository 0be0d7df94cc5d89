"""Follow a job to its end: its log as it grows, over connections that may break."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from osteo_ray.pipeline.submit.outcome import Outcome

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

    from osteo_ray.pipeline.submit.head import Head

_POLL_S = 2.0  # between questions for the state of the job, and before connecting again
_DRAIN_S = 20.0  # for the rest of the log, once the job has ended


async def follow(
    head: "Head", job: str, write: Callable[[str], object], lost_after_s: float
) -> Outcome:
    """Pass on the log of a job until it ends or is lost.

    The log and the state come over connections of their own, because a log that ends does not tell
    that its job has: Ray's client takes a lost head for the end of the log.

    Args:
        head: Of the cluster.
        job: Id of the job.
        write: Takes text of the log; each part of it once.
        lost_after_s: For how long the head may be silent.
    """
    ended = asyncio.Event()
    log = asyncio.create_task(_stream(head, job, write, ended))
    try:
        outcome = await _watch(head, job, lost_after_s)
        ended.set()
        if outcome.status in ("succeeded", "failed", "stopped"):
            await asyncio.wait([log], timeout=_DRAIN_S)
    finally:
        log.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await log
    return outcome


async def _stream(
    head: "Head", job: str, write: Callable[[str], object], ended: asyncio.Event
) -> None:
    from osteo_ray.pipeline.submit.head import UnreachableError

    written = 0
    while True:
        with contextlib.suppress(UnreachableError):
            passed = 0
            async for text in head.tail(job):  # from the beginning, on each connection
                new = text[max(0, written - passed) :]
                passed += len(text)
                if new:
                    write(new)
                    written += len(new)
            if ended.is_set():
                return
        await asyncio.sleep(_POLL_S)


async def _watch(head: "Head", job: str, lost_after_s: float) -> Outcome:
    from osteo_ray.pipeline.submit.head import UnknownJobError, UnreachableError

    answered = time.monotonic()
    while True:
        try:
            details = await asyncio.to_thread(head.read_details, job)
        except UnknownJobError:
            return Outcome("gone")
        except UnreachableError as error:
            silent_s = time.monotonic() - answered
            if silent_s > lost_after_s:
                said = f"{head.address} has not answered for {silent_s:.0f} s ({error})"
                return Outcome("unreachable", message=said)
        else:
            answered = time.monotonic()
            if details.status.is_terminal():
                return _read_outcome(details)
        await asyncio.sleep(_POLL_S)


def _read_outcome(details: "JobDetails") -> Outcome:
    message = (details.message or "").strip()
    code = details.driver_exit_code
    match str(details.status):
        case "SUCCEEDED":
            return Outcome("succeeded", code)
        case "STOPPED":
            return Outcome("stopped", code, message)
        case _:
            return Outcome("failed", code, message)
