"""The working directory of a reproduction: a new one for each, which a later try can resume."""

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from osteo_ray.base.damage import DamagedError
from osteo_ray.base.forms import Form, read_record
from osteo_ray.base.storage import Place, remove_tree
from osteo_ray.base.tables import write_json

_RECORD = "reproduction.json"
_FORM: Form = {"id": str, "begun": int, "finished": bool}


@dataclass(frozen=True)
class Workspace:
    """Where one reproduction works.

    Attributes:
        root: The directory.
        id: Id of the reproduction in the ledger.
        begun: When it began, in seconds since the epoch.
        is_new: Whether the directory is new, rather than left by an earlier try.
    """

    root: Place
    id: str
    begun: int
    is_new: bool

    def finish(self, *, keep: bool) -> None:
        """Mark the directory as finished, so that nothing resumes it; or remove it."""
        if keep:
            write_json(self.root / _RECORD, {**_describe(self), "finished": True})
        else:
            remove_tree(self.root)


def open_workspace(parent: Place, key: str) -> Workspace:
    """Open the directory of a reproduction that was interrupted, or of a new one.

    Args:
        parent: Working directory of all reproductions of a run.
        key: Hash of what is rerun and in which environment. Only a reproduction with the same hash
            is resumed.
    """
    number = 1
    while True:
        root = parent / f"{number}-{key}"
        record = root / _RECORD
        if not record.exists():
            workspace = Workspace(root, secrets.token_hex(6), int(time.time()), is_new=True)
            write_json(record, {**_describe(workspace), "finished": False})
            return workspace
        with suppress(DamagedError):  # one that cannot be read is left as it is
            found = read_record(record, _FORM)
            if not found["finished"]:
                return Workspace(root, found["id"], found["begun"], is_new=False)
        number += 1


def _describe(workspace: Workspace) -> dict[str, Any]:
    return {"id": workspace.id, "begun": workspace.begun}
