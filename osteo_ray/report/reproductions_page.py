"""The page of a ledger (stub until next step)."""

from collections.abc import Sequence
from pathlib import Path

from osteo_ray.reproduce.ledger import Entry


def write_page(ledger: Path, history: Sequence[Entry]) -> Path:
    return ledger
