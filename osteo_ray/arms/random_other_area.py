"""Random masks of another image's area: not even the area tells the class."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import CROP_PERFORMS_AS_WELL, Control

RANDOM_OTHER_AREA = Arm(
    name="random_other_area",
    label="Random, other area",
    shows="random superpixels with the area of another image's LIME mask × image",
    purpose="shows whether cropping helps where the area of the mask says nothing either",
    role=Control(verdict="any crop", words=CROP_PERFORMS_AS_WELL),
    masks=MaskSource(change="redrawn"),
)
