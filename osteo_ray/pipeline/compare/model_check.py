"""Find out on a worker, before anything expensive starts, whether every model can be built."""

from collections.abc import Mapping, Sequence

import ray

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError
from osteo_ray.base.networks import is_timm_name
from osteo_ray.base.paths import PHANTOM
from osteo_ray.base.startup import importing
from osteo_ray.config.setup import SetupConfig
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.settings import Guidance
from osteo_ray.models.settings import TrainingSettings


def waits_for_check(config: SetupConfig) -> bool:
    """Tell whether images are read only when the models are known to work: reading may take hours.

    Phantoms are drawn meanwhile, since that is done in no time.
    """
    return config.data != PHANTOM


@ray.remote(num_cpus=1)
def check_models(
    weights: Mapping[str, str | None],
    image_size: ImageSize,
    guidances: Sequence[Guidance],
    training: TrainingSettings,
    codes: Mapping[str, str],
) -> list[str]:
    """Build each model once, train and penalise it as its trainings will; return what is wrong.

    Args:
        weights: For each model, its first weights as `build_classifier` takes them.
        image_size: Height and width of the images.
        guidances: The penalties of the planned arms.
        training: The settings of the trainings, of which one step is taken.
        codes: The text of the Python file of each model that has one.
    """
    # Imported here: PyTorch takes seconds to import, and the driver does not need it.
    with importing("timm"):
        from osteo_ray.models.classifier import build_classifier
        from osteo_ray.models.guidance import check_guidance
        from osteo_ray.models.hub import check_hubs
        from osteo_ray.models.rehearsal import rehearse_training
        from osteo_ray.models.timm_networks import check_network_size

    problems = []
    for name, file in weights.items():
        try:
            check_hubs([name] if file is None else [])
            if is_timm_name(name):
                check_network_size(name, image_size)
            classifier = build_classifier(
                name,
                n_classes=2,
                image_size=image_size,
                weights=file,
                seed=0,
                code=codes.get(name),
            )
            rehearse_training(classifier, name, training, image_size)
            for guidance in guidances:
                check_guidance(classifier, name, guidance, image_size)
        except InputError as error:
            problems.append(str(error))
    return problems


def list_guidances(arms: Sequence[str]) -> list[Guidance]:
    """List the penalties of some arms, each once."""
    found = (ARMS[arm].guidance for arm in arms)
    return list(dict.fromkeys(guidance for guidance in found if guidance))
