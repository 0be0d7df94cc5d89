"""Find out on a worker, before anything expensive starts, whether every model can be built."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import ray

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError
from osteo_ray.base.networks import is_timm_name
from osteo_ray.base.paths import PHANTOM
from osteo_ray.base.startup import importing
from osteo_ray.config.setup import SetupConfig
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.settings import Guidance
from osteo_ray.explain.explainer import Explainer
from osteo_ray.explain.explainers.gradcam import CamExplainer
from osteo_ray.explain.registry import find_explainer
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.models.settings import TrainingSettings

if TYPE_CHECKING:
    from osteo_ray.models.classifier import Classifier


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
    explainers: Sequence[Explainer],
    n_classes: int,
) -> list[str]:
    """Build each model, train and penalise it as its trainings will; return what is wrong.

    Args:
        weights: For each model, its first weights as `build_classifier` takes them.
        image_size: Height and width of the images.
        guidances: The penalties of the planned arms.
        training: The settings of the trainings, of which one step is taken.
        codes: The text of the Python file of each model that has one.
        explainers: What makes the masks of the planned arms and cannot explain every network.
        n_classes: How many classes they are to tell.
    """
    # Imported here: PyTorch takes seconds to import, and the driver does not need it.
    with importing("timm"):
        from osteo_ray.models.classifier import build_classifier
        from osteo_ray.models.guidance import check_guidance
        from osteo_ray.models.hub import check_hubs
        from osteo_ray.models.own_networks import check_rebuilt
        from osteo_ray.models.rehearsal import rehearse_training
        from osteo_ray.models.timm_networks import check_network_size

    problems = []
    for name, file in weights.items():
        try:
            check_hubs([name] if file is None else [])
            if is_timm_name(name):
                check_network_size(name, image_size)
            build = partial(
                build_classifier,
                name,
                n_classes=n_classes,
                image_size=image_size,
                code=codes.get(name),
            )
            classifier = build(weights=file, seed=0)
            rehearse_training(classifier, name, training, image_size)
            if name in codes:
                check_rebuilt(classifier, build(weights="none", seed=1), name, image_size)
            for guidance in guidances:
                check_guidance(classifier, name, guidance, image_size)
            _check_explainers(classifier.eval(), name, explainers, image_size)
        except InputError as error:
            problems.append(str(error))
    return problems


def _check_explainers(
    classifier: "Classifier", name: str, explainers: Sequence[Explainer], image_size: ImageSize
) -> None:
    refused: dict[str, list[str]] = defaultdict(list)
    for explainer in explainers:
        try:
            explainer.check_classifier(classifier, image_size)
        except ValueError as error:
            refused[str(error)].append(f"`{explainer.name}`")
    for reason, methods in refused.items():
        raise InputError(
            f"Expected a network that {', '.join(methods)} can explain, as arms with such masks "
            f"ask, but `{name}` cannot be explained so: {reason} Leave these arms out, or choose "
            "another network or a larger --image-size."
        )


def list_guidances(arms: Sequence[str]) -> list[Guidance]:
    """List the penalties of some arms, each once."""
    found = (ARMS[arm].guidance for arm in arms)
    return list(dict.fromkeys(guidance for guidance in found if guidance))


def list_cams(arms: Iterable[str], settings: LimeSettings) -> list[Explainer]:
    """List the explainers that read a feature map and make the masks of some arms, each once."""
    found = (ARMS[arm].masks for arm in arms)
    kinds = dict.fromkeys(masks.kind for masks in found if masks and masks.teacher != "given")
    explainers = [find_explainer(kind)(settings) for kind in kinds]
    return [explainer for explainer in explainers if isinstance(explainer, CamExplainer)]
