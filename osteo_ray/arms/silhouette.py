"""The mask itself as the image: a mask may give the label away by its outline."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Control

SILHOUETTE = Arm(
    name="silhouette",
    label="Silhouette",
    shows="the LIME mask alone, without the image",
    purpose="shows whether the outline of the mask gives the label away",
    role=Control(
        verdict="leakage",
        words="the outline of the mask alone predicts the label as well",
        required="always",
        if_better_than_baseline="the outline of the mask carries the label: it does better than "
        "the images",
    ),
    masks=MaskSource(),
    view="silhouette",
    presets=("controls", "demo", "full"),
    literature="Rong et al. 2022",
)
