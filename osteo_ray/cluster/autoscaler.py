"""Ask an autoscaler for nodes, and hear whether there is one and what it says."""

import contextlib
import enum
import json
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled, without hints
from ray.core.generated import autoscaler_pb2
from ray.exceptions import RayError
from ray.util import placement_group, remove_placement_group
from ray.util.placement_group import PlacementGroup

from osteo_ray.cluster.placement import Resources

_TIMEOUT_S = 10
_STATUS_OF_FIRST_VERSION = "__autoscaling_status"  # what `ray status` shows


class Answer(enum.Enum):
    """What is known of nodes that were asked for."""

    SILENT = "no autoscaler has reported to it"
    ABSENT = "it has no autoscaler"
    IMPOSSIBLE = "no autoscaler that may add a node with enough room"
    PRESENT = "an autoscaler runs"
    BUSY = "an autoscaler runs, and has not looked at it yet"
    STARTING = "the autoscaler is starting nodes"


class Demand:
    """Resources that a driver asks for; the cluster forgets it with the driver.

    It is a placement group, which waits for room like any other work. `request_resources` of Ray's
    SDK would outlive a driver that is killed, and keep nodes running that nobody uses; and of two
    drivers, the later one would overwrite what the earlier one asks for.

    Args:
        group: The placement group.
    """

    def __init__(self, group: PlacementGroup) -> None:
        self._group = group
        self._asked_at = 0
        with contextlib.suppress(RayError):
            self._asked_at = _read_state().autoscaler_state_version

    def hear(self) -> Answer:
        """Return what the autoscaler says now."""
        try:
            state = _read_state()
        except RayError:  # the head is too busy to tell
            return Answer.BUSY
        if state.autoscaler_state_version:
            return self._hear_second_version(state)
        status = ray.experimental.internal_kv._internal_kv_get(_STATUS_OF_FIRST_VERSION)
        if not status:
            return Answer.SILENT
        return _hear_first_version(json.loads(status).get("autoscaler_report"))

    def _hear_second_version(self, state: Any) -> Answer:
        # Where nodes are added by hand, a mirror of the cluster reports; it can add none.
        mine = self._group.id.hex()
        if any(one.details.startswith(mine) for one in state.infeasible_gang_resource_requests):
            return Answer.IMPOSSIBLE
        # A report begun before this was asked for does not know of it; the one after it does.
        if state.autoscaler_state_version < self._asked_at + 2:
            return Answer.BUSY
        starting = state.pending_instance_requests or state.pending_instances
        return Answer.STARTING if starting else Answer.PRESENT


def _read_state() -> Any:
    client = GcsClient(address=ray.get_runtime_context().gcs_address)
    reply = autoscaler_pb2.GetClusterStatusReply()  # type: ignore[attr-defined]  # generated
    reply.ParseFromString(client.get_cluster_status(timeout_s=_TIMEOUT_S))
    return reply.autoscaling_state


def _hear_first_version(report: dict[str, Any] | None) -> Answer:
    if not report:
        return Answer.SILENT
    starting = {*report["pending_launches"], *(kind for _, kind, _ in report["pending_nodes"])}
    kinds = {*report["active_nodes"], *starting}
    # Where nodes are added by hand, each is reported as a kind of its own.
    if kinds <= {f"node_{node['NodeID']}" for node in ray.nodes()}:
        return Answer.ABSENT if kinds else Answer.SILENT
    return Answer.STARTING if starting else Answer.PRESENT


@contextlib.contextmanager
def asking_for(bundles: Sequence[Resources]) -> Iterator[Demand]:
    """Ask for resources during the block.

    Args:
        bundles: What is to be had at the same time, each from one node.
    """
    group = placement_group([dict(bundle) for bundle in bundles], strategy="PACK")
    try:
        yield Demand(group)
    finally:
        remove_placement_group(group)  # from here on, the work itself asks for what it needs
