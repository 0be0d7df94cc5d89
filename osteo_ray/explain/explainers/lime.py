"""LIME (Ribeiro et al. 2016): the superpixels that speak most for a class."""

import numpy as np

from osteo_ray.explain.explainer import Explainer, Explanation, LoadedClassifier, Picture, Request


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

    def fill(self, picture: Picture) -> np.ndarray:
        """Return what stands where a superpixel is switched off: uint8, (height, width)."""
        from osteo_ray.explain.perturbation import fill_superpixels

        segments = picture.find_superpixels(self.settings)
        return fill_superpixels(picture.image, segments, self.settings.fill)

    def _explain_one(self, classifier: LoadedClassifier, request: Request) -> Explanation:
        from osteo_ray.explain.lime import explain_by_lime

        segments = request.picture.find_superpixels(self.settings)
        target = request.explained_class
        (found,) = explain_by_lime(
            classifier.predict,
            [request.picture.image],
            [segments],
            self.settings,
            rngs=[request.rng],
            device=classifier.device,
            targets=None if target is None else [target],
        )
        if isinstance(found, ValueError):
            raise found
        figures = {
            "weights": found.weights.tolist(),
            "n_samples": found.n_samples,
            "local_fit": found.local_fit,
            "stability": found.stability,
            "unstable": found.stability < self.settings.stability,
        }
        importance = found.weights[segments]
        return Explanation(found.keep_mask, importance, found.explained_class, figures)
