"""Trained on random masks, tested on LIME masks: nothing can be learned from what LIME selects."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Control

RANDOM_TRAINED = Arm(
    name="random_trained",
    label="Random-trained",
    shows="random superpixels of the same area × image, drawn anew in each epoch, in training; the "
    "LIME mask × image in tests",
    purpose="shows whether a gain survives where the classifier cannot learn what the masks select",
    role=Control(
        verdict="leakage",
        words="a classifier that never trained on LIME masks does not have it: training on them "
        "teaches which parts are kept for which class",
        gain_must_survive=True,
    ),
    masks=MaskSource(),
    training_masks="random in each epoch",
    presets=("controls", "full"),
    literature="Jethani et al. 2021; Zheng et al. 2024",
)
