"""Logs of what was done for a run, and when: one JSON object per line.

Each command that works on a run writes a file of its own, called a job in the log. A line contains
`event`, `time` (by the clock of the driver's machine, for people), `elapsed_s` (since the command
began, by a monotonic clock, from which intervals are computed), and what the event is about:
`trial`, `stage`, `worker`, `seconds`, `reason`.
"""

import json
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from osteo_ray.base.storage import Place, write_whole

TRAINED = "training done"
"""The event of a training that has ended, and did not fail."""

_INTERVAL_S = 10.0
_NAME = re.compile(r"events-.*\.jsonl")


@dataclass(frozen=True)
class Explained:
    """Images that one worker has explained with one classifier.

    Attributes:
        explainable: Name of the classifier.
        n_images: Number of images.
        n_errors: How many of these could not be explained.
        n_samples: Number of perturbed images that were classified.
        seconds: How long it took.
        worker: The worker, as the address of its node and its process id.
    """

    explainable: str
    n_images: int
    n_errors: int
    n_samples: int
    seconds: float = 0.0
    worker: str = ""


class EventLog:
    """The log of one command.

    Not every storage can append to a file, so the whole file is rewritten at most every ten
    seconds. A command that is killed loses the lines of the last seconds.

    Args:
        folder: Folder for the logs of all commands that work on the run.
    """

    def __init__(self, folder: Place) -> None:
        started = datetime.now().strftime("%Y%m%dT%H%M%S")
        self.path = folder / f"events-{started}-{secrets.token_hex(3)}.jsonl"
        self._lines: list[str] = []
        self._began = self._written = time.monotonic()

    def write(self, event: str, **facts: Any) -> None:
        """Add a line; facts must be JSON values, and those that are None are left out."""
        now = time.monotonic()
        line = {
            "event": event,
            "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
            "elapsed_s": round(now - self._began, 3),
            **{key: value for key, value in facts.items() if value is not None},
        }
        self._lines.append(json.dumps(line, ensure_ascii=False))
        if now - self._written > _INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Write the file if storage allows; a failing log must not stop the work."""
        self._written = time.monotonic()
        with suppress(OSError), write_whole(self.path) as unfinished:
            unfinished.write_text("".join(f"{line}\n" for line in self._lines), encoding="utf-8")


def read_events(folder: Place) -> list[list[dict[str, Any]]]:
    """Read the logs of all commands, the earliest first.

    Lines that are no events are skipped, and so are logs that cannot be read: what was done is
    known from its results, and a log is never needed to go on.
    """
    jobs = []
    files: list[Place] = list(folder.iterdir()) if folder.is_dir() else []
    logs = [path for path in files if _NAME.fullmatch(path.name)]
    for path in sorted(logs, key=lambda path: path.name):
        lines = []
        try:
            content = path.read_bytes().decode("utf-8", errors="replace")
        except OSError:
            continue
        for text in content.splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("elapsed_s"), int | float):
                lines.append(line)
        jobs.append(lines)
    return jobs
