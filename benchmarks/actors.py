"""How explaining speeds up with the number of actors."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from benchmarks.devices import Device, check_device, share_gpus
from benchmarks.ingest import repeat_files
from benchmarks.overhead import quiet
from osteo_ray.base.events import read_events
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import MASKS, read_json, read_parts
from osteo_ray.cluster.connection import connect
from osteo_ray.cluster.settings import SlotSettings
from osteo_ray.config.explain import ExplainConfig
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.pipeline.explain.explain_set import explain_set


@dataclass(frozen=True)
class Speed:
    """How fast some actors explained a set.

    Attributes:
        n_actors: Number of actors, of one thread each.
        stage_s: Time from the start of the first actor to the last mask, in seconds.
        busy_s: Time that actors spent explaining, summed over all of them, in seconds.
        images_per_s: Rate while all of them were explaining.
    """

    n_actors: int
    stage_s: float
    busy_s: float
    images_per_s: float


def bench_actors(
    data: Path,
    checkpoint: Path,
    counts: Sequence[int],
    *,
    n_images: int,
    settings: LimeSettings,
    device: Device = "cpu",
) -> Iterator[Speed]:
    """Explain the same images on clusters with these numbers of logical CPUs, one actor on each.

    Args:
        data: Class folders; files are linked to again until there are `n_images`.
        checkpoint: File of the classifier.
        counts: Numbers of actors.
        n_images: Number of images to explain.
        settings: Settings of LIME.
        device: Where actors compute; they share a GPU.

    Raises:
        RuntimeError: The masks depend on the number of actors.
    """
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        repeat_files(data, root / "images", n_images)
        reference: pa.Table | None = None
        for number, n_actors in enumerate(counts):
            config = ExplainConfig(
                data=str(root / "images"),
                checkpoint=str(checkpoint),
                lime=settings,
                out=str(root / f"explanations-{number}"),
                resources=SlotSettings(gpus_per_worker=share_gpus(device, n_actors)),
            )
            with connect(cpus=n_actors):
                check_device(device)
                run, _ = explain_set(config, quiet())
            masks = read_parts(run.masks, MASKS).sort_by(
                [("image_id", "ascending"), ("kind", "ascending")]
            )
            reference = masks if reference is None else reference
            if not masks.equals(reference):
                raise RuntimeError(f"{n_actors} actors made other masks than {counts[0]}.")
            yield _time(run, n_actors)


def _time(run: Run, n_actors: int) -> Speed:
    ((*lines,),) = read_events(run.logs)
    explained = [line for line in lines if line["event"] == "images explained"]
    busy_s = sum(line["seconds"] for line in explained)
    return Speed(
        n_actors,
        stage_s=read_json(run.environment)["durations_s"]["explain"],
        busy_s=busy_s,
        images_per_s=n_actors * sum(line["images"] for line in explained) / busy_s,
    )
