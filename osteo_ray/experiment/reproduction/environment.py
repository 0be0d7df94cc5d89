"""What differs between two environments, and whether both can be expected to give equal bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_IGNORED = frozenset({"memory_gib"})  # what was free when Ray started
BYSTANDERS = frozenset({"ray", "lime", "platform", "nodes", "cpus", "gpus"})
"""Properties of an environment that numbers do not depend on: how large it is, and what distributes
the work. (`lime` is the reference of the engine in benchmarks; it makes no masks.)"""
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
    """A property that is not known to be the same in two environments.

    Attributes:
        name: Name of a package, or of a property of the hardware.
        before: Its value in the stored run; None if the record does not say.
        after: Its value now; None if it could not be determined.
    """

    name: str
    before: str | None
    after: str | None

    @property
    def is_known(self) -> bool:
        """Whether both values are known, and therefore differ."""
        return self.before is not None and self.after is not None

    @property
    def matters(self) -> bool:
        """Whether results may depend on it."""
        return self.name not in BYSTANDERS

    def __str__(self) -> str:
        label = _LABELS.get(self.name, self.name.replace("_", " "))
        return f"{label} {_tell(self.before)} → {_tell(self.after)}"


def _tell(value: str | None) -> str:
    return "unknown" if value is None else value or "none"


def flatten_environment(environment: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the versions and the hardware in the record of a run as text, by name."""
    flat: dict[str, str | None] = {}
    for part in ("versions", "hardware"):
        for name, value in (environment.get(part) or {}).items():
            if name not in _IGNORED:
                flat[str(name)] = None if value is None else str(value)
    return flat


def compare_environments(
    stored: Mapping[str, Any], present: Mapping[str, Any]
) -> tuple[Change, ...]:
    """List what differs between two records of environments, or is missing from one of them.

    Args:
        stored: What environment.json of a run holds; older versions recorded less.
        present: What `describe_environment` returns.

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
    """Tell whether two environments are known to agree in everything that results depend on."""
    return not any(change.matters for change in changes)
