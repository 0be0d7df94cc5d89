"""The same penalty on random regions: does any guidance help?"""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Control

GUIDED_GRADIENTS_RANDOM = Arm(
    name="guided_gradients_random",
    label="Guided gradients, random",
    shows="the images as they are, with a penalty on what matters outside the random "
    "superpixels of the same area",
    purpose="shows whether any penalty of this kind helps, wherever it is",
    role=Control(
        verdict="any region",
        words="the same penalty on random regions performs as well",
        required="always",
    ),
    masks=MaskSource(kind="random"),
    view="image",
    guidance="gradients",
    presets=("guidance",),
    literature="Shrestha et al. 2020",
)
