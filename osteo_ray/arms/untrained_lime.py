"""LIME masks of a model that knows nothing."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Reference

UNTRAINED_LIME = Arm(
    name="untrained_lime",
    label="LIME mask, untrained",
    shows="the LIME mask of an untrained model × image",
    purpose="shows whether it matters what the explained model has learned",
    role=Reference(),
    masks=MaskSource("untrained"),
    literature="Adebayo et al. 2018",
)
