"""Whether the LIME of osteo_ray equals the `lime` package, image by image, on the same samples."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from scipy.special import softmax

from benchmarks.devices import Device, share_gpus
from benchmarks.lime import Package, open_predict, read_images, start_worker
from osteo_ray.data.image_size import ImageSize
from osteo_ray.explain.settings import PACKAGE_SIZE_PX, LimeSettings
from osteo_ray.models.checkpoint import describe_checkpoint


@dataclass(frozen=True)
class Exactness:
    """How the explanations of one image by the package and by osteo_ray differ.

    Attributes:
        same_superpixels: Whether both found the same superpixels.
        weight_difference: Largest difference of a weight, both fitted to the samples and the
            predictions of the package.
        same_mask: Whether the masks from these weights are identical.
        probability_difference: Largest difference between the probabilities that the package
            predicts and those of our fast forward pass.
        same_mask_fast: Whether the masks are identical if we use our own predictions.
    """

    same_superpixels: bool
    weight_difference: float
    same_mask: bool
    probability_difference: float
    same_mask_fast: bool


def compare_with_package(
    data: str, checkpoint: Path, *, n_images: int, n_samples: int, device: Device = "cpu"
) -> Iterator[Exactness]:
    """Explain images with the package, and again with osteo_ray from the samples that it drew.

    Args:
        data: Path or URI of the images.
        checkpoint: File of the classifier.
        n_images: Number of images, taken at equal intervals from the set.
        n_samples: Perturbed images per explanation.
        device: Where both compute.
    """
    cpus = int(ray.cluster_resources()["CPU"])
    settings = LimeSettings(mode="exact", samples=n_samples).scale_to(
        ImageSize.square(PACKAGE_SIZE_PX)
    )
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        images = read_images(data, scratch, describe_checkpoint(checkpoint).image_size, n_images)
        options = (settings, scratch / "frozen", device)
        workers = [
            start_worker(_Comparer, 1, checkpoint, *options, gpus=share_gpus(device, cpus))
            for _ in range(cpus)
        ]
        pool = ray.util.ActorPool(workers)
        yield from pool.map(lambda worker, image: worker.compare.remote(image), list(images))


class _Comparer(Package):
    """A process that explains with the package, and checks ours against it."""

    def __init__(
        self,
        checkpoint: Path,
        n_threads: int,
        settings: LimeSettings,
        frozen: Path,
        device: Device,
    ) -> None:
        super().__init__(checkpoint, n_threads, 10, settings.samples, device)
        self._settings = settings
        self._predict = open_predict(checkpoint, n_threads, frozen, device)

    def compare(self, image: np.ndarray) -> Exactness:
        from lime.lime_image import LimeImageExplainer

        from osteo_ray.explain import local_model, perturbation
        from osteo_ray.explain.superpixels import find_superpixels

        class Recorder(LimeImageExplainer):
            def data_labels(self, *arguments: Any, **named: Any) -> Any:
                self.drawn = super().data_labels(*arguments, **named)
                return self.drawn

        recorder = Recorder(random_state=0)
        found = recorder.explain_instance(image, self._classify, **self._options)
        rows, predictions = recorder.drawn
        rows = rows.astype(np.uint8)
        label = int(found.top_labels[0])
        expected = np.zeros(rows.shape[1])
        for number, weight in found.local_exp[label]:
            expected[number] = weight
        mask = found.get_image_and_mask(label, positive_only=True, num_features=5, hide_rest=True)
        segments = find_superpixels(image, self._settings)
        fill = perturbation.fill_superpixels(image, segments, self._settings.fill)
        perturbable = perturbation.Perturbable(image, fill, segments, self._device)
        (logits,) = perturbation.predict_rows(self._predict, [(perturbable, rows)], 16)
        ours = softmax(logits, axis=1)
        masks, weights = [], []
        for targets in (predictions[:, label], ours[:, label]):
            model = local_model.fit_local_model(
                rows,
                targets,
                kernel_width=self._settings.kernel_width,
                alpha=self._settings.alpha,
                paired=False,
            )
            weights.append(model.weights)
            (kept,) = local_model.choose_masks(
                model, model.weights[None], self._settings.top_k, self._settings.selection
            )
            masks.append(kept[segments])
        return Exactness(
            same_superpixels=bool(np.array_equal(segments, found.segments)),
            weight_difference=float(np.abs(weights[0] - expected).max()),
            same_mask=bool(np.array_equal(masks[0], mask[1].astype(bool))),
            probability_difference=float(np.abs(ours - predictions).max()),
            same_mask_fast=bool(np.array_equal(masks[1], mask[1].astype(bool))),
        )
