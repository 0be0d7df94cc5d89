"""LIME masks as in the paper: the model that explains an image may have trained on it."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Candidate

LIME = Arm(
    name="lime",
    label="LIME mask",
    shows="the first model's LIME mask of the predicted class × image",
    purpose="the paper's claim",
    role=Candidate(noun="LIME masks"),
    in_grid=True,
    masks=MaskSource(),
    presets=("paper", "controls", "demo", "full"),
    literature="Ribeiro et al. 2016",
)
