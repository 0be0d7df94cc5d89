"""The settings of explanations."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from osteo_ray.base.settings import OnCommandLine, Settings
from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.settings import Precision

Superpixels = Literal["quickshift", "slic", "felzenszwalb", "grid"]
Fill = Literal["mean", "blur", "black"] | Annotated[int, Field(ge=0, le=255)]
Target = Literal["probability", "log-odds"]
Selection = Literal["weights", "forward"]

PACKAGE_SIZE_PX = 224
"""Side of the images that the settings of the `lime` package suit."""
_PACKAGE_QUICKSHIFT = {"kernel_size": 4.0, "max_dist": 200.0, "ratio": 0.2}


class LimeSettings(Settings):
    """How LIME makes masks; all defaults except the mode are those of the `lime` package.

    The package's settings of quickshift are lengths in pixels, so they mean something else at each
    size of image. Here they hold for images of 224 pixels, and grow with the image unless they are
    given: see `scale_quickshift`.
    """

    mode: Literal["adaptive", "exact"] = Field(
        "adaptive",
        description="adaptive samples an image until its mask is stable; exact draws all samples, "
        "as the lime package does.",
    )
    samples: Annotated[int, OnCommandLine("--lime-samples")] = Field(
        1000,
        ge=2,
        description="Perturbed images per explanation; in adaptive mode, the upper limit.",
    )
    stability: float = Field(
        0.92,
        gt=0,
        le=1,
        description="A mask is stable once its overlap with a redraw, the mask that as many other "
        "samples would give, is expected to reach this value (intersection over union by area), "
        "and is expected to be poor, below 0.7, in at most 1 of 20 redraws.",
    )
    top_k: int = Field(5, ge=1, description="How many superpixels of positive weight a mask keeps.")
    batch_size: int | None = Field(
        None,
        ge=1,
        description="Perturbed images of one image per forward pass; by default 16 on a CPU and "
        "512 on a GPU.",
    )
    target: Target = Field(
        "probability",
        description="What the local model explains: the probability of the class, as the lime "
        "package does, or its log-odds, which no classifier is too certain for.",
    )
    selection: Selection = Field(
        "weights",
        description="Which superpixels a mask may keep: weights takes those of the largest weights "
        "in a model of all superpixels; forward adds one superpixel after the other to the model, "
        "each time the one that explains most, and keeps those that speak for the class, as the "
        "lime package does if it is called with num_features.",
    )
    fill: Fill = Field(
        "mean",
        description="What replaces a superpixel that is switched off: its mean, the blurred image, "
        "black, or a gray value of 0 to 255 (hide_color of the lime package).",
    )
    superpixels: Superpixels = Field(
        "quickshift", description="How an image is divided into superpixels."
    )
    n_superpixels: int = Field(
        50,
        ge=2,
        description="Approximate number of superpixels; quickshift chooses its own, and so does "
        "felzenszwalb, which makes more the larger this is.",
    )
    kernel_size: float | None = Field(
        None,
        gt=0,
        description="Width of quickshift's kernel, in pixels; by default 4 for images of 224 "
        "pixels, and in proportion for others.",
    )
    max_dist: float | None = Field(
        None,
        gt=0,
        description="Cut-off distance of quickshift, in pixels; by default 200 for images of 224 "
        "pixels, and in proportion for others.",
    )
    ratio: float | None = Field(
        None,
        ge=0,
        le=1,
        description="How much weight quickshift gives to gray values, beside distances in pixels; "
        "by default 0.2 for images of 224 pixels, and in proportion for others, up to 1.",
    )
    # Within these bounds, nothing that is computed from them is too large or small for a number.
    kernel_width: float = Field(0.25, ge=1e-6, le=1e6, description="Width of the distance kernel.")
    alpha: float = Field(1.0, ge=0, le=1e6, description="Ridge penalty of the local model.")

    precision: Precision = Field(
        "fp32",
        description="Numbers in which networks compute; bf16 and fp16 are refused where LIME masks "
        "overlap by less than 0.98 with those of fp32 on the same samples.",
    )

    @model_validator(mode="after")
    def _check_samples(self) -> Self:
        if self.superpixels in ("grid", "slic") and self.samples <= self.n_superpixels:
            raise ValueError(
                f"Expected more samples than superpixels, but got samples {self.samples} and "
                f"n_superpixels {self.n_superpixels}. Raise the one or lower the other."
            )
        return self

    def scale_to(self, image_size: ImageSize) -> Self:
        """Return the settings with numbers for all that depends on the size of the images.

        Args:
            image_size: Height and width of the images.
        """
        return self.model_copy(update=self.scale_quickshift(image_size))

    def scale_quickshift(self, image_size: ImageSize) -> dict[str, float]:
        """Return what quickshift is given, by name, for images of a size.

        Quickshift adds squared distances in pixels to squared differences of gray, times `ratio`.
        If the kernel, the cut-off and the ratio all grow with the longer side of an image, the
        image that is scaled up by as much is divided in the same way.

        Args:
            image_size: Height and width of the images.
        """
        factor = image_size.longer_px / PACKAGE_SIZE_PX
        scaled = {name: value * factor for name, value in _PACKAGE_QUICKSHIFT.items()}
        # The bounds of scikit-image: they are reached below 56 pixels and above 1120.
        scaled["kernel_size"] = max(1.0, scaled["kernel_size"])
        scaled["ratio"] = min(1.0, scaled["ratio"])
        given = {name: value for name in scaled if (value := getattr(self, name)) is not None}
        return scaled | given

    def describe_masks(self) -> dict[str, Any]:
        """Return the settings by which masks are stored, by name.

        Those that came later are left out where they do what was done before, so that the masks of
        an earlier run are found. The size of a batch is among them: the last digits of what PyTorch
        computes for a row depend on the rows beside it. (On a CPU, OpenVINO takes larger networks
        one row at a time, but which network is that large is known to workers only.)
        """
        added = {"target": "probability", "selection": "weights", "precision": "fp32"}
        settings = self.model_dump(mode="json")
        return {name: value for name, value in settings.items() if added.get(name) != value}

    def choose_batch_size(self, device: str) -> int:
        """Return the images per forward pass on a class of device, `cpu` or `cuda`."""
        return self.batch_size or (16 if device == "cpu" else 512)

    def describe_superpixels(self) -> dict[str, Any]:
        """Return the settings that determine how an image is divided, by name."""
        names = {"superpixels", "n_superpixels", "kernel_size", "max_dist", "ratio"}
        return self.model_dump(mode="json", include=names)
