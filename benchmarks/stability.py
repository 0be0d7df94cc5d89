"""Whether `stability` is what it says: the expected overlap of a mask with a redraw."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import ray

from benchmarks.lime import open_predict, read_images, start_worker
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import measure_overlap, pack_mask
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.models.checkpoint import describe_checkpoint

if TYPE_CHECKING:
    from osteo_ray.models.forward import Predict

REDRAWS = 2
"""How often each image is explained again."""


@dataclass(frozen=True)
class Calibration:
    """The mask of one image, and what it was said to overlap by with its redraws.

    Attributes:
        told: The stability that was estimated; None if the samples were too few to say.
        stable: Whether the mask was called stable.
        seen: Intersection over union with each redraw: a mask of as many other samples.
        n_samples: How many those were.
        n_superpixels: Of the image.
    """

    told: float | None
    stable: bool
    seen: tuple[float, ...]
    n_samples: int
    n_superpixels: int


def bench_stability(
    data: str,
    checkpoint: Path,
    *,
    n_images: int,
    image_size: ImageSize | None,
    sharpness: float,
    settings: LimeSettings,
) -> Iterator[Calibration | str]:
    """Explain images, and again with as many other samples as the first explanation took.

    Args:
        data: Path or URI of the images.
        checkpoint: File of the classifier.
        n_images: Number of images, taken at equal intervals from the set.
        image_size: Height and width of the images; by default, that of the classifier.
        sharpness: What the logits are multiplied by, to make the classifier more certain.
        settings: Settings of LIME.

    Yields:
        What was found for each image, or why it could not be explained.
    """
    cpus = int(ray.cluster_resources()["CPU"])
    image_size = image_size or describe_checkpoint(checkpoint).image_size
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        images = read_images(data, scratch, image_size, n_images)
        options = (settings, sharpness, image_size, scratch / "frozen")
        workers = [start_worker(_Explainer, 1, checkpoint, *options) for _ in range(cpus)]
        pool = ray.util.ActorPool(workers)
        numbered = list(enumerate(images))
        yield from pool.map(lambda worker, image: worker.measure.remote(*image), numbered)


@dataclass(frozen=True)
class Summary:
    """What the images of a benchmark come to.

    Attributes:
        n_images: Images with a stability.
        n_unknown: Images whose stability is not known.
        n_superpixels: Mean over the images with a stability, as all that follows.
        n_samples: Mean.
        told: Mean stability.
        seen: Mean overlap with a redraw.
        error: Standard error of the difference of the two.
        n_stable: Images that were called stable.
        poor: Share of the redraws of these that overlap by less than 0.7; NaN if there are none.
    """

    n_images: int
    n_unknown: int
    n_superpixels: float
    n_samples: float
    told: float
    seen: float
    error: float
    n_stable: int
    poor: float


def summarize_calibration(found: Sequence[Calibration]) -> Summary:
    """Sum up images, at least two of which have a stability."""
    known = [one for one in found if one.told is not None]
    told = np.array([one.told for one in known], float)
    seen = np.array([np.mean(one.seen) for one in known])
    redraws = [overlap for one in known if one.stable for overlap in one.seen]
    return Summary(
        len(known),
        len(found) - len(known),
        float(np.mean([one.n_superpixels for one in known])),
        float(np.mean([one.n_samples for one in known])),
        float(told.mean()),
        float(seen.mean()),
        float((told - seen).std(ddof=1) / len(known) ** 0.5),
        sum(one.stable for one in known),
        float(np.mean([overlap < 0.7 for overlap in redraws])) if redraws else float("nan"),
    )


def measure_calibration(
    predict: "Predict", image: np.ndarray, settings: LimeSettings, *, seed: int
) -> Calibration | str:
    """Explain one image, and again with as many other samples as that took.

    Args:
        predict: The classifier, on the CPU.
        image: uint8, (height, width).
        settings: Of LIME.
        seed: Of the samples.

    Returns:
        What was found, or why the image could not be explained.
    """
    import torch

    from osteo_ray.explain.lime import LimeExplanation, explain_by_lime
    from osteo_ray.explain.superpixels import find_superpixels

    def explain(stream: int, settings: LimeSettings) -> LimeExplanation:
        (found,) = explain_by_lime(
            predict,
            [image],
            [segments],
            settings,
            rngs=[np.random.default_rng((seed, stream))],
            device=torch.device("cpu"),
        )
        if not isinstance(found, LimeExplanation):
            raise found
        return found

    try:
        segments = find_superpixels(image, settings)
        first = explain(0, settings)
        # As many samples, whatever they show. The ridge penalty is meant for all samples.
        changes = {
            "samples": first.n_samples,
            "alpha": settings.alpha * first.n_samples / settings.samples,
            "stability": 2.0,  # which no mask reaches
        }
        again = settings.model_copy(update=changes)
        masks = [pack_mask(explain(1 + n, again).keep_mask) for n in range(REDRAWS)]
    except ValueError as error:
        return str(error)
    mask = pack_mask(first.keep_mask)
    seen = tuple(measure_overlap(mask, other) for other in masks)
    return Calibration(
        first.stability, not first.unstable, seen, first.n_samples, len(first.weights)
    )


class _Explainer:
    """A process that explains."""

    def __init__(
        self,
        checkpoint: Path,
        n_threads: int,
        settings: LimeSettings,
        sharpness: float,
        image_size: ImageSize,
        frozen: Path,
    ) -> None:
        import torch

        torch.set_num_threads(n_threads)
        predict = open_predict(checkpoint, n_threads, frozen, size=image_size)
        self._predict = lambda images: predict(images) * sharpness
        self._settings = settings

    def measure(self, number: int, image: np.ndarray) -> Calibration | str:
        return measure_calibration(self._predict, image, self._settings, seed=number)
