"""The pixels that LIME keeps most often, for all images alike."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import CROP_PERFORMS_AS_WELL, Control

MEAN_MASK = Arm(
    name="mean_mask",
    label="Mean mask",
    shows="the pixels that LIME keeps most often, the same for all images, × image",
    purpose="shows whether the usual place alone helps as much",
    role=Control(verdict="any crop", words=CROP_PERFORMS_AS_WELL),
    masks=MaskSource(change="mean"),
)
