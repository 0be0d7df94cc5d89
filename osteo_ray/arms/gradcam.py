"""Grad-CAM in the place of LIME."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Reference

GRADCAM = Arm(
    name="gradcam",
    label="Grad-CAM mask",
    shows="the Grad-CAM region of the same area × image",
    purpose="shows whether another explanation method does as much as LIME",
    role=Reference(),
    masks=MaskSource(kind="gradcam"),
    literature="Selvaraju et al. 2017",
)
