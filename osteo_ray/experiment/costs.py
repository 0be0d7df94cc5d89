"""How much there is to compute for a comparison, and how long it takes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from osteo_ray.arms.arm import ARMS

TRAINING_COST = 3
"""A forward and a backward pass of one image, in forward passes."""


@dataclass(frozen=True)
class Parts:
    """Images per seed; on average, so not always whole."""

    train: float
    validation: float
    test: float


@dataclass(frozen=True)
class Work:
    """What is to be computed, for each model; passes are forward passes of one image.

    Attributes:
        n_models: Models.
        n_trainings: Trainings of a model.
        training_passes: Of one training, a training step counting as `TRAINING_COST`.
        n_explanations: Explanations by a model.
        explanation_passes: Of one explanation, at most.
    """

    n_models: int
    n_trainings: int
    training_passes: float
    n_explanations: int
    explanation_passes: int


@dataclass(frozen=True)
class Hours:
    """Time on a cluster."""

    training: float
    explaining: float


def count_parts(n_images: int, ratio: tuple[int, int, int], folds: int | None) -> Parts:
    """Divide a number of images as `data.splits` does, but for rounding and groups.

    Example:
        >>> count_parts(744, (7, 2, 1), None)
        Parts(train=520.8, validation=148.8, test=74.4)
        >>> count_parts(90, (7, 2, 1), 5)
        Parts(train=56.0, validation=16.0, test=18.0)
    """
    test = n_images * ratio[2] / sum(ratio) if folds is None else n_images / folds
    train = (n_images - test) * ratio[0] / (ratio[0] + ratio[1])
    return Parts(round(train, 6), round(n_images - test - train, 6), round(test, 6))


def count_work(
    *,
    n_models: int,
    n_seeds: int,
    arms: Sequence[str],
    parts: Parts,
    epochs: int,
    samples: int,
    crossfit_folds: int,
    protocol: str,
) -> Work:
    """Count trainings, explanations and their forward passes, at most.

    A training sees its images once per epoch, there and back, the validation images once per epoch
    and again at its end, as the test images. Beside the arms, the models are trained that explain
    images for them; arms of one teacher share its explanations. Trainings without one part of the
    training images count as whole ones.
    """
    training = epochs * (TRAINING_COST * parts.train + parts.validation)
    training += parts.validation + parts.test
    n_images = round(parts.train + parts.validation + parts.test)
    sources = [ARMS[arm].masks for arm in arms]
    teachers = {source.teacher for source in sources if source}
    n_trainings = len(arms)
    n_trainings += crossfit_folds if "fold" in teachers else 0
    n_trainings += "shuffled" in teachers
    n_trainings += protocol == "paper" and "original" in teachers
    jobs = {(source.teacher, source.target) for source in sources if source}
    explanations = n_images * len(jobs - {("fold", "predicted")})
    if "fold" in teachers:  # test and validation images have the explanations of `lime`
        explanations += round(parts.train) if ("original", "predicted") in jobs else n_images
    return Work(n_models, n_seeds * n_trainings, training, n_seeds * explanations, samples)


def estimate_hours(
    work: Work, rates: Mapping[str, float], *, trainings_at_once: int, workers: int, explainers: int
) -> Hours:
    """Turn work into hours, at most, as if nothing but forward passes took time.

    Args:
        work: Per model.
        rates: Per model, forward passes per second of one worker; all of one model count.
        trainings_at_once: How many fit on the cluster.
        workers: Per training; taken to be so many times as fast as one.
        explainers: Workers that explain at once.

    Raises:
        ValueError: A rate is missing or not positive.
    """
    if len(rates) != work.n_models or not all(rate > 0 for rate in rates.values()):
        raise ValueError(f"Expected {work.n_models} positive rates, but got {dict(rates)}.")
    one_s = {name: work.training_passes / rate / workers for name, rate in rates.items()}
    training_s = max(
        sum(one_s.values()) * work.n_trainings / trainings_at_once,
        max(one_s.values()),  # with room to spare, a training still takes its time
    )
    passes = work.n_explanations * work.explanation_passes
    explaining_s = sum(passes / rate for rate in rates.values()) / explainers
    return Hours(training_s / 3600, explaining_s / 3600)
