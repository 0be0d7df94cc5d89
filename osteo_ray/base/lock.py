"""One writer per run: a process that works on a directory locks it, and all others stay out.

The lock is a file, `lock.json`. It names its holder and contains a count that the holder increases
every few seconds. A process that finds a lock checks whether the holder is still alive: on the same
machine by looking for its process, elsewhere by watching whether the count grows. It measures the
wait with its own monotonic clock, so clocks of different machines are never compared. If the holder
is gone, the lock is taken over.

In a folder, a new lock is created exclusively. Object storage has no such operation (PyArrow sends
no conditional uploads). There, and when a lock is taken over, a process writes the lock, waits a
moment, and reads it back. Two processes that do so at the same time may both believe that they hold
the lock, if one takes longer to write than the other waits. The one whose token is no longer in the
file notices at its next beat and stops. Until then both write the same artifacts, because artifacts
depend on nothing but the settings.
"""

import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.base.interruption import end_on
from osteo_ray.base.remote import RemotePath
from osteo_ray.base.storage import LOCK, Place


class HeldError(InputError):
    """Another process works on the directory."""


class LockLostError(IncompleteError):
    """Another process has taken the directory over."""


@dataclass(frozen=True)
class Timing:
    """Intervals, in seconds.

    Attributes:
        beat: Between two beats of a holder.
        patience: Time without a beat after which a holder on another machine counts as gone; long
            enough for several beats, because one may be late.
        settle: Wait before a lock that was not created exclusively is read back.
    """

    beat: float = 5.0
    patience: float = 30.0
    settle: float = 2.0


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as the lock file describes it.

    Attributes:
        token: Random text that tells this lock from all others.
        host: Name of the machine.
        machine: Identifies one boot of one machine and one namespace of process ids; empty if
            unknown.
        pid: Process id.
        started: When the process was started, in clock ticks since the boot; empty if unknown.
        since: Date and time at which it took the lock, for people.
        job: Id of its Ray job; empty if it does not run as one.
        beats: How often it has renewed the lock.
    """

    token: str
    host: str
    machine: str
    pid: int
    started: str
    since: str
    job: str
    beats: int = 0

    @classmethod
    def describe_self(cls) -> "Holder":
        """Describe this process."""
        return cls(
            token=secrets.token_hex(8),
            host=socket.gethostname(),
            machine=_identify_machine(),
            pid=os.getpid(),
            started=_find_start(os.getpid()) or "",
            since=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            job=_find_job(),
        )

    @classmethod
    def parse(cls, text: str) -> "Holder | None":
        """Read a lock file; return None if it is not valid, for example half written."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError):
            return None

    def write(self) -> str:
        """Return the content of the lock file."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def __str__(self) -> str:
        job = f", Ray job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host} since {self.since}{job}"


_HELD: set[str] = set()
"""The tokens of the locks that this process holds, or is about to take."""


@contextmanager
def hold(
    root: Place, say: Callable[[str], None] = lambda text: None, timing: Timing = Timing()
) -> Iterator[None]:
    """Hold the lock of a directory while the block runs; create the directory if necessary.

    If another process takes the lock over meanwhile, the block is interrupted.

    Args:
        root: The directory.
        say: Receives a message if the lock is taken over from a process that has ended.
        timing: Intervals of the lock.

    Raises:
        HeldError: Another process works on the directory.
        InputError: The lock cannot be written.
        LockLostError: Another process has taken the lock over.
    """
    mine = Holder.describe_self()
    _HELD.add(mine.token)
    try:
        with _hold(root, mine, say, timing):
            yield
    finally:
        _HELD.discard(mine.token)


@contextmanager
def _hold(root: Place, mine: Holder, say: Callable[[str], None], timing: Timing) -> Iterator[None]:
    path = root / LOCK
    try:
        made = _make_missing(root)
        _acquire(path, mine, say, timing)
    except OSError as error:
        raise InputError(
            f"Expected --out where files can be written, but {path}: "
            f"{error.strerror or type(error).__name__}. Choose another --out, or make it writable."
        ) from None
    heart = _Heart(path, mine, timing.beat)
    try:
        with end_on(signal.SIGURG, lambda: _tell_lost(root, heart.found)) as end:
            heart.start_with(end)
            try:
                yield
            finally:
                heart.stop()
    finally:
        if heart.found is None:
            _release(path, mine, made)
    if heart.found is not None:  # at the very end, or in another thread than the main one
        raise _tell_lost(root, heart.found)


def _tell_lost(root: Place, holder: Holder | None) -> LockLostError:
    return LockLostError(
        f"{root} was taken over by {holder}, because this process gave no sign of life for too "
        "long (was the machine asleep, or the storage unreachable?). This process has stopped; "
        "what it finished is kept."
    )


def _release(path: Place, mine: Holder, made: list[Path]) -> None:
    with suppress(OSError):  # a lock that stays behind is taken over by the next process
        if _is_held(path, mine):
            path.unlink(missing_ok=True)
    for folder in made:
        with suppress(OSError):  # not empty
            folder.rmdir()


def _acquire(path: Place, mine: Holder, say: Callable[[str], None], timing: Timing) -> None:
    while True:
        text = _read(path)
        if text is None:
            if _create(path, mine, timing):
                return
            continue
        holder = Holder.parse(text)
        is_gone = None if holder is None else _is_gone(holder)
        if is_gone is False or (not is_gone and _is_beating(path, text, timing)):
            who = holder or "a process that its lock file does not identify"
            raise HeldError(
                f"Expected an --out that no other process works on, but {path.parent} is held by "
                f"{who}. Wait for that process or stop it, then run the same command again; or "
                f"choose another --out. Delete {path} only if you are sure that the process is "
                "gone."
            )
        if _read(path) != text:
            continue  # another process was faster
        say(f"take over from {holder or 'a process that left an unreadable lock'}, which has ended")
        path.write_text(mine.write())
        if _has_settled(path, mine, timing):
            return


def _create(path: Place, mine: Holder, timing: Timing) -> bool:
    """Write a lock where there is none; return False if another process was faster."""
    if isinstance(path, RemotePath):
        path.write_text(mine.write())
        return _has_settled(path, mine, timing)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(mine.write())
    except FileExistsError:
        return False
    return True


def _has_settled(path: Place, mine: Holder, timing: Timing) -> bool:
    time.sleep(timing.settle)
    return _is_held(path, mine)


def _is_held(path: Place, mine: Holder) -> bool:
    holder = Holder.parse(_read(path) or "")
    return holder is not None and holder.token == mine.token


def _is_beating(path: Place, text: str, timing: Timing) -> bool:
    """Watch a lock: return True as soon as it changes, and False if it does not for long enough.

    A lock that disappears has been released, so then the answer is False as well.
    """
    until = time.monotonic() + timing.patience
    while time.monotonic() < until:
        time.sleep(min(timing.beat / 2, timing.patience / 4))
        found = _read(path)
        if found != text:
            return found is not None
    return False


def _read(path: Place) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return "not a lock"


def _make_missing(root: Place) -> list[Path]:
    """Create a local folder; return the folders that did not exist before, the deepest first."""
    if isinstance(root, RemotePath):
        return []
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    root.mkdir(parents=True, exist_ok=True)
    return missing


class _Heart(threading.Thread):
    """Renews a lock, and ends the work if another process has taken the lock over.

    Attributes:
        found: The process that has taken the lock over; None as long as none has.
    """

    def __init__(self, path: Place, mine: Holder, beat: float) -> None:
        super().__init__(name="osteo-ray-lock", daemon=True)
        self.path, self.mine, self.beat = path, mine, beat
        self.found: Holder | None = None
        self._ended = threading.Event()
        self._end_work: Callable[[], None] = lambda: None

    def start_with(self, end_work: Callable[[], None]) -> None:
        """Begin to beat; call `end_work` if the lock is lost."""
        self._end_work = end_work
        self.start()

    def run(self) -> None:
        while not self._ended.wait(self.beat):
            try:
                holder = Holder.parse(_read(self.path) or "")
                if holder is not None and holder.token != self.mine.token:
                    self.found = holder
                    self._end_work()
                    return
                self.mine = replace(self.mine, beats=self.mine.beats + 1)
                self.path.write_text(self.mine.write())
            except OSError:  # storage is unreachable for a while; afterwards it says who holds it
                continue

    def stop(self) -> None:
        self._ended.set()
        self.join()


# Who holds it, and whether it is alive


def _is_gone(holder: Holder) -> bool | None:
    """Return whether the holder's process has ended; None if this machine cannot tell.

    This very process counts as gone if it holds the lock no longer: its file could not be removed.
    """
    if not holder.machine or holder.machine != _identify_machine():
        return None
    if _find_start(holder.pid) != holder.started:
        return True
    return holder.pid == os.getpid() and holder.token not in _HELD


def _identify_machine() -> str:
    """Identify this boot of this machine and its process-id namespace; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _find_start(pid: int) -> str | None:
    """Return when a process was started, in clock ticks since the boot; None if it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = status.rpartition(")")[2].split()  # the name before may hold anything
    return None if fields[0] in "ZX" else fields[19]


def _find_job() -> str:
    """Return the id of the Ray job whose driver this process is, or an empty string."""
    try:
        config = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
        return str(config["metadata"]["job_submission_id"])
    except (KeyError, TypeError, ValueError):
        return ""
