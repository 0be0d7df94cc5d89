"""LIME (Ribeiro et al. 2016): the superpixels that speak most for a class."""

from collections.abc import Iterator, Sequence

import numpy as np

from osteo_ray.data.notes import write_notes
from osteo_ray.explain.explainer import Explainer, Explanation, LoadedClassifier, Picture, Request

NO_SUPERPIXEL = "no superpixel speaks for the class, so the mask keeps nothing"
TOO_FEW_SAMPLES = "too few samples for its superpixels to tell how stable the mask is"
FEW_SUPERPIXELS = "the image has fewer than 10 superpixels"
MOST_OF_IMAGE = "the mask keeps more than half of the image"
_FEW = 10


class Lime(Explainer):
    """Superpixels of the largest positive weights in a local linear model; `explain.lime` fits it.

    The number of superpixels is a setting, so the area of a mask is LIME's own choice.
    """

    name = "lime"
    summary = "keeps the superpixels that speak most for the predicted class"
    depends_on = frozenset({"lime", "seed"})

    def count_passes(self, n_classes: int) -> int:
        """Return the largest number of perturbed images."""
        return self.settings.samples

    def prepare(self, picture: Picture) -> None:
        """Find the superpixels of an image."""
        picture.find_superpixels(self.settings)

    def fill(self, picture: Picture) -> np.ndarray:
        """Return what stands where a superpixel is switched off, of the shape of the image."""
        from osteo_ray.explain.perturbation import fill_superpixels

        segments = picture.find_superpixels(self.settings)
        return fill_superpixels(picture.image, segments, self.settings.fill)

    def _explain_one(self, classifier: LoadedClassifier, request: Request) -> Explanation:
        from osteo_ray.explain.lime import explain_by_lime

        segments = request.picture.find_superpixels(self.settings)
        target = request.explained_class
        (found,) = explain_by_lime(
            classifier.compute_logits,
            [request.picture.image],
            [segments],
            self.settings,
            rngs=[request.rng],
            device=classifier.device,
            targets=None if target is None else [target],
        )
        if isinstance(found, ValueError):
            raise found
        notes = list_notes(found.keep_mask, found.weights.tolist(), [found.stability])
        figures = {
            "weights": found.weights.tolist(),
            "n_samples": found.n_samples,
            "local_fit": found.local_fit,
            "stability": found.stability,
            "unstable": found.unstable,
            "note": write_notes(notes),
        }
        importance = found.weights[segments]
        return Explanation(found.keep_mask, importance, found.explained_class, figures, signed=True)


def list_notes(
    keep_mask: np.ndarray, weights: Sequence[float], stabilities: Sequence[float | None]
) -> Iterator[str]:
    """Say what must be known of a LIME mask beside its figures.

    Args:
        keep_mask: bool, (height, width).
        weights: Those of all superpixels.
        stabilities: Of the masks that it was made of; None where it is not known.
    """
    if not keep_mask.any():
        yield NO_SUPERPIXEL
    if None in stabilities:
        yield TOO_FEW_SAMPLES
    if len(weights) < _FEW:
        yield FEW_SUPERPIXELS
    if keep_mask.mean() > 0.5:
        yield MOST_OF_IMAGE
