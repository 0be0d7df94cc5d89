"""The explainers, by name. `--method`, the kinds of mask, and the help texts come from here."""

import re

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.explain.explainer import Explainer
from osteo_ray.explain.explainers.cam_package import PACKAGE_CAMS
from osteo_ray.explain.explainers.gradcam import GradCam
from osteo_ray.explain.explainers.lime import Lime
from osteo_ray.explain.explainers.lime_union import LimeUnion
from osteo_ray.explain.explainers.random import RandomSuperpixels

_NAME = re.compile("[a-z][a-z0-9_]*")  # safe in the names of files and columns, and on a terminal
EXPLAINERS: dict[str, type[Explainer]] = {}


def register_explainer(explainer: type[Explainer]) -> type[Explainer]:
    """Make an explainer known by its name; usable as a decorator.

    Raises:
        ValueError: The name has other characters than a-z, 0-9 and _, or is taken.
    """
    if not _NAME.fullmatch(explainer.name):
        raise ValueError(
            "Expected the name of an explainer to be made of a-z, 0-9 and _, but got "
            f"`{explainer.name}`."
        )
    if EXPLAINERS.setdefault(explainer.name, explainer) is not explainer:
        raise ValueError(
            f"Expected a new name for {explainer.__name__}, but `{explainer.name}` is taken by "
            f"{EXPLAINERS[explainer.name].__name__}."
        )
    return explainer


def find_explainer(name: str) -> type[Explainer]:
    """Return the explainer of a name.

    Raises:
        InputError: There is no such explainer; the nearest name is suggested.
    """
    if name not in EXPLAINERS:
        raise InputError(
            f"Expected an explainer among {', '.join(EXPLAINERS)}, but got `{name}`."
            + suggest(name, EXPLAINERS)
        )
    return EXPLAINERS[name]


for _explainer in (Lime, RandomSuperpixels, GradCam, *PACKAGE_CAMS, LimeUnion):
    register_explainer(_explainer)
