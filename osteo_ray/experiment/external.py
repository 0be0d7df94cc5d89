"""An external cohort: images from elsewhere that the trained classifiers of a run predict as well.

Nothing is trained on it, so it changes neither the trainings of a run nor their keys, and it can be
added to a finished run. Each cohort has a folder of its own, laid out like a run. Free of Ray.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
import pandas as pd

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.arms.registry import ARMS
from osteo_ray.base.forms import read_record
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import check_version, read_table
from osteo_ray.base.trust import refuse_paths
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.pixels import Bits
from osteo_ray.experiment.dataset import fingerprint_images
from osteo_ray.experiment.grid import GridRow, list_views, place_row
from osteo_ray.experiment.keep_masks import KeepMasks, read_keep_masks
from osteo_ray.experiment.trials import Experiment, MaskJob, Trial

TESTED = "test"
"""The part of the split that all images of a cohort are in."""
RECORD = "cohort.json"
"""The file of a cohort that is written last: if it exists, the cohort was read."""


@dataclass(frozen=True)
class CohortRun(Run):
    """The folder of an external cohort, which uses the trainings of a run.

    Attributes:
        trained: The run.
    """

    trained: Run

    @classmethod
    def of(cls, run: Run, source: list[str], image_size: ImageSize, bits: Bits) -> "CohortRun":
        """Return the folder of a cohort.

        Args:
            run: The run whose classifiers predict it.
            source: URI and fingerprint of the cohort.
            image_size: Height and width that its images are resized to.
            bits: Of its gray values.
        """
        key = hash_settings([*source, image_size.written, *([] if bits == 8 else [bits])])
        return cls(run.root / "cohort" / key, run)

    @property
    def trials(self) -> Place:
        return self.trained.trials

    @property
    def record(self) -> Place:
        return self.root / RECORD

    @property
    def dropped(self) -> Place:
        return self.root / "dropped.parquet"


@dataclass(frozen=True)
class Cohort:
    """An external cohort as it was read.

    Attributes:
        run: Its folder.
        source: Its URI or absolute path.
        images: A row per image that is used, with the columns of the images table.
        dropped: A row per image that was read and is not used: path, reason.
        n_rejects: Number of files that could not be read.
    """

    run: CohortRun
    source: str
    images: pd.DataFrame
    dropped: pd.DataFrame
    n_rejects: int


def read_cohort(run: CohortRun) -> Cohort:
    """Read the tables of a cohort that is complete.

    Raises:
        InputError: An id could lead out of the folder, as files are named after them, or a table is
            of another version.
        DamagedError: Its record is no JSON, or JSON of another form.
    """
    record = read_record(run.record, {"source": str})
    for table in (run.images, run.dropped, run.rejects):
        check_version(table)
    images = read_table(run.images).to_pandas()
    refuse_paths(images["image_id"], "ids", run.images)
    return Cohort(
        run,
        record["source"],
        images,
        read_table(run.dropped).to_pandas(),
        len(read_table(run.rejects)),
    )


@dataclass(frozen=True)
class ExternalExperiment(Experiment):
    """The trainings of a run, with the images of an external cohort as the test images of each.

    Attributes:
        trained: The experiment that the classifiers were trained in.
        cohort: The images, and which of those read are not used.
    """

    trained: Experiment = field(kw_only=True)
    cohort: Cohort = field(kw_only=True)

    @classmethod
    def of(cls, experiment: Experiment, cohort: Cohort) -> "ExternalExperiment":
        """Return an experiment with the images of a cohort."""
        images, run = cohort.images, cohort.run
        everywhere = np.full(len(images), TESTED)
        shared = {one.name: getattr(experiment, one.name) for one in fields(Experiment)}
        return cls(
            **shared
            | {
                "run": run,
                "image_ids": images["image_id"].to_numpy(str),
                "labels": images["label"].to_numpy(str),
                "groups": images["group"].to_numpy(),
                "paths": images["path"].to_numpy(str),
                "splits": dict.fromkeys(experiment.seeds, everywhere),
                "fingerprint": fingerprint_images(
                    images, experiment.settings.image_size, experiment.settings.bits
                ),
                "regions": "",  # those of the run belong to its own images
            },
            trained=experiment,
            cohort=cohort,
        )

    @cached_property
    def _everyone(self) -> np.ndarray:
        return np.ones(len(self.image_ids), bool)

    def key_of(self, trial: Trial) -> str:
        """Return the key that the trial has in the run."""
        return self.trained.key_of(trial)

    def list_jobs(self, trial: Trial) -> dict[MaskJob, np.ndarray]:
        """Return the explanation that provides the masks of the cohort; see `Experiment.list_jobs`.

        Out-of-fold masks are for images that a fold was trained on. Images of a cohort are
        explained by the model that explains the run's own test images, which comes last.
        """
        jobs = list(self.trained.list_jobs(trial))
        return {jobs[-1]: self._everyone} if jobs else {}


def takes_part(arm: str) -> bool:
    """Tell whether the classifiers of an arm predict an external cohort."""
    return not ARMS[arm].shuffled and not ARMS[arm].shows_regions


def list_external(external: ExternalExperiment, trials: Iterable[Trial]) -> list[GridRow]:
    """List what the classifiers of some trials are to predict of a cohort.

    Each predicts the view of its own arm and the whole images and, if the run was asked for a grid,
    the other views of the grid. Classifiers that see outlines alone predict outlines only. Those of
    shuffled labels have no part: they test the pipeline, and the run's own images are enough. Nor
    have those that were trained on given regions, since a cohort comes without.
    """
    rows = []
    for trial in trials:
        arm = ARMS[trial.arm]
        if not takes_part(trial.arm):
            continue
        views = {trial.arm: None}
        if arm.view != "silhouette":
            others = list_views(external, trial) if external.grid else []
            views |= dict.fromkeys([ORIGINAL, *others])
        rows.append(GridRow(trial, tuple(views), place_row(external, trial, tuple(views))))
    return rows


def list_divided(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials whose masks of a cohort are drawn from its superpixels."""
    sources = ((trial, ARMS[trial.arm].masks) for trial in trials if trial.arm in ARMS)
    drawn = ("redrawn", "scattered")
    return [trial for trial, masks in sources if masks and masks.change in drawn]


def read_shown_masks(experiment: Experiment, trial: Trial) -> KeepMasks | None:
    """Read the keep-masks with which an arm shows images, those of a cohort if it is one.

    Masks that are the same for all images are made from training images, so a cohort is shown with
    those of the run.

    Raises:
        RuntimeError: Some images have no mask.
        ValueError: A mask does not have the size of the images.
    """
    source = ARMS[trial.arm].masks
    if not isinstance(experiment, ExternalExperiment) or source is None:
        return read_keep_masks(experiment, trial)
    if source.change not in ("centre", "mean"):
        return read_keep_masks(experiment, trial)
    own = read_keep_masks(experiment.trained, trial)
    assert own is not None  # the arm has masks
    used = np.flatnonzero(experiment.trained.splits[trial.seed] != "")
    everyone = np.full(len(experiment.image_ids), used[0])
    return KeepMasks(own.masks.select(everyone), ())
