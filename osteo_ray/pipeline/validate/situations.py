"""Situations in which a verdict could be fooled, each with the verdict that a statistician signs.

What is drawn varies with the number of the table, what is true does not. `osteo-ray validate
verdicts` counts how often the verdict is right.
"""

from dataclasses import replace
from typing import Any

from osteo_ray.experiment.simulated import Population, SimulatedArm
from osteo_ray.pipeline.validate.situation import Situation

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


_SHUFFLED = {**_GAIN, "lime": _A(0.80), "lime_crossfit": _A(0.80), "permuted_labels": _A(0.5)}
_THREE = ("mild", "normal", "severe")
_NO_DIFFERENCE = ("inconclusive", "equivalent")


def _null(name: str, why: str, **changes: Any) -> Situation:
    """A run whose judged arm is no better than the baseline, while all controls fail."""
    equal = {**_GAIN, "lime": _A(0.80), "lime_crossfit": _A(0.80), "original_retrained": _A(0.70)}
    return replace(Situation(name, _NO_DIFFERENCE, why, equal), **changes)


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
    Situation("encoding", ("leakage",), "The gain vanishes where training shows random masks.",
              {**_GAIN, "random_trained": _A(0.60)}),
    _gain("no encoding", "real gain", "The gain stays where training shows random masks.",
          arms={**_GAIN, "random_trained": _GAIN["lime"]}),
    Situation("guidance anywhere", ("any region",), "A penalty on random regions does as well.",
              {"original": _A(0.80), "guided_gradients": _A(0.90),
               "guided_gradients_random": _A(0.89)}),
    Situation("memory", ("leakage",), "Masks gain only where their model saw the labels.",
              {**_GAIN, "lime_crossfit": _A(0.80), "lime": _A(0.95)}),
    _gain("copies", "leakage", "Copies of test images were in training.", copies_leak=True),
    Situation("pipeline leaks", ("leakage",), "Shuffled labels are predicted.",
              {**_EQUAL, "permuted_labels": _A(0.8)}, shuffled_leaks=True),
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
    # Accounting for a third is not accounting for it.
    Situation("second training accounts for a third", ("real gain",),
              "Training twice gains .020 of .055.",
              {**_SMALL_GAIN, "original_retrained": _A(0.820, 0.01), "random_mask": _A(0.78)},
              population=_CLOSE, n_seeds=20, **_LARGE),
    Situation("silhouette accounts for a third", ("real gain",),
              "The outline alone gains .020 of .055.",
              {**_SMALL_GAIN, "silhouette": _A(0.820, 0.01), "random_mask": _A(0.78)},
              population=_CLOSE, n_seeds=20, **_LARGE),
    _gain("control missing on one seed", "inconclusive", "Nobody knows what it does there.",
          arms={**_GAIN, "silhouette": _A(0.55, seeds=tuple(range(1, 10)))}),
    # No difference: whatever is said, no gain and no loss.
    _null("no difference", "Hold-outs of ordinary size."),
    _null("no difference, folds", "Cross-validated.", folds=5, n_images=2500, n_train=2000.0),
    _null("no difference, fixed test set", "All seeds share the luck of 200 images.",
          n_images=200, n_test=200, n_train=10_000.0),
    _null("no difference, fixed test set, 30 seeds", "More seeds do not change that luck.",
          n_seeds=30, n_images=200, n_test=200, n_train=10_000.0),
    _null("no difference, six models, shuffled labels at chance",
          "Each model has its own tests; one false alarm in twenty runs is too many.",
          arms=_SHUFFLED, others={f"model-{k}": _SHUFFLED for k in range(2, 7)}, n_seeds=3,
          n_images=744, n_test=74, n_train=520.0),
    _null("no difference, extended four times", "Seeds were added until something would show.",
          n_seeds=13, extended=(5, 7, 9, 11)),
    _gain("gain, extended", "real gain", "Whoever adds seeds once still finds a gain.", n_seeds=15,
          extended=(5,), arms={**_GAIN, "lime": _A(0.90), "lime_crossfit": _A(0.90)}),
    # Three classes
    Situation("three classes, one predicted", ("nothing learned",),
              "Two networks say the same class of every image.",
              {name: _A(0.5, constant=0) for name in _GAIN}, classes=_THREE,
              others={"other": {name: _A(0.5, constant=2) for name in _GAIN}}),
    _gain("gain, three classes", "real gain", "Masks help, and no control does.", classes=_THREE),
    # Few images, other endpoints
    Situation("gain, few images", ("real gain",), "A gain of .25 shows on 60 test images.",
              {**_GAIN, "original": _A(0.70), "original_retrained": _A(0.70),
               "lime": _A(0.95), "lime_crossfit": _A(0.95), "random_mask": _A(0.65)},
              n_images=400, n_test=60, n_train=300.0),
    _gain("gain, sensitivity at a specificity of .9", "real gain", "An endpoint that is allowed.",
          metric="sensitivity_at_specificity_90",
          arms={**_GAIN, "original": _A(0.70), "original_retrained": _A(0.70),
                "lime": _A(0.92), "lime_crossfit": _A(0.92), "random_mask": _A(0.68)}),
)  # fmt: skip
