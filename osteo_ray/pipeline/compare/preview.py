"""What a comparison would do: everything that is known before an image is read."""

from dataclasses import dataclass

from osteo_ray.base.runs import Run
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.phantoms.sets import CLASSES
from osteo_ray.data.pixels import Bits
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.experiment.costs import Parts, Work
from osteo_ray.experiment.simulated_run import Scheme
from osteo_ray.pipeline.before_reading import estimate_bytes, measure_room
from osteo_ray.pipeline.compare.cohort import describe_reading
from osteo_ray.pipeline.compare.costing import count_listed, count_planned
from osteo_ray.pipeline.compare.given_regions import check_given
from osteo_ray.pipeline.compare.listed import list_comparison


@dataclass(frozen=True)
class Preview:
    """What a comparison would do.

    Attributes:
        run: The run directory.
        exists: Whether it has been begun, so that it would be resumed.
        classes: Number of listed images of each class.
        parts: Images per seed, if all listed ones are used.
        image_size: Height and width that images are resized to.
        bits: Of their gray values.
        seeds: Number of seeds.
        arms: Names of the arms.
        models: Names of the models.
        work: What is to be computed, if nothing is there yet.
        needed_bytes: Room that the run takes at least.
        free_bytes: Room that there is; None in object storage.
        plan_hash: Hash of the plan.
        reading: How the images are read, and what only the user can decide of them, in words.
    """

    run: Run
    exists: bool
    classes: dict[str, int]
    parts: Parts
    image_size: ImageSize
    bits: Bits
    seeds: int
    arms: tuple[str, ...]
    models: tuple[str, ...]
    work: Work
    needed_bytes: float
    free_bytes: int | None
    plan_hash: str
    reading: tuple[str, ...]


def preview(config: CompareConfig) -> Preview:
    """Check what can be checked without pixels, and say what a comparison would do.

    Nothing is read but names, nothing is written, and Ray is not started.

    Raises:
        InputError: The input cannot be used.
    """
    listed = list_comparison(config)
    run, config, source = listed.run, listed.config, listed.source
    check_given(config, source)
    if isinstance(source, PhantomSettings):
        n_positive = round(source.positive_share * source.n_images)
        healthy, ill = sorted(CLASSES)
        classes = {healthy: source.n_images - n_positive, ill: n_positive}
    else:
        classes = {str(name): int(n) for name, n in source.items["label"].value_counts().items()}
    parts = count_listed(config, source)
    scheme = Scheme(len(config.seed_numbers), parts)
    return Preview(
        run=run,
        exists=run.config.exists(),
        classes=dict(sorted(classes.items())),
        parts=parts,
        image_size=config.image_size,
        bits=config.bits,
        seeds=scheme.n_seeds,
        arms=config.arms,
        models=config.models,
        work=count_planned(config, scheme, config.arms, len(classes)),
        needed_bytes=estimate_bytes(config, source),
        free_bytes=measure_room(run),
        plan_hash=config.plan_hash(),
        reading=tuple(describe_reading(source, listed.cohort)),
    )
