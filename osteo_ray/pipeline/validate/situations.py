"""Tables of results whose truth is known, each with the verdict that a statistician would sign.

Each situation is a kind in which a verdict could be fooled. Its table is drawn by
`experiment.simulated`; what is drawn varies with the number, what is true does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.experiment.simulated import (
    Population,
    SimulatedArm,
    draw_tested,
    simulate_predictions,
)

Arms = Mapping[str, SimulatedArm]


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
        margin: Said by the user; None for the default.
        positive_class: Said by the user.
        classes: Names of the negative and the positive class.
        copies_leak: Copies of test images were in training.
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
    classes: tuple[str, str] = ("normal", "osteoporosis")
    copies_leak: bool = False

    @property
    def arm_names(self) -> tuple[str, ...]:
        """All arms of all models, each once."""
        parts = (self.arms, *self.others.values())
        return tuple(dict.fromkeys(name for part in parts for name in part))


def draw_situation(situation: Situation, number: int) -> pa.Table:
    """Draw the predictions of a situation; the same number gives the same table."""
    rng = np.random.default_rng((number, *situation.name.encode()))
    tested = draw_tested(
        situation.n_images, situation.n_test, situation.n_seeds, rng, folds=situation.folds
    )
    seed = int(rng.integers(2**32))
    tables = [
        simulate_predictions(
            arms,
            tested,
            n_images=situation.n_images,
            rng=np.random.default_rng(seed),  # the same images for every model
            population=situation.population,
            model=model,
            classes=situation.classes,
        )
        for model, arms in {"simulated": situation.arms, **situation.others}.items()
    ]
    table = pa.concat_tables(tables)
    return _shuffle_labels(table, np.random.default_rng(seed + 1))


def _shuffle_labels(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """Shuffle the labels of the arm that is trained on shuffled ones, if there is one."""
    rows = np.flatnonzero(pc.equal(table["arm"], "permuted_labels").to_numpy(zero_copy_only=False))
    if not len(rows):
        return table
    labels = table["label"].to_numpy(zero_copy_only=False).copy()
    if _LEAKY in set(table["model"].to_pylist()):
        return table
    labels[rows] = rng.permutation(labels[rows])
    return table.set_column(table.column_names.index("label"), "label", pa.array(labels))


_LEAKY = "leaky"
_A = SimulatedArm
_CHANCE = _A(0.5)
_GAIN = {  # a gain of .08 with all controls failing
    "original": _A(0.80),
    "original_retrained": _A(0.80),
    "lime": _A(0.88),
    "lime_crossfit": _A(0.88),
    "random_mask": _A(0.76),
    "silhouette": _A(0.55),
}
_EQUAL = {name: _A(0.88, skill=0.02) for name in _GAIN} | {"silhouette": _A(0.55)}
_LARGE: dict[str, Any] = {"n_images": 6000, "n_test": 1000, "n_train": 4000.0}
_NOISE = dict.fromkeys(_GAIN, _CHANCE)
_SMALL_GAIN = {
    **_GAIN,
    "original": _A(0.800, 0.01),
    "original_retrained": _A(0.800, 0.01),
    "lime": _A(0.855, 0.01),
    "lime_crossfit": _A(0.855, 0.01),
    "random_mask": _A(0.820, 0.01),
}
_CLOSE = Population(shared=0.75, leaning=0.02)


def _gain(name: str, right: str, why: str, **changes: Any) -> Situation:
    return replace(Situation(name, (right,), why, _GAIN), **changes)


SITUATIONS: tuple[Situation, ...] = (
    _gain("gain", "real gain", "Masks help, and no control does."),
    _gain("gain, folds", "real gain", "The same, cross-validated.", folds=5,
          n_images=2500, n_train=2000.0),
    _gain("gain, training set unknown", "real gain", "The two-way error needs no training set.",
          n_train=None),
    _gain("gain, fixed test set", "real gain", "All seeds test the same images.", n_images=1000,
          n_test=1000, n_train=10_000.0),
    _gain("gain, classes spelled otherwise", "real gain", "The alphabet decides nothing.",
          classes=("healthy", "fracture")),
    _gain("gain, abnormal and normal", "real gain", "The alphabet decides nothing.",
          classes=("normal", "abnormal")),
    _gain("gain, true labels above", "real gain",
          "A good first model makes masks of the true class much like those of the predicted one.",
          arms={**_GAIN, "lime_true_label": _A(0.885)}),
    _gain("gain, complement near original", "real gain", "Disease is diffuse, masks still help.",
          arms={**_GAIN, "complement": _A(0.80)}),
    _gain("gain, Grad-CAM as good", "real gain", "Another explanation does as well: no control.",
          arms={**_GAIN, "gradcam": _A(0.88)}),
    _gain("gain, one more control", "real gain", "Another control fails as well.",
          arms={**_GAIN, "centre_mask": _A(0.75)}),
    _gain("gain, arms in another order", "real gain", "Order decides nothing.",
          arms=dict(reversed(_GAIN.items()))),
    _gain("gain beside a network of noise", "real gain", "A null model overturns nothing.",
          others={"noise": _NOISE}),
    Situation("random masks account for a third", ("real gain",),
              "Gain .055, random masks .020: a third of it, beaten on every seed.", _SMALL_GAIN,
              population=_CLOSE, n_seeds=20, **_LARGE),
    Situation("original at chance, silhouette hardly above", ("real gain",),
              "A silhouette at .52 accounts for a twentieth.",
              {**_GAIN, "original": _CHANCE, "original_retrained": _CHANCE,
               "silhouette": _A(0.52), "random_mask": _A(0.51)}),
    _gain("Brier score a third less", "real gain", "An error of which a third is gone.",
          metric="brier",
          arms={**_GAIN, "original": _A(0.93), "lime": _A(0.98), "lime_crossfit": _A(0.98),
                "original_retrained": _A(0.93), "random_mask": _A(0.92)}),
    Situation("outline", ("leakage",), "The silhouette does as well as the masked image.",
              {**_GAIN, "silhouette": _A(0.89)}),
    Situation("second training", ("second training",), "Training twice does as well.",
              {**_GAIN, "original_retrained": _A(0.89)}),
    Situation("any crop", ("any crop",), "Random masks do as well.",
              {**_GAIN, "random_mask": _A(0.89)}),
    Situation("memory", ("leakage",), "Masks gain only where their model saw the labels.",
              {**_GAIN, "lime_crossfit": _A(0.80), "lime": _A(0.95)}),
    _gain("copies", "leakage", "Copies of test images were in training.", copies_leak=True),
    Situation("pipeline leaks", ("leakage",), "Shuffled labels are predicted.",
              {**_EQUAL, "permuted_labels": _A(0.8)}, others={_LEAKY: _EQUAL}),
    Situation("loss", ("real loss",), "Masks remove what counts.",
              {**_GAIN, "lime": _A(0.68), "lime_crossfit": _A(0.68)}),
    Situation("equal", ("equivalent",), "Masks change nothing.", _EQUAL, population=_CLOSE,
              **_LARGE),
    Situation("diffuse disease", ("equivalent",), "Every part of the image tells the class.",
              {**_EQUAL, "complement": _A(0.88, 0.02)}, population=_CLOSE, **_LARGE),
    Situation("threshold shifted", ("equivalent",), "A shift of all scores moves no AUC.",
              {**_EQUAL, "lime_crossfit": _A(0.88, 0.02, shift=0.8)}, population=_CLOSE, **_LARGE),
    Situation("gain below the margin", ("equivalent",), "A gain of .008 is sure, and small.",
              {**_EQUAL, "lime_crossfit": _A(0.888, 0.005), "original": _A(0.88, 0.005)},
              population=Population(0.9, 0.005), n_seeds=20, **_LARGE),
    Situation("noise", ("nothing learned",), "No arm learned anything.", _NOISE, n_images=744,
              n_test=74, n_train=520.0),
    Situation("noise, fixed test set", ("nothing learned",), "No arm learned anything.", _NOISE,
              n_images=200, n_test=200, n_train=10_000.0),
    Situation("majority class", ("nothing learned",), "All arms call all images normal, 95 : 5.",
              {name: _A(0.5, constant=0.0) for name in _GAIN},
              population=Population(positive_share=0.05)),
    Situation("majority class, by accuracy", ("nothing learned",), "The same, by accuracy.",
              {name: _A(0.5, constant=0.0) for name in _GAIN}, metric="accuracy",
              population=Population(positive_share=0.05)),
    Situation("collapse of the masked arm, by accuracy", ("inconclusive",),
              "95 : 5; the masked arm calls all normal and is right more often, with AUC .5.",
              {**_GAIN, "original": _A(0.75, shift=-0.4), "lime_crossfit": _A(0.5, constant=0.0)},
              metric="accuracy", population=Population(positive_share=0.05)),
    Situation("threshold shifted, by accuracy", ("inconclusive", "equivalent"),
              "The baseline's threshold is off, its AUC is not.",
              {**_EQUAL, "original": _A(0.88, 0.02, shift=1.2)}, metric="accuracy",
              population=_CLOSE, **_LARGE),
    Situation("constant differences", ("real gain",), "Every seed differs by exactly the same.",
              {"original": _A(0.5, constant=0.5), "lime": _A(0.9999999, 0.0),
               "silhouette": _A(0.5, constant=0.5), "random_mask": _A(0.5, constant=0.5)},
              n_images=400, n_test=400),
    Situation("control on 2 of 10 seeds", ("inconclusive",), "Nobody knows what the control does.",
              {**_GAIN, "random_mask": _A(0.76, seeds=(0, 1))}),
    Situation("control not planned", ("inconclusive",), "Nobody knows what random masks do.",
              {name: arm for name, arm in _GAIN.items() if name != "random_mask"}),
    Situation("seed of the judged arm missing", ("inconclusive",), "The evidence is not whole.",
              {**_GAIN, "lime_crossfit": _A(0.88, seeds=tuple(range(9)))}),
    Situation("gain and loss", ("inconclusive",), "Two networks contradict each other.", _GAIN,
              others={"other": {**_GAIN, "lime": _A(0.68), "lime_crossfit": _A(0.68)}}),
    Situation("too small to tell", ("inconclusive",), "3 seeds of 40 images tell little.",
              {**_GAIN, "lime": _A(0.82), "lime_crossfit": _A(0.82)}, n_seeds=3, n_images=200,
              n_test=40, n_train=140.0),
)  # fmt: skip
