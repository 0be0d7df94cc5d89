"""LIME masks of the true class, in the test too: an upper bound that cheats."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Oracle

LIME_TRUE_LABEL = Arm(
    name="lime_true_label",
    label="LIME mask, true label",
    shows="the LIME mask of the true class × image, on test images too",
    purpose="shows what leakage looks like; never a result",
    role=Oracle("the masks cannot be distinguished from masks that know the answer"),
    masks=MaskSource(target="true"),
    literature="Jethani et al. 2021",
)
