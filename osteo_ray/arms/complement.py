"""What LIME removes: the label may be readable outside the region that it names."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import Control

COMPLEMENT = Arm(
    name="complement",
    label="Complement",
    shows="the part of the image that LIME removes",
    purpose="shows whether the label can be read outside the region",
    role=Control(
        verdict="shortcut outside the region",
        words="the part of the image that LIME removed predicts the label as well",
        if_as_good_as_baseline="the part of the image that LIME removed predicts the label as well "
        "as the whole image",
    ),
    in_grid=True,
    masks=MaskSource(change="complement"),
    literature="Hooker et al. 2019",
)
