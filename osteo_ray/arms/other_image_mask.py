"""The LIME mask of another image: the right shape in the wrong place."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import CROP_PERFORMS_AS_WELL, Control

OTHER_IMAGE_MASK = Arm(
    name="other_image_mask",
    label="Mask of another image",
    shows="the LIME mask of another image × image",
    purpose="shows whether masks shaped like LIME's help wherever they lie",
    role=Control(verdict="any crop", words=CROP_PERFORMS_AS_WELL),
    masks=MaskSource(change="other_image"),
)
