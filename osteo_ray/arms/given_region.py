"""The region that was given with the image: what a perfect mask would gain."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Candidate

GIVEN_REGION = Arm(
    name="given_region",
    label="Given region",
    shows="the region that was given with the image × image",
    purpose="shows what a perfect mask would gain: the upper bound; needs `--regions`",
    role=Candidate(noun="given regions", precedence=-3),
    in_grid=True,
    masks=MaskSource("given", kind="region"),
    presets=("regions",),
)
