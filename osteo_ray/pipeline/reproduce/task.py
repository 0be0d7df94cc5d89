"""What a reproduction is asked to do; checked before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osteo_ray.base.errors import InputError
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.paths import PHANTOM
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, find_obstacle, reach
from osteo_ray.base.trust import require_consent
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.config.build import build
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.reproduce import ReproduceConfig
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.listing import Source
from osteo_ray.experiment.first_weights import read_code
from osteo_ray.experiment.reproduction.environment import flatten_environment
from osteo_ray.experiment.reproduction.ledger import read_ledger
from osteo_ray.experiment.reproduction.trial_sample import draw_sample
from osteo_ray.experiment.trials import Trial
from osteo_ray.pipeline.reproduce.stored import StoredRun, open_stored


@dataclass(frozen=True)
class Images:
    """Where the images of a rerun come from.

    Attributes:
        source: The images to read again, or the settings of phantoms to draw again; None to use the
            pixels that the run keeps.
        note: Why nothing is read, if the user should know.
    """

    source: Source | PhantomSettings | None = None
    note: str | None = None


@dataclass(frozen=True)
class Task:
    """What a reproduction is asked to do.

    Attributes:
        stored: The run.
        settings: How to reproduce it.
        config: The configuration of the rerun: that of the run, except for the workers.
        only: The trials to rerun; None for all.
        images: Where the images come from.
        ledger: The ledger to add a row to.
        codes: The text of the Python file of each network that has one.
    """

    stored: StoredRun
    settings: ReproduceConfig
    config: CompareConfig
    only: Sequence[Trial] | None
    images: Images
    ledger: Place
    codes: Mapping[str, str]

    @property
    def planned(self) -> Sequence[Trial]:
        """Return the trials to rerun."""
        return self.stored.trials if self.only is None else self.only

    @property
    def work(self) -> Place:
        """Return the working directory of all reproductions of the run."""
        root = self.stored.run.root
        out = self.settings.out
        return reach(out) if out else root.with_name(f"{root.name}-reproductions")

    def make_key(self, environment: dict[str, Any]) -> str:
        """Return a hash that is equal for two reproductions if one can resume the other.

        Args:
            environment: The present environment, as `describe_environment` returns it.
        """
        same = {
            "run": str(self.stored.run.root),
            "plan": self.stored.config.plan_hash(),
            "created": self.stored.environment.get("created"),
            "trials": "all" if self.only is None else [str(trial) for trial in self.only],
            "images": self.settings.images,
            "environment": flatten_environment(environment),
        }
        return hash_settings(same)


def plan_task(settings: ReproduceConfig) -> Task:
    """Open the run and the ledger, draw the sample, and look for the source of the images.

    Raises:
        InputError: The run, the sample, the ledger or the source cannot be used, or the run brings
            code along that the user has not allowed to run.
    """
    if settings.run is None:
        raise InputError("Expected the directory of a run: `osteo-ray reproduce RUN`.")
    stored = open_stored(settings.run)
    ledger = place_ledger(stored.run, settings)
    _refuse_unwritable(ledger)
    read_ledger(ledger)
    return Task(
        stored=stored,
        settings=settings,
        config=configure_rerun(stored.config, settings),
        only=_choose_trials(stored, settings),
        images=find_images(stored, settings),
        ledger=ledger,
        codes=_read_codes(stored, settings),
    )


def place_ledger(run: Run, settings: ReproduceConfig) -> Place:
    """Return the ledger that a reproduction of a run adds its row to."""
    beside = run.root.parent / "reproductions.parquet"
    return reach(settings.ledger, "--ledger") if settings.ledger else beside


def _refuse_unwritable(ledger: Place) -> None:
    """Refuse a ledger that no row could be added to, which would be found out at the very end."""
    if not isinstance(ledger, Path):
        return
    obstacle = f"{ledger} is a folder" if ledger.is_dir() else find_obstacle(ledger.parent)
    if obstacle:
        raise InputError(
            f"Expected --ledger to be a file that can be written, but {obstacle}. Give another "
            "--ledger."
        )


def _read_codes(stored: StoredRun, settings: ReproduceConfig) -> dict[str, str]:
    found = {name: read_code(stored.run, name) for name in stored.config.models}
    codes = {name: code for name, code in found.items() if code is not None}
    for name in codes:
        require_consent(settings.run_code, f"`{name}`, in {stored.run.networks},")
    return codes


def _choose_trials(stored: StoredRun, settings: ReproduceConfig) -> list[Trial] | None:
    n_planned = len(stored.trials)
    if settings.sample is not None and settings.sample > n_planned:
        raise InputError(
            f"Expected a sample of at most the {n_planned} trainings of {stored.run.root}, but "
            f"got --sample {settings.sample}. Leave the flag out to rerun all of them."
        )
    n_wanted = settings.count_sample(n_planned)
    if n_wanted is None:
        return None
    config, seeds = stored.config, stored.comparison["seeds"]
    return draw_sample(config.models, config.arms, seeds, n_wanted, seed=settings.seed)


def configure_rerun(stored: CompareConfig, settings: ReproduceConfig) -> CompareConfig:
    """Return the configuration of a run, with the workers that are asked for.

    Raises:
        InputError: Trainings of the run cannot use these.
    """
    asked = {
        "cpus_per_worker": settings.cpus_per_worker,
        "gpus_per_worker": settings.gpus_per_worker,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    flags = {name: f"--{name.replace('_', '-')}" for name in given}
    resources = build(ResourceSettings, stored.resources.model_dump() | given, flags)
    return stored.model_copy(update={"resources": resources})


def find_images(stored: StoredRun, settings: ReproduceConfig) -> Images:
    """Find out whether the images can be read again.

    Raises:
        InputError: The user asked for it, but the source cannot be opened.
    """
    if settings.images == "stored":
        return Images()
    if stored.config.data == PHANTOM:
        return Images(stored.config.phantom)
    try:
        return Images(open_source(stored.config.data, stored.config.source_options))
    except InputError as error:
        if settings.images == "source":
            raise
        return Images(
            note=f"The source of the images can no longer be opened: {error} The rerun uses the "
            "pixels that the run keeps; it is not known whether the source has changed.",
        )
