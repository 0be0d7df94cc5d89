"""What has changed between two environments, and whether equal bits can be expected in both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_IGNORED = frozenset({"memory_gib"})  # what was free when Ray started
BYSTANDERS = frozenset({"ray", "lime", "platform", "nodes", "cpus", "gpus"})
"""What an environment tells beside what numbers depend on: how much there is, and what moves
work about. (`lime` is what the engine is held to in benchmarks; it makes no masks.)"""
_LABELS = {
    "cpu": "CPU",
    "isa": "vector instructions",
    "gpu": "GPU",
    "gpu_driver": "GPU driver",
    "libc": "C library",
    "settings": "library settings",
    "osteo-ray code": "osteo_ray's code",
}


@dataclass(frozen=True)
class Change:
    """Something that is not known to be the same in two environments.

    Attributes:
        name: Of a package, or of a property of the hardware.
        before: In the stored run; None where its record does not say.
        after: Now; None where it could not be found out.
    """

    name: str
    before: str | None
    after: str | None

    @property
    def is_known(self) -> bool:
        """Whether both are known, and so differ."""
        return self.before is not None and self.after is not None

    @property
    def matters(self) -> bool:
        """Whether numbers may depend on it."""
        return self.name not in BYSTANDERS

    def __str__(self) -> str:
        label = _LABELS.get(self.name, self.name.replace("_", " "))
        return f"{label} {_tell(self.before)} → {_tell(self.after)}"


def _tell(value: str | None) -> str:
    return "unknown" if value is None else value or "none"


def flatten_environment(environment: Mapping[str, Any]) -> dict[str, str | None]:
    """Return versions and hardware of the record of a run, as text under one name each."""
    flat: dict[str, str | None] = {}
    for part in ("versions", "hardware"):
        for name, value in (environment.get(part) or {}).items():
            if name not in _IGNORED:
                flat[str(name)] = None if value is None else str(value)
    return flat


def compare_environments(
    stored: Mapping[str, Any], present: Mapping[str, Any]
) -> tuple[Change, ...]:
    """List what differs between two records of environments, or is not known of one.

    Args:
        stored: What environment.json of a run holds; older versions say less.
        present: What `cluster.describe_environment` returns.

    Example:
        >>> changes = compare_environments(
        ...     {"versions": {"torch": "2.11.0"}}, {"versions": {"torch": "2.12.0", "timm": "1"}}
        ... )
        >>> [str(change) for change in changes]
        ['torch 2.11.0 → 2.12.0', 'timm unknown → 1']
    """
    before, after = flatten_environment(stored), flatten_environment(present)
    names = [*before, *(name for name in after if name not in before)]
    changes = (Change(name, before.get(name), after.get(name)) for name in names)
    return tuple(
        change for change in changes if change.before != change.after or change.before is None
    )


def expects_equal_bits(changes: Sequence[Change]) -> bool:
    """Tell whether two environments are known to be the same in all that numbers depend on."""
    return not any(change.matters for change in changes)
