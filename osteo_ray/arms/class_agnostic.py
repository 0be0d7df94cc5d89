"""LIME masks that do not know the predicted class."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Reference

CLASS_AGNOSTIC = Arm(
    name="class_agnostic",
    label="LIME masks of all classes",
    shows="the union of the first model's LIME masks of all classes × image",
    purpose="shows whether masks help that cannot depend on the predicted class",
    role=Reference(),
    masks=MaskSource(kind="lime_union"),
    literature="Puli et al. 2024",
)
