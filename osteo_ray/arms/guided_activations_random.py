"""The same penalty on random regions: does any guidance help?"""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Control

GUIDED_ACTIVATIONS_RANDOM = Arm(
    name="guided_activations_random",
    label="Guided activations, random",
    shows="the images as they are, with a penalty on features that change as the pixels "
    "outside the random superpixels of the same area are shuffled",
    purpose="shows whether any penalty of this kind helps, wherever it is",
    role=Control(
        verdict="any region",
        words="the same penalty on random regions performs as well",
        required="always",
    ),
    masks=MaskSource(kind="random"),
    view="image",
    guidance="activations",
    presets=("guidance",),
    literature="Shrestha et al. 2020",
)
