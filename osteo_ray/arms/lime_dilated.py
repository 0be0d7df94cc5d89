"""The LIME mask, widened: what lies beside the region is shown as well."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Reference

LIME_DILATED = Arm(
    name="lime_dilated",
    label="Wider LIME mask",
    shows="the LIME mask, widened by 5 % of the longer side of the image, × image",
    purpose="shows whether a little of the surroundings helps",
    role=Reference(),
    masks=MaskSource(change="dilated"),
    literature="Sourget et al. 2024",
)
