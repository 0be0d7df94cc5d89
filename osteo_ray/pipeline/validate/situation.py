"""A table of results whose truth is known, with the verdicts that are right; how it is drawn."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.conclusions import share_alpha
from osteo_ray.experiment.judging import Judged, judge_predictions
from osteo_ray.experiment.positive_class import find_positive_class
from osteo_ray.experiment.simulated import (
    MODEL,
    Population,
    SimulatedArm,
    draw_tested,
    simulate_predictions,
)
from osteo_ray.statistics.predictions import encode_predictions
from osteo_ray.statistics.sizes import Sizes

Arms = Mapping[str, SimulatedArm]
ALPHA = 0.05
N_DRAWS = 200
"""Bootstrap samples of each table: fewer than a run has, as many tables are judged."""


@dataclass(frozen=True)
class Situation:
    """What is drawn, and what is right to say of it.

    Attributes:
        name: In tables.
        right: Verdicts that are right.
        why: In a sentence.
        arms: Of the first model.
        others: Of further models, by name.
        n_seeds: Trainings per arm.
        n_images: Of the data set.
        n_test: Test images per seed.
        n_train: Training images per seed; None where nobody knows.
        folds: Of a repeated cross-validation; None for hold-outs.
        population: What the images have in common.
        metric: The endpoint.
        margin: Stated by the user; None for the default.
        positive_class: Stated by the user.
        classes: Names of the negative and the positive class; or of three classes or more.
        copies_leak: Copies of test images were in training.
        shuffled_leaks: The arm on shuffled labels predicts the true labels, because the pipeline
            leaks them.
        extended: Numbers of seeds after which the run drew earlier conclusions.
    """

    name: str
    right: tuple[str, ...]
    why: str
    arms: Arms
    others: Mapping[str, Arms] = field(default_factory=dict)
    n_seeds: int = 10
    n_images: int = 3000
    n_test: int = 300
    n_train: float | None = 2400
    folds: int | None = None
    population: Population = field(default_factory=Population)
    metric: str = "auc"
    margin: float | None = None
    positive_class: str | None = None
    classes: tuple[str, ...] = ("normal", "osteoporosis")
    copies_leak: bool = False
    shuffled_leaks: bool = False
    extended: tuple[int, ...] = ()

    @property
    def arm_names(self) -> tuple[str, ...]:
        """All arms of all models, each once."""
        parts = (self.arms, *self.others.values())
        return tuple(dict.fromkeys(name for part in parts for name in part))


def draw_situation(situation: Situation, number: int, seed: int = 0) -> pa.Table:
    """Draw the predictions of a situation; the same number and seed give the same table."""
    rng = np.random.default_rng((seed, number, *situation.name.encode()))
    tested = draw_tested(
        situation.n_images, situation.n_test, situation.n_seeds, rng, folds=situation.folds
    )
    of_images = int(rng.integers(2**32))
    tables = []
    for place, (model, arms) in enumerate({MODEL: situation.arms, **situation.others}.items()):
        again = np.random.default_rng(of_images)  # the same images for every model
        luck = np.random.default_rng((of_images, place + 2))
        if len(situation.classes) > 2:
            tables.append(_simulate_many_classes(situation, arms, tested, model, again, luck))
            continue
        negative, positive = situation.classes
        tables.append(
            simulate_predictions(
                arms,
                tested,
                n_images=situation.n_images,
                rng=again,
                luck=luck,
                population=situation.population,
                model=model,
                classes=(negative, positive),
            )
        )
    table = pa.concat_tables(tables)
    if situation.shuffled_leaks:
        return table
    return _shuffle_labels(table, np.random.default_rng(of_images + 1))


def plan_situation(situation: Situation) -> Analysis:
    """Return what was planned of the analysis of a situation."""
    classes = tuple(sorted(situation.classes))
    return Analysis(
        models=(MODEL, *situation.others),
        arms=situation.arm_names,
        seeds=tuple(range(situation.n_seeds)),
        metric=situation.metric,
        alpha=ALPHA * share_alpha(len(situation.extended) + 1) if situation.extended else ALPHA,
        margin=situation.margin,
        sizes=Sizes(n_test=situation.n_test, n_train=situation.n_train or math.inf),
        classes=classes,
        positive_class=find_positive_class(classes, situation.positive_class).name,
        copies_leak=situation.copies_leak,
    )


def judge_table(table: pa.Table, analysis: Analysis, *, n_draws: int = N_DRAWS) -> Judged:
    """Judge a table by the rule of the product; each image is a group of its own."""
    image_ids = pc.unique(table["image_id"]).to_pylist()
    images = pd.DataFrame({"image_id": image_ids, "group": image_ids})
    coded = encode_predictions(table, analysis.classes, analysis.positive_class, analysis.ordinal)
    return judge_predictions(coded, images, analysis, n_draws=n_draws)


def judge_situation(situation: Situation, number: int, seed: int = 0) -> Judged:
    """Draw the table of a situation and judge it."""
    return judge_table(draw_situation(situation, number, seed), plan_situation(situation))


def _shuffle_labels(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """Shuffle the labels of the arm that is trained on shuffled ones, seed by seed, if it is there.

    All models of a seed see the same shuffled labels.
    """
    shuffled = pc.equal(table["arm"], "permuted_labels").to_numpy(zero_copy_only=False)
    if not shuffled.any():
        return table
    seeds = table["seed"].to_numpy()
    labels, image_ids = (
        table[name].to_numpy(zero_copy_only=False).copy() for name in ("label", "image_id")
    )
    for seed in np.unique(seeds):
        rows = np.flatnonzero(shuffled & (seeds == seed))
        _, first, place = np.unique(image_ids[rows], return_index=True, return_inverse=True)
        labels[rows] = rng.permutation(labels[rows][first])[place]
    return table.set_column(table.column_names.index("label"), "label", pa.array(labels))


def _simulate_many_classes(
    situation: Situation,
    arms: Arms,
    tested: list[np.ndarray],
    model: str,
    rng: np.random.Generator,
    luck: np.random.Generator,
) -> pa.Table:
    """Draw predictions of three classes or more, as `simulate_predictions` does of two.

    Each class has a score of its own, which is higher where the class is the true one; `constant`
    is the index of the class that an arm predicts throughout.
    """
    classes, shared = situation.classes, situation.population.shared
    leaning, n_classes = situation.population.leaning, len(situation.classes)
    label = rng.permutation(np.arange(situation.n_images) % n_classes)
    is_true = np.eye(n_classes)[label]
    common = math.sqrt(shared) * rng.normal(size=is_true.shape)
    tables = []
    for name, arm in arms.items():
        of_arm = math.sqrt(leaning) * luck.normal(size=is_true.shape)
        for seed, images in enumerate(tested):
            skill = 2 * (arm.separation + luck.normal() * arm.skill)
            noise = math.sqrt(1 - shared - leaning) * luck.normal(size=(len(images), n_classes))
            z = is_true[images] * skill + common[images] + of_arm[images] + noise
            p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
            if arm.constant is not None:
                p = np.tile(np.eye(n_classes)[int(arm.constant)], (len(images), 1))
            columns: dict[str, object] = {
                "model": [model] * len(images),
                "seed": np.full(len(images), seed),
                "arm": [name] * len(images),
                "split": ["test"] * len(images),
                "image_id": [f"image-{number:06}" for number in images],
                "label": [classes[at] for at in label[images]],
            }
            columns |= {f"p_{one}": p[:, at] for at, one in enumerate(classes)}
            tables.append(pa.table(columns))
    return pa.concat_tables(tables)
