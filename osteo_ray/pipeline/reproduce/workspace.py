"""The working directory of a reproduction: fresh for each, but taken up again after a stop."""

import secrets
import time
from dataclasses import dataclass
from typing import Any

from osteo_ray.base.storage import Place, remove_tree
from osteo_ray.base.tables import read_json, write_json

_RECORD = "reproduction.json"


@dataclass(frozen=True)
class Workspace:
    """Where one reproduction works.

    Attributes:
        root: The directory.
        id: Of the reproduction, for the ledger.
        begun: When, seconds since the epoch.
        is_new: Whether nothing of it was there.
    """

    root: Place
    id: str
    begun: int
    is_new: bool

    def finish(self, *, keep: bool) -> None:
        """Note that it is in the ledger, so that nobody takes it up; or remove it."""
        if keep:
            write_json(self.root / _RECORD, {**_describe(self), "finished": True})
        else:
            remove_tree(self.root)


def open_workspace(parent: Place, key: str) -> Workspace:
    """Open the directory of a reproduction that was stopped, or of a new one.

    Args:
        parent: Where reproductions of one run work.
        key: Hash of all that makes two reproductions the same: what is rerun, and in which
            environment. What was computed in another is not taken up.
    """
    number = 1
    while True:
        root = parent / f"{number}-{key}"
        record = root / _RECORD
        if not record.exists():
            workspace = Workspace(root, secrets.token_hex(6), int(time.time()), is_new=True)
            write_json(record, {**_describe(workspace), "finished": False})
            return workspace
        found = read_json(record)
        if not found["finished"]:
            return Workspace(root, found["id"], found["begun"], is_new=False)
        number += 1


def _describe(workspace: Workspace) -> dict[str, Any]:
    return {"id": workspace.id, "begun": workspace.begun}
