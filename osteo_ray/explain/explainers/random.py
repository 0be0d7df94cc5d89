"""Random superpixels: a control that knows nothing of the classifier."""

from osteo_ray.explain.explainer import Explainer, Explanation, LoadedClassifier, Picture, Request


class RandomSuperpixels(Explainer):
    """Random superpixels of exactly the wanted area."""

    name = "random"
    summary = "keeps random superpixels, as a control"

    def count_passes(self, n_classes: int) -> int:
        """Return 0: nothing is classified."""
        return 0

    def prepare(self, picture: Picture) -> None:
        """Find the superpixels of an image."""
        picture.find_superpixels(self.settings)

    def _explain_one(self, classifier: LoadedClassifier, request: Request) -> Explanation:
        from osteo_ray.data.masks import cover_area

        segments = request.picture.find_superpixels(self.settings)
        keep_mask = cover_area(segments, request.area_px, request.rng)
        return Explanation(keep_mask, keep_mask, request.choose_class(classifier))
