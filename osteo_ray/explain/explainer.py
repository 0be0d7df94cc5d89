"""The interface of an explainer: an algorithm that marks where a classifier looks in an image.

An explainer is one class in one file; `docs/explainers.md` shows how to write one. Drivers build
explainers and send them to the workers, so their modules import PyTorch only when they compute.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.pixels import scale_pixels
from osteo_ray.explain.settings import LimeSettings

if TYPE_CHECKING:
    import torch

    from osteo_ray.models.classifier import Classifier
    from osteo_ray.models.forward import Predict


NOT_FINITE = "Expected finite logits, but the classifier gave NaN or an infinite number."
"""The `error` of an image for which a classifier does so."""


@dataclass(frozen=True)
class LoadedClassifier:
    """A trained classifier, ready to be explained.

    Attributes:
        module: The network, in evaluation mode, for explainers that look inside it.
        compute_logits: The fastest way to classify images: float32, (batch, 1, height, width), in
            [0, 1] → logits, float32, (batch, n_classes).
        device: The device on which both expect their images.
    """

    module: "Classifier"
    compute_logits: "Predict"
    device: "torch.device"

    def predict(self, images: "torch.Tensor") -> "torch.Tensor":
        """Return class probabilities.

        Args:
            images: float32, (batch, 1, height, width), in [0, 1], on the device.

        Returns:
            float64, (batch, n_classes), on the device.
        """
        return self.compute_logits(images).double().softmax(1)

    def to_batch(self, image: np.ndarray) -> "torch.Tensor":
        """Turn one image, uint8 or uint16, into a batch of one, float32 in [0, 1]."""
        import torch

        return scale_pixels(torch.from_numpy(image).to(self.device)[None, None])

    def predict_class(self, image: np.ndarray) -> int:
        """Return the number of the most probable class of an image, (height, width).

        Raises:
            ValueError: The classifier gave NaN or an infinite number.
        """
        (logits,) = self.compute_logits(self.to_batch(image))
        if not logits.isfinite().all():
            raise ValueError(NOT_FINITE)
        return int(logits.argmax())


@dataclass(frozen=True)
class Picture:
    """An image to explain. Its superpixels are found once, however many explainers use them.

    Attributes:
        image_id: The id of the image.
        digest: The digest of its content.
        image: uint8 or uint16, (height, width).
    """

    image_id: str
    digest: str
    image: np.ndarray
    _superpixels: dict[LimeSettings, np.ndarray | str] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def find_superpixels(self, settings: LimeSettings) -> np.ndarray:
        """Return the superpixel of each pixel: int64, (height, width), numbered from 0.

        Raises:
            ValueError: The image cannot be divided.
        """
        from osteo_ray.explain.superpixels import find_superpixels

        with self._lock:  # they may be asked for while another thread is finding them
            if settings not in self._superpixels:
                try:
                    self._superpixels[settings] = find_superpixels(self.image, settings)
                except ValueError as error:
                    self._superpixels[settings] = str(error)
            found = self._superpixels[settings]
        if isinstance(found, str):
            raise ValueError(found)
        return found


@dataclass(frozen=True)
class Request:
    """What an explainer is asked about one image.

    Attributes:
        picture: The image.
        rng: The source of all randomness. It depends on the image, the classifier, the seed and
            the name of the explainer, never on the images that are explained beside this one.
        area_px: How many pixels the mask is to keep. Explainers that choose the area themselves,
            as LIME does, ignore it.
        explained_class: The number of the class to explain, or None for the predicted class.
    """

    picture: Picture
    rng: np.random.Generator
    area_px: int
    explained_class: int | None = None

    def choose_class(self, classifier: LoadedClassifier) -> int:
        """Return the class to explain, which takes a forward pass if it is the predicted one."""
        if self.explained_class is not None:
            return self.explained_class
        return classifier.predict_class(self.picture.image)


@dataclass(frozen=True)
class Explanation:
    """What an explainer found in one image.

    Attributes:
        keep_mask: bool, (height, width); True where the image is kept.
        importance: (height, width); larger = more important for the explained class. A bool array
            ranks nothing: where it is True, all pixels are alike.
        explained_class: The number of the class that was explained.
        figures: Further columns of the image's row in the masks table, such as `n_samples`.
        signed: Whether an importance of 0 or less means that nothing speaks for the class there, as
            a weight of LIME does.
    """

    keep_mask: np.ndarray
    importance: np.ndarray
    explained_class: int
    figures: Mapping[str, Any] = field(default_factory=dict)
    signed: bool = False

    def find_peak(self) -> np.ndarray | None:
        """Return where the importance is largest: bool, (height, width), True there.

        That is one superpixel for LIME, and mostly one pixel for a heat map. None if the importance
        ranks nothing, or is signed and nowhere above 0.

        Example:
            >>> ranks = np.array([[0.1, 0.7], [0.7, 0.2]])
            >>> Explanation(ranks > 0.5, ranks, 1).find_peak().tolist()
            [[False, True], [True, False]]
            >>> Explanation(ranks > 0.5, ranks > 0.5, 1).find_peak()
        """
        largest = self.importance.max()
        if self.importance.dtype == bool or (self.signed and largest <= 0):
            return None
        peak: np.ndarray = self.importance == largest
        return peak


class Explainer(ABC):
    """An algorithm that explains single images. Subclasses write `_explain_one`.

    Attributes:
        name: The value of `--method`, and the kind of the masks that it makes, as tables and arms
            name it. A stored mask is recognised by this name and by the settings of its run, so an
            explainer that computes something else needs another name.
        summary: What a mask of this kind keeps, as half a sentence for `--help`.
        depends_on: The settings that determine its masks, beside the image and the classifier:
            `lime`, `seed`, `area`.

    Args:
        settings: The superpixels, the fill, the batch size, and what only LIME uses.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    depends_on: ClassVar[frozenset[str]] = frozenset({"lime", "seed", "area"})

    def __init__(self, settings: LimeSettings) -> None:
        self.settings = settings

    def count_passes(self, n_classes: int) -> int:
        """Return how many forward passes one explanation takes at most, about; by default 1."""
        return 1

    def explain(
        self, classifier: LoadedClassifier, requests: Sequence[Request]
    ) -> list[Explanation | ValueError]:
        """Explain images, each as if it were alone.

        Args:
            classifier: The classifier to explain.
            requests: The images, and what is asked about each.

        Returns:
            Per request, what was found, or why this image cannot be explained.

        Raises:
            ValueError: A request is not valid.
            RuntimeError: The explainer returned something other than a mask and importances of the
                size of the image.
        """
        for request in requests:
            _check_request(request)
        found = self._explain(classifier, requests)
        for request, one in zip(requests, found, strict=True):
            if isinstance(one, Explanation):
                self._check_found(one, request.picture.image.shape)
        return found

    def prepare(self, picture: Picture) -> None:
        """Find in an image what needs no classifier, for `explain` to use; by default, nothing.

        It is called on another thread, beside the forward passes for other images.
        """
        return

    def fill(self, picture: Picture) -> np.ndarray:
        """Return what stands where pixels are removed to measure faithfulness: by default, gray.

        Returns:
            The type and shape of the image.
        """
        return np.full_like(picture.image, picture.image.mean())

    def check_classifier(self, module: "Classifier", image_size: ImageSize) -> None:
        """Refuse a classifier that no image of which could be explained; by default, accept all.

        Args:
            module: The classifier, on the CPU, in evaluation mode.
            image_size: Height and width of the images.

        Raises:
            ValueError: The classifier lacks what the explainer needs.
        """
        return

    def _explain(
        self, classifier: LoadedClassifier, requests: Sequence[Request]
    ) -> list[Explanation | ValueError]:
        found: list[Explanation | ValueError] = []
        for request in requests:
            try:
                found.append(self._explain_one(classifier, request))
            except ValueError as error:
                found.append(error)
        return found

    @abstractmethod
    def _explain_one(self, classifier: LoadedClassifier, request: Request) -> Explanation:
        """Explain one image.

        Raises:
            ValueError: The image cannot be explained. The error is stored with the image, and the
                others are explained all the same.
        """

    def _check_found(self, found: Explanation, shape: tuple[int, ...]) -> None:
        keep_mask, importance = found.keep_mask, found.importance
        if keep_mask.dtype != bool or keep_mask.shape != shape or importance.shape != shape:
            raise RuntimeError(
                f"Expected the explainer `{self.name}` to return a bool keep-mask and importances "
                f"of shape {shape}, but got {keep_mask.dtype} {keep_mask.shape} and "
                f"{importance.shape}."
            )


def _check_request(request: Request) -> None:
    image = request.picture.image
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            "Expected a uint8 or uint16 image (height, width), but got "
            f"{image.dtype} {image.shape}."
        )
    if not 0 <= request.area_px <= image.size:
        raise ValueError(
            f"Expected an area of 0 .. {image.size} pixels to keep, but got {request.area_px}."
        )
