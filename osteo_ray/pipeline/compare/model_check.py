"""Find out on a worker, before hours are spent, whether every model can be built."""

import ray

from osteo_ray.base.errors import InputError
from osteo_ray.config.setup import SetupConfig


@ray.remote(num_cpus=1)
def check_models(config: SetupConfig) -> list[str]:
    """Build each model once; return what is wrong with them."""
    # Imported here: PyTorch takes seconds to import, and the driver does without it.
    from osteo_ray.models.classifier import build_classifier

    problems = []
    for name in config.models:
        weights = config.weights_of(name)
        try:
            build_classifier(
                name, n_classes=2, image_size=config.image_size, weights=weights, seed=0
            )
        except InputError as error:
            problems.append(str(error))
    return problems
