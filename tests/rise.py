"""RISE (Petsiuk et al. 2018), an explainer that is not part of the package."""

import numpy as np
import torch
from torch.nn.functional import interpolate

from osteo_ray.explain.explainer import LoadedClassifier
from osteo_ray.explain.heatmap_explainer import HeatmapExplainer


class Rise(HeatmapExplainer):
    """The mean of random masks, weighed by how probable the class is in what each one leaves."""

    name = "rise"
    summary = "keeps the hottest pixels of a RISE heat map"
    depends_on = frozenset({"seed", "area"})
    n_masks, n_cells, share = 64, 7, 0.5

    def _draw_heatmap(
        self,
        classifier: LoadedClassifier,
        image: np.ndarray,
        explained_class: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        grids = rng.random((self.n_masks, 1, self.n_cells, self.n_cells)) < self.share
        masks = torch.from_numpy(grids.astype(np.float32)).to(classifier.device)
        masks = interpolate(masks, image.shape, mode="bilinear", align_corners=False)
        scores = classifier.predict(classifier.to_batch(image) * masks)[:, explained_class]
        heatmap = (scores[:, None, None] * masks[:, 0]).mean(0) / self.share
        return np.asarray(heatmap.cpu())
