"""Settings of explanations."""

from typing import Annotated, Literal

from pydantic import Field
from tyro.conf import arg

from osteo_ray.base.settings import Settings

ExplainMethod = Literal["lime", "gradcam"]
Superpixels = Literal["quickshift", "slic", "felzenszwalb", "grid"]


class LimeSettings(Settings):
    """LIME masks; the defaults are those of the `lime` package, but for the mode."""

    mode: Literal["adaptive", "exact"] = Field(
        "adaptive",
        description="adaptive samples an image until its mask is stable; exact draws all samples, "
        "as the lime package does.",
    )
    samples: Annotated[int, arg(aliases=["--lime-samples"])] = Field(
        1000, ge=2, description="Perturbed images per explanation; in adaptive mode, at most."
    )
    stability: float = Field(
        0.92,
        gt=0,
        le=1,
        description="Expected overlap with another mask of the same image from which it is stable.",
    )
    top_k: int = Field(5, ge=1, description="Positive superpixels that a mask keeps.")
    batch_size: int = Field(16, ge=1, description="Perturbed images per forward pass.")
    fill: Literal["mean", "blur", "black"] = Field(
        "mean", description="What stands in for a superpixel that is switched off."
    )
    superpixels: Superpixels = Field(
        "quickshift", description="How an image is divided into superpixels."
    )
    n_superpixels: int = Field(
        50, ge=2, description="Superpixels, about; quickshift finds their number itself."
    )
    kernel_size: float = Field(4.0, gt=0, description="Quickshift's kernel width, pixels.")
    max_dist: float = Field(200.0, gt=0, description="Quickshift's cut-off.")
    ratio: float = Field(0.2, ge=0, le=1, description="Quickshift's weight of colour.")
    kernel_width: float = Field(0.25, gt=0, description="Width of the distance kernel.")
    alpha: float = Field(1.0, ge=0, description="Ridge penalty of the local model.")
