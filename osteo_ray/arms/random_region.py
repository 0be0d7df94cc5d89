"""Random masks of the area of the given region: the lower bound beside the upper one."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import CROP_PERFORMS_AS_WELL, Control

RANDOM_REGION = Arm(
    name="random_region",
    label="Random, area of the region",
    shows="random superpixels of exactly the area of the given region × image",
    purpose="shows what of the gain of `given_region` any crop of its area has; needs `--regions`",
    role=Control(verdict="any crop", words=CROP_PERFORMS_AS_WELL, required="always"),
    masks=MaskSource("given", kind="region", change="scattered"),
    presets=("regions",),
)
