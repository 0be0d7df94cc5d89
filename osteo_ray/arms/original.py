"""The images as they are."""

from osteo_ray.arms.arm import ORIGINAL, Arm
from osteo_ray.arms.roles import Baseline

BASELINE = Arm(
    name=ORIGINAL,
    label="Original",
    shows="the images as they are",
    purpose="the baseline that the other arms are compared with",
    role=Baseline(),
    view="image",
    in_grid=True,
    presets=("paper", "controls", "demo", "full", "guidance", "regions"),
)
