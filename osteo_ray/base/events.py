"""What the jobs of a run did, and when: structured log lines, one JSON object each.

Every job has a file of its own. A line holds `event`, `time` (the clock of the driver's machine,
for people), `elapsed_s` (since the job began, by a clock that nobody sets: what intervals are made
of), and whatever the event is about: `trial`, `stage`, `worker`, `seconds`, `reason`.
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

_INTERVAL_S = 10.0
_NAME = re.compile(r"events-.*\.jsonl")


@dataclass(frozen=True)
class Explained:
    """Some images that one worker explained with one classifier.

    Attributes:
        explainable: Which classifier, in words.
        n_images: How many.
        n_errors: Of these could not be explained.
        n_samples: Perturbed images that were classified.
        seconds: It took.
        worker: Which worker, as node and process.
    """

    explainable: str
    n_images: int
    n_errors: int
    n_samples: int
    seconds: float = 0.0
    worker: str = ""


class EventLog:
    """The lines of one job.

    The file is written anew as a whole, at most every ten seconds, as not all storage can append:
    a job that is killed loses the lines since.

    Args:
        folder: Of the logs of all jobs of the run.
    """

    def __init__(self, folder: Place) -> None:
        started = datetime.now().strftime("%Y%m%dT%H%M%S")
        self.path = folder / f"events-{started}-{secrets.token_hex(3)}.jsonl"
        self._lines: list[str] = []
        self._began = self._written = time.monotonic()

    def write(self, event: str, **facts: Any) -> None:
        """Add a line; facts are what JSON can hold, and those that are None are left out."""
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
        """Write the lines there are, if storage allows: a log must not hold up the work."""
        self._written = time.monotonic()
        with suppress(OSError), write_whole(self.path) as unfinished:
            unfinished.write_text("".join(f"{line}\n" for line in self._lines), encoding="utf-8")


def read_events(folder: Place) -> list[list[dict[str, Any]]]:
    """Read the lines of every job, the first job first; a line that is none is passed over."""
    jobs = []
    files: list[Place] = list(folder.iterdir()) if folder.is_dir() else []
    logs = [path for path in files if _NAME.fullmatch(path.name)]
    for path in sorted(logs, key=lambda path: path.name):
        lines = []
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("elapsed_s"), int | float):
                lines.append(line)
        jobs.append(lines)
    return jobs
