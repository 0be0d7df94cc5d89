"""Run the same comparison under a clean protocol and under the paper's."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Literal

from osteo_ray.base.progress import JobProgress
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, reach
from osteo_ray.base.tables import write_json
from osteo_ray.config.variants import ProtocolsConfig
from osteo_ray.experiment.protocol_gains import ProtocolGain, join_gains
from osteo_ray.pipeline.compare.prepare import locate_run
from osteo_ray.pipeline.compare.stages import Outcome, compare

PROTOCOLS: tuple[Literal["clean", "paper"], ...] = ("clean", "paper")


def compare_protocols(
    config: ProtocolsConfig,
    progress: JobProgress,
    *,
    write_report: Callable[[Run], object] | None = None,
) -> tuple[Place, list[ProtocolGain], list[Outcome]]:
    """Run the comparison under both protocols, each in a run of its own, and subtract the gains.

    Args:
        config: Configuration of both comparisons.
        progress: Where to show progress.
        write_report: Writes the page of a run; see `compare`.

    Returns:
        The directory of both runs, the gains, and both comparisons.

    Raises:
        InputError: The input cannot be used; nothing was written.
        IncompleteError: Nothing can be concluded.
    """
    root = locate_protocols(config)
    both = {name: config.to_compare(name, str(root / name)) for name in PROTOCOLS}
    for one in both.values():
        locate_run(one)  # refuses the second one before the first one takes hours
    outcomes = []
    for protocol, one in both.items():
        progress.say(f"protocol: {protocol}")
        outcomes.append(compare(one, progress, write_report=write_report))
    gains = join_gains([outcome.comparison for outcome in outcomes])
    write_json(root / "protocols.json", [asdict(gain) for gain in gains])
    return root, gains, outcomes


def locate_protocols(config: ProtocolsConfig) -> Place:
    """Return the directory that holds both runs."""
    if config.out is not None:
        return reach(config.out)
    run = locate_run(config.to_compare("clean", "").model_copy(update={"out": None}))
    return run.root.with_name(f"{run.root.name}-protocols")
