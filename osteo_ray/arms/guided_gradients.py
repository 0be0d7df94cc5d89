"""Guidance by the loss: what lies outside the LIME region must not matter."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Candidate

GUIDED_GRADIENTS = Arm(
    name="guided_gradients",
    label="Guided gradients",
    shows="the images as they are, with a penalty on what matters outside the LIME region",
    purpose="shows whether it helps to be told where to look, with nothing hidden",
    role=Candidate(noun="guided gradients", precedence=-1),
    masks=MaskSource(),
    view="image",
    guidance="gradients",
    presets=("guidance",),
    literature="Ross et al. 2017",
)
