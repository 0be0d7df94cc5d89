"""Find out on a worker, before anything expensive starts, whether every model can be built."""

from collections.abc import Mapping

import ray

from osteo_ray.base.errors import InputError


@ray.remote(num_cpus=1)
def check_models(weights: Mapping[str, str | None], image_size: int) -> list[str]:
    """Build each model once; return what is wrong with them.

    Args:
        weights: For each model, its first weights as `build_classifier` takes them.
        image_size: Side of the images, in pixels.
    """
    # Imported here: PyTorch takes seconds to import, and the driver does not need it.
    from osteo_ray.models.classifier import build_classifier

    problems = []
    for name, file in weights.items():
        try:
            build_classifier(name, n_classes=2, image_size=image_size, weights=file, seed=0)
        except InputError as error:
            problems.append(str(error))
    return problems
