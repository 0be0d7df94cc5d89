"""Whether masks from fewer samples are as good as those of `lime`, given its own randomness."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import ray
import scipy.stats

from benchmarks.devices import Device, share_gpus
from benchmarks.lime import open_predict, read_images, start_worker
from osteo_ray.data.masks import measure_overlap, pack_mask
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.models.checkpoint import describe_checkpoint

if TYPE_CHECKING:
    import torch

    from osteo_ray.models.forward import Predict


@dataclass(frozen=True)
class Adapted:
    """An adaptive mask of one image.

    Attributes:
        n_samples: Perturbed images that were classified.
        stable: Whether the mask reached the stability that was asked for.
        overlap: Mean intersection over union with the two exact masks of the image.
    """

    n_samples: int
    stable: bool
    overlap: float


@dataclass(frozen=True)
class Fidelity:
    """The masks of one image.

    Attributes:
        exact: Intersection over union of two exact masks, which differ only in their seeds.
        adaptive: The adaptive mask for each stability.
    """

    exact: float
    adaptive: tuple[Adapted, ...]


def bench_fidelity(
    data: str,
    checkpoint: Path,
    stabilities: Sequence[float],
    *,
    n_images: int,
    settings: LimeSettings,
    device: Device = "cpu",
) -> Iterator[Fidelity]:
    """Explain images exactly, twice, and adaptively; yield the overlaps of the masks.

    Exact masks equal those of `lime` (`python -m benchmarks exactness`), so the overlap of two of
    them shows how much the masks of the package vary with the seed.

    Args:
        data: Path or URI of the images.
        checkpoint: File of the classifier.
        stabilities: Stabilities at which the adaptive mode stops.
        n_images: Number of images, taken at equal intervals from the set.
        settings: Settings of LIME; `samples` is the number for exact masks, and the maximum for
            adaptive ones.
        device: Where to compute.
    """
    cpus = int(ray.cluster_resources()["CPU"])
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        images = read_images(data, scratch, describe_checkpoint(checkpoint).image_size, n_images)
        options = (settings, tuple(stabilities), scratch / "frozen", device)
        gpus = share_gpus(device, cpus)
        workers = [
            start_worker(_Explainer, 1, checkpoint, *options, gpus=gpus) for _ in range(cpus)
        ]
        pool = ray.util.ActorPool(workers)
        numbered = list(enumerate(images))
        yield from pool.map(lambda worker, image: worker.measure.remote(*image), numbered)


def measure_fidelity(
    predict: "Predict",
    image: np.ndarray,
    settings: LimeSettings,
    stabilities: Sequence[float],
    *,
    seed: int,
    device: Device = "cpu",
) -> Fidelity:
    """Explain one image exactly, twice, and adaptively to some stabilities.

    All adaptive masks draw the same samples, and differ in when they stop.

    Args:
        predict: The classifier.
        image: uint8, (height, width).
        settings: Of LIME.
        stabilities: At which the adaptive mode ends.
        seed: Of the samples.
        device: On which the classifier computes.
    """
    import torch

    from osteo_ray.explain.lime import LimeExplanation, explain_by_lime
    from osteo_ray.explain.superpixels import find_superpixels

    segments = find_superpixels(image, settings)

    def explain(predict: "Predict", stream: int, **changes: object) -> LimeExplanation:
        (found,) = explain_by_lime(
            predict,
            [image],
            [segments],
            settings.model_copy(update=changes),
            rngs=[np.random.default_rng((seed, stream))],
            device=torch.device(device),
        )
        if not isinstance(found, LimeExplanation):
            raise found
        return found

    exact = [pack_mask(explain(predict, stream, mode="exact").keep_mask) for stream in (0, 1)]
    remembered = _Memory(predict)
    adaptive = []
    for stability in stabilities:
        found = explain(remembered, 2, mode="adaptive", stability=stability)
        mask = pack_mask(found.keep_mask)
        overlap = float(np.mean([measure_overlap(mask, other) for other in exact]))
        adaptive.append(Adapted(found.n_samples, not found.unstable, overlap))
    return Fidelity(measure_overlap(*exact), tuple(adaptive))


@dataclass(frozen=True)
class Margin:
    """What the masks of all images come to, for one stability.

    Attributes:
        n_samples: Mean per image.
        unstable: Share of images whose masks never became so stable.
        overlap: Mean, with exact masks.
        difference: From the mean overlap of two exact masks; below 0 the adaptive mode is worse.
        low, high: 95 % interval of the difference, by Student's t over images.
    """

    n_samples: float
    unstable: float
    overlap: float
    difference: float
    low: float
    high: float


def weigh(images: Sequence[Fidelity]) -> list[Margin]:
    """Sum up the masks of at least two images, per stability."""
    margins = []
    for masks in zip(*(image.adaptive for image in images), strict=True):
        differences = [
            mask.overlap - image.exact for mask, image in zip(masks, images, strict=True)
        ]
        low, high = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
        margins.append(
            Margin(
                float(np.mean([mask.n_samples for mask in masks])),
                float(np.mean([not mask.stable for mask in masks])),
                float(np.mean([mask.overlap for mask in masks])),
                float(np.mean(differences)),
                float(low),
                float(high),
            )
        )
    return margins


class _Memory:
    """A classifier that classifies no image twice."""

    def __init__(self, predict: "Predict") -> None:
        self._predict = predict
        self._known: dict[bytes, torch.Tensor] = {}

    def __call__(self, images: "torch.Tensor") -> "torch.Tensor":
        import torch

        keys = [blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in images]
        new = [row for row, key in enumerate(keys) if key not in self._known]
        if new:
            found = self._predict(images[new])
            self._known.update({keys[row]: found[at] for at, row in enumerate(new)})
        return torch.stack([self._known[key] for key in keys])


class _Explainer:
    """A process that measures."""

    def __init__(
        self,
        checkpoint: Path,
        n_threads: int,
        settings: LimeSettings,
        stabilities: Sequence[float],
        frozen: Path,
        device: Device,
    ) -> None:
        from osteo_ray.models.training import make_deterministic

        make_deterministic(n_threads)
        self._predict = open_predict(checkpoint, n_threads, frozen, device)
        self._settings, self._stabilities, self._device = settings, stabilities, device

    def measure(self, number: int, image: np.ndarray) -> Fidelity:
        return measure_fidelity(
            self._predict,
            image,
            self._settings,
            self._stabilities,
            seed=number,
            device=self._device,
        )
