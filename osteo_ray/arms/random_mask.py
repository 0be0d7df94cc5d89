"""Random superpixels of the same area as the LIME mask."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.roles import CROP_PERFORMS_AS_WELL, Control

RANDOM_MASK = Arm(
    name="random_mask",
    label="Random mask",
    shows="random superpixels of exactly the same area × image",
    purpose="shows whether any cropping helps",
    role=Control(verdict="any crop", words=CROP_PERFORMS_AS_WELL, required="always"),
    in_grid=True,
    masks=MaskSource(kind="random"),
    presets=("controls", "demo", "full"),
    literature="Hooker et al. 2019",
)
