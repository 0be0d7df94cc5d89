"""The bounding box of the LIME mask: all of its detail goes, its place stays."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Reference

LIME_BOX = Arm(
    name="lime_box",
    label="Box of the LIME mask",
    shows="the bounding box of the LIME mask × image",
    purpose="shows whether it matters what the mask cuts out within its box",
    role=Reference(),
    masks=MaskSource(change="box"),
    literature="Sourget et al. 2024",
)
