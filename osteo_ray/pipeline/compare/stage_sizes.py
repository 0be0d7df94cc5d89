"""How much work the stages of a comparison are: forward passes of one image by one worker.

Where several workers share a stage, each of its units counts for that much less.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from osteo_ray.base.events import TRAINED, read_events
from osteo_ray.base.storage import Place
from osteo_ray.base.time_left import Stage
from osteo_ray.cluster.placement import Layout
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.splits.assignment import SPLIT_NAMES
from osteo_ray.experiment.costs import (
    DIVISION_COST,
    EXPLAINING_SHARE,
    TRAINING_COST,
    Parts,
)
from osteo_ray.experiment.grid import GridRow
from osteo_ray.experiment.simulated_run import Scheme
from osteo_ray.experiment.trials import Experiment
from osteo_ray.explain.jobs import Explainable
from osteo_ray.pipeline.compare.costing import count_listed, count_planned


@dataclass(frozen=True)
class StageSizes:
    """What determines how long the stages of an experiment take, and how many units run at once.

    Attributes:
        layout: What runs at once.
        n_images: Number of images.
        parts: Images per seed, on average.
        epochs: Epochs per training.
        samples: Perturbed images per explanation, at most.
    """

    layout: Layout
    n_images: int
    parts: Parts
    epochs: int
    samples: int

    @classmethod
    def of(cls, experiment: Experiment, layout: Layout) -> "StageSizes":
        """Take the sizes from an experiment."""
        splits = list(experiment.splits.values())
        means = [float(np.mean([np.sum(one == name) for one in splits])) for name in SPLIT_NAMES]
        settings, n_images = experiment.settings, len(experiment.image_ids)
        return cls(layout, n_images, Parts(*means), settings.training.epochs, settings.lime.samples)

    def plan_trainings(self, name: str, total: int, done: int, epochs: int | None = None) -> Stage:
        """Describe a sweep.

        Args:
            name: Of the stage.
            total: Number of trainings.
            done: How many were done by an earlier command.
            epochs: Epochs per training, if not those of the experiment.
        """
        passes = (epochs or self.epochs) * (
            TRAINING_COST * self.parts.train + self.parts.validation
        )
        layout = self.layout
        cost = passes / (layout.concurrent_trials * layout.workers)
        return Stage(name, "trainings", total, cost, done, layout.concurrent_trials)

    def recall_pace(self, logs: Place) -> float | None:
        """Return what a forward pass of an image took earlier commands on a run, in seconds.

        Args:
            logs: Where they logged what they did. The latest one that has ended a training counts.

        Returns:
            Seconds, by the trainings; None if none has ended.
        """
        cost = self.plan_trainings("", 1, 0).cost_each * self.layout.concurrent_trials
        for job in reversed(read_events(logs)):
            told = [line.get("seconds") for line in job if line.get("event") == TRAINED]
            took_s = [float(one) for one in told if isinstance(one, int | float)]
            if took_s:
                return sum(took_s) / len(took_s) / cost
        return None

    def plan_explanations(self, name: str, explanations: Collection[Explainable]) -> Stage:
        """Describe what a pool explains."""
        total = sum(len(one.wanted) for one in explanations)
        done = sum(len(one.wanted - one.pending) for one in explanations)
        cost = self.samples * EXPLAINING_SHARE / self.layout.explaining_speed
        return Stage(name, "explanations", total, cost, done, max(1, self.layout.explainers))

    def plan_divisions(self, name: str, total: int, n_files: int) -> Stage:
        """Describe how files of images are divided into superpixels."""
        cost = self.n_images / n_files * DIVISION_COST / self.layout.slots
        return Stage(name, "files", total, cost, at_once=self.layout.slots)

    def plan_grid(self, name: str, rows: Sequence[GridRow], n_shown: float, done: int = 0) -> Stage:
        """Describe how trained classifiers predict other views.

        Args:
            name: Of the stage.
            rows: The classifiers, at least one.
            n_shown: Images that each of them predicts, per view.
            done: How many have done so before.
        """
        n_views = float(np.mean([len(row.views) for row in rows]))
        cost = n_shown * n_views / self.layout.slots
        return Stage(name, "classifiers", len(rows), cost, done, self.layout.slots)


def foresee_stages(
    config: CompareConfig,
    source: Source | PhantomSettings,
    layout: Layout,
    cohort: Source | None = None,
) -> list[Stage]:
    """Describe roughly what follows once images are read, as if all of them could be used.

    Args:
        config: What is planned.
        source: The images, listed, or the settings of phantoms.
        layout: What runs at once.
        cohort: An external cohort, listed, if there is one.
    """
    n_images, parts = source.n_images, count_listed(config, source)
    work = count_planned(config, Scheme(config.seeds, parts), config.arms, source.n_classes)
    sizes = StageSizes(layout, n_images, parts, config.training.epochs, config.lime.samples)
    stages = [sizes.plan_trainings("train", work.n_models * work.n_trainings, 0)]
    explain = sizes.plan_explanations("explain", ())
    n_explanations = work.n_models * work.n_explanations
    if n_explanations:
        # The other arms are trained in a sweep of its own, which has to start as well.
        stages += [replace(explain, total=n_explanations), foresee_end(), foresee_end()]
    if config.grid:
        stages.append(foresee_end())  # most of which is starting, too
    if cohort is not None:
        n_more = round(n_explanations * len(cohort.items) / n_images)
        stages += [replace(explain, total=n_more), foresee_end()]
    return [*stages, foresee_end()]


def foresee_end() -> Stage:
    """Describe a stage in which nothing is counted: the statistics and the page, at the end."""
    return Stage("conclude", "", 0, 0.0)
