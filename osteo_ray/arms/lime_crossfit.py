"""LIME masks out of fold, so that they cannot carry labels that their model has memorised."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Candidate

LIME_CROSSFIT = Arm(
    name="lime_crossfit",
    label="LIME mask, out of fold",
    shows="like `lime`, but no training image is explained by a model that was trained on it",
    purpose="shows whether masks carry memorised labels",
    role=Candidate(
        noun="LIME masks",
        precedence=1,
        if_only_lower_gains="LIME masks help only if the model that made them was trained on the "
        "labels of the images that it explains.",
    ),
    masks=MaskSource("fold"),
    presets=("controls", "full"),
    literature="Jethani et al. 2021",
)
