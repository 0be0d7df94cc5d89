"""What is planned of an analysis, and what the trials that are analysed have in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from osteo_ray.experiment.roles import Roles
from osteo_ray.experiment.trials import Experiment
from osteo_ray.statistics.sizes import Sizes


@dataclass(frozen=True)
class Analysis:
    """What was planned, and what the trials have in common.

    Attributes:
        models: Their timm names.
        arms: The names of the planned arms.
        seeds: The numbers of the planned seeds.
        metric: The primary endpoint.
        alpha: Error rate over all primary contrasts.
        margin: Differences inside ± margin do not matter, as the user states it; None for the
            endpoint's default.
        ordinal: All classes in their order, if they have one.
        prevalence: Prevalence of the positive class, used for predictive values; None to use that
            of the test images.
        sizes: Mean numbers of images per seed; an infinite `n_train` where it is unknown.
        classes: All classes, sorted.
        positive_class: One of them.
        split: `grouped`, `random`, `given` or `site`.
        protocol: `clean` or `paper`.
        goes_on: Whether the masked arms start from the weights of the first model.
        copies_leak: Whether copies of test images are in the training set.
        roles: Which arm plays which part; None to go by the arms.
        seeds_of_model: Planned seeds of models that do not have all of `seeds`.
    """

    models: tuple[str, ...]
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    metric: str
    alpha: float
    margin: float | None
    sizes: Sizes
    classes: tuple[str, ...]
    positive_class: str
    ordinal: tuple[str, ...] = ()
    prevalence: float | None = None
    split: str = "grouped"
    protocol: str = "clean"
    goes_on: bool = False
    copies_leak: bool = False
    roles: Roles | None = None
    seeds_of_model: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def list_seeds(self, model: str) -> tuple[int, ...]:
        """Return the planned seeds of a model."""
        return self.seeds_of_model.get(model, self.seeds)

    @classmethod
    def of(cls, experiment: Experiment) -> "Analysis":
        """Return the analysis that an experiment asks for."""
        settings, plan = experiment.settings, experiment.statistics
        counts = {
            name: float(np.mean([np.sum(split == name) for split in experiment.splits.values()]))
            for name in ("train", "test")
        }
        return cls(
            models=experiment.models,
            arms=experiment.arms,
            seeds=tuple(experiment.seeds),
            metric=plan.metric,
            alpha=plan.alpha,
            margin=plan.margin,
            sizes=Sizes(n_test=counts["test"], n_train=counts["train"]),
            classes=experiment.classes,
            positive_class=experiment.positive_class,
            ordinal=plan.ordinal,
            prevalence=plan.prevalence,
            split=settings.split,
            protocol=settings.protocol,
            goes_on=settings.second_start == "first",
            copies_leak=any(
                np.isin(
                    experiment.groups[split == "test"], experiment.groups[split == "train"]
                ).any()
                for split in experiment.splits.values()
            ),
        )
