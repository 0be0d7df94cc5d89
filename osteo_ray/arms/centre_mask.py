"""One fixed central square for all images."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import CROP_PERFORMS_AS_WELL, Control

CENTRE_MASK = Arm(
    name="centre_mask",
    label="Centre mask",
    shows="a central square of the LIME masks' mean area, the same for all images, × image",
    purpose="shows whether a fixed crop helps as much",
    role=Control(verdict="any crop", words=CROP_PERFORMS_AS_WELL),
    masks=MaskSource(change="centre"),
)
