"""The settings of explanations."""

from typing import Annotated, Any, Literal

from pydantic import Field
from tyro.conf import arg

from osteo_ray.base.settings import Settings

Superpixels = Literal["quickshift", "slic", "felzenszwalb", "grid"]


class LimeSettings(Settings):
    """How LIME makes masks; all defaults except the mode are those of the `lime` package."""

    mode: Literal["adaptive", "exact"] = Field(
        "adaptive",
        description="adaptive samples an image until its mask is stable; exact draws all samples, "
        "as the lime package does.",
    )
    samples: Annotated[int, arg(aliases=["--lime-samples"])] = Field(
        1000,
        ge=2,
        description="Perturbed images per explanation; in adaptive mode, the upper limit.",
    )
    stability: float = Field(
        0.92,
        gt=0,
        le=1,
        description="A mask is stable once its expected overlap with another mask of the same "
        "image reaches this value.",
    )
    top_k: int = Field(5, ge=1, description="How many superpixels of positive weight a mask keeps.")
    batch_size: int = Field(16, ge=1, description="Perturbed images per forward pass.")
    fill: Literal["mean", "blur", "black"] = Field(
        "mean", description="What replaces a superpixel that is switched off."
    )
    superpixels: Superpixels = Field(
        "quickshift", description="How an image is divided into superpixels."
    )
    n_superpixels: int = Field(
        50, ge=2, description="Approximate number of superpixels; quickshift chooses its own."
    )
    kernel_size: float = Field(4.0, gt=0, description="Width of quickshift's kernel, in pixels.")
    max_dist: float = Field(200.0, gt=0, description="Cut-off distance of quickshift.")
    ratio: float = Field(0.2, ge=0, le=1, description="How much weight quickshift gives to colour.")
    kernel_width: float = Field(0.25, gt=0, description="Width of the distance kernel.")
    alpha: float = Field(1.0, ge=0, description="Ridge penalty of the local model.")

    def describe_superpixels(self) -> dict[str, Any]:
        """Return the settings that determine how an image is divided, by name."""
        names = {"superpixels", "n_superpixels", "kernel_size", "max_dist", "ratio"}
        return self.model_dump(mode="json", include=names)
