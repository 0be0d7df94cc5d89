"""Find out on a worker whether a checkpoint holds a classifier that can be explained."""

import ray

from osteo_ray.base.errors import InputError
from osteo_ray.base.startup import importing
from osteo_ray.base.storage import Place
from osteo_ray.explain.explainer import Explainer


@ray.remote(num_cpus=1)
def check_checkpoint(path: Place, explainer: Explainer) -> list[str]:
    """Load a checkpoint as the workers will; return what is wrong with it."""
    # Imported here: PyTorch takes seconds to import, and the driver does not need it.
    with importing("timm"):
        from osteo_ray.models.checkpoint import describe_checkpoint
        from osteo_ray.models.classifier import load_classifier

    try:
        found = describe_checkpoint(path)
        classifier = load_classifier(
            path,
            found.model,
            n_classes=len(found.classes),
            image_size=found.image_size,
            code=found.code,
        )
    except InputError as error:
        return [str(error)]
    try:
        explainer.check_classifier(classifier, found.image_size)
    except ValueError as error:
        return [
            f"Expected a classifier that `{explainer.name}` can explain, but `{found.model}` in "
            f"{path} cannot be explained so: {error} Use --method lime."
        ]
    return []
