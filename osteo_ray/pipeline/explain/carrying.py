"""How explainers that a user wrote reach the workers."""

import sys
from collections.abc import Iterable

import ray.cloudpickle

from osteo_ray.explain.explainer import Explainer


def carry_code(explainers: Iterable[Explainer]) -> None:
    """Have Ray send the code of explainers along, unless this package holds it.

    Workers could not import a module that lies beside the user's script.
    """
    for explainer in explainers:
        module = sys.modules[type(explainer).__module__]
        if module.__name__.partition(".")[0] != "osteo_ray":
            ray.cloudpickle.register_pickle_by_value(module)
