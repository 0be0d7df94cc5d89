"""What a comparison has to compute, and what each arm and preset adds to it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.arms.registry import ARMS, list_presets
from osteo_ray.base.errors import InputError
from osteo_ray.cluster.placement import Layout
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.splits.assignment import SPLIT_NAMES
from osteo_ray.experiment.costs import Parts, Work, count_parts, count_work
from osteo_ray.experiment.simulated_run import Scheme
from osteo_ray.explain.registry import find_explainer
from osteo_ray.pipeline.compare.calibration import calibrate
from osteo_ray.pipeline.compare.sites import count_sites


@dataclass(frozen=True)
class ArmCost:
    """What arms cost.

    Attributes:
        name: Of an arm or a preset.
        n_arms: How many arms it stands for.
        added: For an arm of the plan, the work that the others do without; for a preset, all work.
    """

    name: str
    n_arms: int
    added: Work


def count_listed(config: CompareConfig, source: Source | PhantomSettings) -> Parts:
    """Count the images of each part of the split, as if all listed images were used.

    Args:
        config: The configuration of the comparison.
        source: The images, or the settings of phantoms.

    Raises:
        InputError: The source is to say which images are for training and test, and does not.
    """
    if isinstance(source, PhantomSettings):
        return count_parts(source.n_images, config.split_ratio, config.folds)
    if config.split != "given":
        folds = config.folds or count_sites(config, source)
        return count_parts(source.n_images, config.split_ratio, folds)
    given = source.items["split"].value_counts()
    parts = Parts(*(float(given.get(name, 0)) for name in SPLIT_NAMES))
    if not (parts.train and parts.test):
        raise InputError(
            f"Expected {config.data} to say which images are for training and test, as --split "
            f"given asks, but it names {parts.train:g} and {parts.test:g}."
        )
    return parts


def list_arm_costs(config: CompareConfig, scheme: Scheme, n_classes: int) -> list[ArmCost]:
    """Return what each planned arm beside the baseline adds to the work of all others."""
    whole = count_planned(config, scheme, config.arms, n_classes)
    found = []
    for arm in config.arms:
        others = [other for other in config.arms if other != arm]
        if arm != ORIGINAL:
            added = whole - count_planned(config, scheme, others, n_classes)
            found.append(ArmCost(arm, 1, added))
    return found


def list_preset_costs(config: CompareConfig, scheme: Scheme, n_classes: int) -> list[ArmCost]:
    """Return what a comparison with each preset would take, all else being as planned."""
    clean = config.protocol == "clean"
    presets = {
        preset: [arm for arm in arms if clean or not ARMS[arm].is_clean_only]
        for preset, arms in list_presets().items()
    }
    return [
        ArmCost(preset, len(arms), count_planned(config, scheme, arms, n_classes))
        for preset, arms in presets.items()
    ]


def count_planned(
    config: CompareConfig, scheme: Scheme, arms: Sequence[str], n_classes: int
) -> Work:
    """Count the work of a comparison.

    Args:
        config: Its configuration.
        scheme: How its images are divided.
        arms: Its arms, or others.
        n_classes: Number of classes.
    """

    def count_passes(kind: str) -> int:
        return find_explainer(kind)(config.lime).count_passes(n_classes)

    return count_work(
        n_models=len(config.models),
        n_seeds=scheme.n_seeds,
        arms=arms,
        parts=scheme.parts,
        epochs=config.training.epochs,
        passes_of=count_passes,
        crossfit_folds=config.crossfit_folds,
        protocol=config.protocol,
    )


def check_search_hours(
    config: CompareConfig, source: Source | PhantomSettings, layout: Layout
) -> None:
    """Refuse a search of settings that may take longer than the user allows; measures for seconds.

    As if no candidate were stopped early, and each took as long as the given settings.

    Raises:
        InputError: It may take longer, or a model cannot be built.
    """
    scheme = Scheme(1, count_listed(config, source))
    one = count_planned(config, scheme, config.arms, source.n_classes)
    n_candidates = config.tuning.trials
    work = replace(
        one,
        n_trainings=n_candidates * one.n_trainings,
        training_passes=n_candidates * one.training_passes,
    )
    hours = calibrate(config, layout).estimate_hours(work).total
    if hours > config.tuning.max_hours:
        raise InputError(
            f"Expected a search of at most {config.tuning.max_hours:g} hours (--tuning.max-hours), "
            f"but {n_candidates} candidates for each of {len(config.arms)} arms and "
            f"{len(config.models)} models may take {hours:.2g} hours on this cluster. Try fewer "
            "candidates, arms or epochs, or allow more hours."
        )
