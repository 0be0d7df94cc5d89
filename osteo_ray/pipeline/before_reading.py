"""What can be checked before any image is read, or Ray is started: within a few seconds.

Reading may take hours, and is thrown away if a command is refused afterwards.
"""

import os
import shutil
from pathlib import Path

from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import locate
from osteo_ray.cluster.connection import check_machine, is_cluster_given
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.setup import SetupConfig
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.listing import Source
from osteo_ray.experiment.simulated_run import Scheme
from osteo_ray.models.hub import check_hubs, find_stored
from osteo_ray.models.offered import check_names
from osteo_ray.models.weights_format import tell_format
from osteo_ray.pipeline.compare.costing import count_listed, count_planned

_GIB = 2**30
_COMPRESSED = 0.3
"""Share of their size that pixels and masks take at least once they are stored."""


def check_setup(config: SetupConfig, *, trains: bool = True, here: bool = True) -> None:
    """Refuse models, weights files and resources that cannot be used.

    On a cluster that the user names, workers may have other resources than this machine; there,
    they are checked when it is connected.

    Args:
        config: What is planned.
        trains: Whether models are needed at all.
        here: Whether it is to be carried out here and now.

    Raises:
        InputError: One of them cannot be used.
    """
    if trains:
        check_names(config.models)
        for name, file in config.first_weights.items():
            if file not in (None, "none"):
                _check_file(name, str(file))
    if here and not is_cluster_given():
        check_machine(config.resources)


def check_weights_hubs(config: SetupConfig) -> None:
    """Refuse hubs that keep silent, if weights are to come from there.

    Workers of a cluster that the user names may reach other hubs than this machine does; there,
    a worker asks them.

    Raises:
        InputError: A hub does not answer, and the weights are not stored here.
    """
    if not is_cluster_given():
        check_hubs(name for name, file in config.first_weights.items() if file is None)


def _check_file(name: str, file: str) -> None:
    place = locate(file)
    try:
        if isinstance(place, Path):
            tell_format(place, file)
        elif not place.is_file():
            raise InputError(
                f"Expected a weights file of `{name}`, but {file} does not exist. Check its "
                "spelling."
            )
    except OSError as error:
        raise InputError(
            f"Expected a weights file, but {file}: {error.strerror}. Check its spelling."
        ) from None


def check_disk(config: CompareConfig, run: Run, source: Source | PhantomSettings) -> None:
    """Refuse a folder with too little room for what a new run will certainly hold.

    Counted are images, masks and classifiers; the latter as far as the size of the weights is
    known: of files that the user gives, and of those that a hub's client has stored here.

    Raises:
        InputError: There is too little room.
    """
    free = measure_room(run)
    if free is None or run.config.exists():
        return
    needed = estimate_bytes(config, source)
    if free < needed:
        raise InputError(
            f"Expected at least {needed / _GIB:.1f} GiB of room for the run, but {run.root} has "
            f"{free / _GIB:.1f} GiB left. Make room, choose another --out, or plan fewer --seeds, "
            "--arms or --models."
        )


def measure_room(run: Run) -> int | None:
    """Return the free bytes of the disk on which a run is or will be; None in object storage."""
    if not isinstance(run.root, Path):
        return None
    place = next(place for place in (run.root, *run.root.parents) if place.is_dir())
    return shutil.disk_usage(place).free


def estimate_bytes(config: CompareConfig, source: Source | PhantomSettings) -> float:
    """Estimate how many bytes a run takes at least."""
    scheme = Scheme(len(config.seed_numbers), count_listed(config, source))
    work = count_planned(config, scheme, config.arms, source.n_classes)
    n_px = config.image_size.area_px
    masks = work.n_models * work.n_explanations * n_px / 8
    classifiers = sum(work.n_trainings * size_weights(config, name) for name in config.models)
    return _COMPRESSED * (source.n_images * n_px * config.bits / 8 + masks) + classifiers


def size_weights(config: SetupConfig, name: str) -> int:
    """Return the bytes of a network's weights, as far as they are known; else 0."""
    file = config.weights_of(name)
    stored = find_stored(name) if file is None else None if file == "none" else locate(file)
    return os.stat(stored).st_size if isinstance(stored, Path) and stored.is_file() else 0
