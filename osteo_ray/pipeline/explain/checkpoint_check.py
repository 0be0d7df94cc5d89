"""Find out on a worker whether a checkpoint holds a classifier that can be explained."""

import ray

from osteo_ray.base.errors import InputError
from osteo_ray.base.storage import Place
from osteo_ray.explain.settings import ExplainMethod


@ray.remote(num_cpus=1)
def check_checkpoint(path: Place, method: ExplainMethod) -> list[str]:
    """Load a checkpoint, where workers will; return what is wrong with it."""
    # Imported here: PyTorch takes seconds to import, and the driver does without it.
    from osteo_ray.models.checkpoint import describe_checkpoint
    from osteo_ray.models.classifier import load_classifier

    try:
        found = describe_checkpoint(path)
        classifier = load_classifier(
            path, found.model, n_classes=len(found.classes), image_size=found.image_size
        )
    except InputError as error:
        return [str(error)]
    if method == "lime":
        return []
    import numpy as np
    import torch

    from osteo_ray.explain.gradcam import compute_heatmaps

    blank = torch.zeros(1, 1, found.image_size, found.image_size)
    try:
        compute_heatmaps(classifier, blank, np.zeros(1, int))
    except ValueError as error:
        return [
            f"Expected a classifier that Grad-CAM can explain, but `{found.model}` in {path} "
            f"yields no feature map ({error}). Use --method lime."
        ]
    return []
