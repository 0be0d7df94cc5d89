"""The given region itself as the image: whoever drew it may have known the class."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Control

REGION_SILHOUETTE = Arm(
    name="region_silhouette",
    label="Silhouette of the region",
    shows="the given region alone, without the image",
    purpose="shows whether the outline of the given region gives the label away; needs `--regions`",
    role=Control(
        verdict="leakage",
        words="the outline of the given region alone predicts the label as well",
        required="always",
        if_better_than_baseline="the outline of the given region carries the label: it does better "
        "than the images",
    ),
    masks=MaskSource("given", kind="region"),
    view="silhouette",
    presets=("regions",),
)
