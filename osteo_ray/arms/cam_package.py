"""The class activation maps of the `grad-cam` package in the place of LIME, an arm per method."""

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.gradcam import GRADCAM
from osteo_ray.arms.roles import Reference
from osteo_ray.explain.explainers.cam_package import PACKAGE_CAMS

CAM_ARMS = tuple(
    Arm(
        name=cam.name,
        label=f"{cam.title} mask",
        shows=f"the {cam.title} region of the same area × image",
        purpose=GRADCAM.purpose,
        role=Reference(),
        masks=MaskSource(kind=cam.name),
        presets=(),
        literature=cam.literature,
    )
    for cam in PACKAGE_CAMS
)
"""They are in no preset, and are named on the command line as the explainers are."""
