"""Find every place in the package that asks something of Ray, and let each of them fail once.

The functions of Ray that a driver calls are wrapped. A place is a line of the package, so that no
list of places is written by hand.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import ray
import ray.data
import ray.exceptions
import ray.tune
from ray.actor import ActorClass, ActorMethod
from ray.remote_function import RemoteFunction

import osteo_ray

_PACKAGE = str(Path(osteo_ray.__file__).parent)
_BETWEEN = (
    *("ray.remote_function", "ray.actor", "ray.util.tracing.tracing_helper"),
    *("ray._private.auto_init_hook", "ray._private.client_mode_hook"),
)
"""Modules of Ray through which a call of the package goes to what is wrapped."""
_CALLS: tuple[tuple[Any, str], ...] = (
    *((ray, name) for name in ("get", "wait", "put", "nodes", "cluster_resources")),
    *((ray, name) for name in ("available_resources", "kill")),
    (RemoteFunction, "_remote"),
    (ActorClass, "_remote"),
    (ActorMethod, "_remote"),
    *((ray.data, name) for name in ("from_items", "from_arrow")),
    *((ray.data.Dataset, name) for name in ("iter_batches", "iter_rows", "materialize")),
    (ray.tune.Tuner, "fit"),
)


def pass_on(error: Exception) -> Exception:
    """Return an error as Tune passes on what it did not expect of an actor."""
    unexpected = RuntimeError(f"Caught unexpected exception: {error}")
    unexpected.__cause__ = error
    return unexpected


ERRORS: tuple[Callable[[], Exception], ...] = (
    lambda: ConnectionError("The head does not answer."),
    lambda: ray.exceptions.RaySystemError("System error: Broken pipe"),
    ray.exceptions.WorkerCrashedError,
    lambda: ray.exceptions.NodeDiedError("The node has left."),
    lambda: ray.exceptions.ObjectLostError("ab" * 14, None, ""),
    lambda: ray.exceptions.OutOfMemoryError("Memory on the node was low."),
    lambda: pass_on(ray.exceptions.OutOfMemoryError("Memory on the node was low.")),
    lambda: ray.exceptions.GetTimeoutError("Get timed out."),
    lambda: ray.exceptions.RpcError("Deadline Exceeded"),
)


class Call(NamedTuple):
    """A line of the package that calls a function of Ray."""

    file: str
    line: int
    name: str


@dataclass
class ClusterFaults:
    """What is watched, and what is to fail.

    Attributes:
        seen: The calls so far, in the order in which they first came.
        target: The call that fails, once; None to watch only.
        make_error: How it fails.
        struck: Whether it has.
    """

    seen: dict[Call, None] = field(default_factory=dict)
    target: Call | None = None
    make_error: Callable[[], Exception] = ERRORS[0]
    struck: bool = False

    def hear(self, name: str) -> None:
        """Note a call, or let it fail."""
        call = _find_call(name)
        if call is None:
            return
        self.seen.setdefault(call)
        if call == self.target and not self.struck:
            self.struck = True
            raise self.make_error()


def _find_call(name: str) -> Call | None:
    """Return the line that makes a call, if it is in the package and not in a library."""
    frame = sys._getframe(3)
    while frame is not None and frame.f_globals.get("__name__") in _BETWEEN:
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None or not frame.f_code.co_filename.startswith(_PACKAGE):
        return None
    return Call(frame.f_code.co_filename.removeprefix(_PACKAGE), frame.f_lineno, name)


@contextmanager
def watching_ray(faults: ClusterFaults) -> Iterator[None]:
    """Hear of all calls of this process in the block."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in _CALLS:
            patch.setattr(owner, name, _wrap(faults, name, getattr(owner, name)))
        yield


def _wrap(faults: ClusterFaults, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        faults.hear(name)
        return call(*arguments, **named)

    return wrapped
