"""All arms, in the order of tables and presets, and what is derived from the list.

To add an arm, write a file like the others and append its arm to the list below; its place must
stay, since plans are identified by the order of their arms. An arm registered at run time
(`register`, `registered`) is known in this process alone: good for experiments in one process, not
for work that is sent to a cluster.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TypeVar, get_args

from osteo_ray.arms.arm import Arm, Preset
from osteo_ray.arms.cam_package import CAM_ARMS
from osteo_ray.arms.centre_mask import CENTRE_MASK
from osteo_ray.arms.class_agnostic import CLASS_AGNOSTIC
from osteo_ray.arms.complement import COMPLEMENT
from osteo_ray.arms.given_region import GIVEN_REGION
from osteo_ray.arms.gradcam import GRADCAM
from osteo_ray.arms.guided_activations import GUIDED_ACTIVATIONS
from osteo_ray.arms.guided_activations_random import GUIDED_ACTIVATIONS_RANDOM
from osteo_ray.arms.guided_gradients import GUIDED_GRADIENTS
from osteo_ray.arms.guided_gradients_random import GUIDED_GRADIENTS_RANDOM
from osteo_ray.arms.lime import LIME
from osteo_ray.arms.lime_box import LIME_BOX
from osteo_ray.arms.lime_crossfit import LIME_CROSSFIT
from osteo_ray.arms.lime_dilated import LIME_DILATED
from osteo_ray.arms.lime_true_label import LIME_TRUE_LABEL
from osteo_ray.arms.mean_mask import MEAN_MASK
from osteo_ray.arms.original import BASELINE
from osteo_ray.arms.original_retrained import ORIGINAL_RETRAINED
from osteo_ray.arms.other_image_mask import OTHER_IMAGE_MASK
from osteo_ray.arms.permuted_labels import PERMUTED_LABELS
from osteo_ray.arms.random_each_epoch import RANDOM_EACH_EPOCH
from osteo_ray.arms.random_mask import RANDOM_MASK
from osteo_ray.arms.random_other_area import RANDOM_OTHER_AREA
from osteo_ray.arms.random_region import RANDOM_REGION
from osteo_ray.arms.random_trained import RANDOM_TRAINED
from osteo_ray.arms.region_silhouette import REGION_SILHOUETTE
from osteo_ray.arms.roles import Baseline, Role
from osteo_ray.arms.silhouette import SILHOUETTE
from osteo_ray.arms.untrained_lime import UNTRAINED_LIME

_arms: dict[str, Arm] = {}
ARMS: Mapping[str, Arm] = MappingProxyType(_arms)
"""Every arm by its name; new ones come in through `register`."""
RoleT = TypeVar("RoleT", bound=Role)


def register(arm: Arm) -> None:
    """Add an arm: from now on it can be planned, run, judged and reported.

    Raises:
        ValueError: Its name is taken or cannot name a folder, or it is a second baseline.
    """
    presets = get_args(Preset)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", arm.name):
        raise ValueError(
            "Expected an arm's name to be lower-case letters, digits and underscores, but got "
            f"`{arm.name}`."
        )
    if arm.name in (*_arms, *presets):
        taken = "an arm" if arm.name in _arms else "a preset"
        raise ValueError(
            f"Expected a new name for an arm, but {taken} is called `{arm.name}` already. "
            "Choose another name."
        )
    if isinstance(arm.role, Baseline) and find_roles(_arms, Baseline):
        raise ValueError(f"Expected one baseline, but `{arm.name}` would be a second one.")
    _arms[arm.name] = arm


@contextmanager
def registered(arm: Arm) -> Iterator[Arm]:
    """Register an arm for the length of a `with` block.

    Raises:
        ValueError: See `register`.
    """
    register(arm)
    try:
        yield arm
    finally:
        del _arms[arm.name]


def find_roles(names: Iterable[str], kind: type[RoleT]) -> dict[str, RoleT]:
    """Return those of some arms that have a role, in the order given, with the role.

    Example:
        >>> list(find_roles(["original", "lime", "gradcam"], Baseline))
        ['original']
    """
    roles = ((name, _arms[name].role) for name in names)
    return {name: role for name, role in roles if isinstance(role, kind)}


def list_presets() -> dict[Preset, tuple[str, ...]]:
    """Return the names of the arms that each preset stands for.

    Example:
        >>> list_presets()["paper"]
        ('original', 'lime')
    """
    return {
        preset: tuple(name for name, arm in _arms.items() if preset in arm.presets)
        for preset in get_args(Preset)
    }


def label_arm(name: str) -> str:
    """Return the label of an arm for figures and tables; the name itself if it is unknown.

    Example:
        >>> label_arm("random_mask"), label_arm("of an older run")
        ('Random mask', 'of an older run')
    """
    return _arms[name].label if name in _arms else name


def label_kind(kind: str) -> str:
    """Return what a kind of mask is called, after the first arm that shows such masks.

    Example:
        >>> label_kind("lime"), label_kind("gradcam"), label_kind("of an older run")
        ('LIME', 'Grad-CAM', 'of an older run')
    """
    labels = (arm.label for arm in _arms.values() if arm.masks and arm.masks.kind == kind)
    return next(labels, kind).removesuffix(" mask")


def label_words(text: str) -> str:
    """Put the labels of arms in place of their names in a sentence, for pages.

    Example:
        >>> label_words("lime minus random_mask; the original images")
        'LIME mask minus Random mask; the original images'
    """
    names = "|".join(sorted(_arms, key=len, reverse=True))
    found = rf"(?<!kind )(?<![\w.`/-])({names})(?![\w-]| image)"
    return re.sub(found, lambda match: _arms[match[1]].label, text)


for _arm in (
    BASELINE,
    ORIGINAL_RETRAINED,
    LIME,
    LIME_CROSSFIT,
    LIME_TRUE_LABEL,
    RANDOM_MASK,
    OTHER_IMAGE_MASK,
    SILHOUETTE,
    CENTRE_MASK,
    MEAN_MASK,
    COMPLEMENT,
    GRADCAM,
    UNTRAINED_LIME,
    PERMUTED_LABELS,
    *CAM_ARMS,
    RANDOM_TRAINED,
    RANDOM_EACH_EPOCH,
    LIME_BOX,
    LIME_DILATED,
    RANDOM_OTHER_AREA,
    CLASS_AGNOSTIC,
    GUIDED_GRADIENTS,
    GUIDED_GRADIENTS_RANDOM,
    GUIDED_ACTIVATIONS,
    GUIDED_ACTIVATIONS_RANDOM,
    GIVEN_REGION,
    RANDOM_REGION,
    REGION_SILHOUETTE,
):
    register(_arm)
