"""Guidance by the loss: features must not depend on what lies outside the LIME region."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Candidate

GUIDED_ACTIVATIONS = Arm(
    name="guided_activations",
    label="Guided activations",
    shows="the images as they are, with a penalty on features that change as the pixels "
    "outside the LIME region are shuffled",
    purpose="shows whether it helps to be told where to look, with nothing hidden",
    role=Candidate(noun="guided activations", precedence=-2),
    masks=MaskSource(),
    view="image",
    guidance="activations",
    presets=("guidance",),
    literature="Viviano et al. 2021",
)
