"""LIME for every class at once: where an image speaks for any of them."""

from dataclasses import replace

import numpy as np

from osteo_ray.data.notes import write_notes
from osteo_ray.explain.explainer import Explanation, LoadedClassifier, Request
from osteo_ray.explain.explainers.lime import Lime, list_notes

SOME_CLASSES = "not every class could be explained, and the mask is that of the others"


class LimeUnion(Lime):
    """The union of the LIME masks of all classes, which cannot depend on the predicted one.

    An explanation takes as many perturbed images per class as `lime` takes for one. A class that
    cannot be explained, as its probability is 0 whatever is shown, adds nothing to the union.
    """

    name = "lime_union"
    summary = "keeps the superpixels that speak most for any of the classes"

    def count_passes(self, n_classes: int) -> int:
        """Return the largest number of perturbed images of all classes."""
        return n_classes * self.settings.samples

    def _explain_one(self, classifier: LoadedClassifier, request: Request) -> Explanation:
        image = request.picture.image
        (logits,) = classifier.compute_logits(classifier.to_batch(image))
        found: list[Explanation] = []
        errors: list[ValueError] = []
        for number, rng in enumerate(request.rng.spawn(len(logits))):
            of_class = replace(request, explained_class=number, rng=rng)
            try:
                found.append(super()._explain_one(classifier, of_class))
            except ValueError as error:
                errors.append(error)
        if not found:
            raise errors[0]
        keep_mask = np.any([one.keep_mask for one in found], axis=0)
        stabilities = [one.figures["stability"] for one in found]
        notes = [*list_notes(keep_mask, found[0].figures["weights"], stabilities)]
        notes += [SOME_CLASSES] if errors else []
        figures = {
            "n_samples": sum(one.figures["n_samples"] for one in found),
            "local_fit": min(one.figures["local_fit"] for one in found),
            "stability": None if None in stabilities else min(stabilities),
            "unstable": any(one.figures["unstable"] for one in found),
            "note": write_notes(notes),
        }
        importance = np.max([one.importance for one in found], axis=0)
        explained_class = request.choose_class(classifier)
        return Explanation(keep_mask, importance, explained_class, figures, signed=True)
