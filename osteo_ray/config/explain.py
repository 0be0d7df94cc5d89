"""Settings of explaining a set."""

from typing import Any

from pydantic import Field, field_validator

from osteo_ray.base.paths import PHANTOM, locate_file
from osteo_ray.cluster.settings import SlotSettings
from osteo_ray.config.setup import SourceConfig
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.explain.settings import ExplainMethod, LimeSettings


class ExplainConfig(SourceConfig):
    """Explain each image of a set with one trained classifier."""

    data: str = Field(
        PHANTOM,
        description="Folder of images, with or without a subfolder per class; or whatever else "
        "`osteo-ray compare` takes.",
    )
    checkpoint: str | None = Field(
        None, description="File of the classifier: a model.safetensors that a training left."
    )
    method: ExplainMethod = Field(
        "lime",
        description="lime keeps the superpixels that speak most for the predicted class, gradcam "
        "the pixels of a Grad-CAM heat map.",
    )
    area: float = Field(
        0.2, gt=0, lt=1, description="With --method gradcam: share of an image that is kept."
    )
    seed: int = Field(0, ge=0, description="Of the samples that LIME draws.")
    max_reject_share: float = Field(
        0.1, ge=0, le=1, description="Share of unreadable images above which nothing is explained."
    )
    lime: LimeSettings = LimeSettings()
    resources: SlotSettings = SlotSettings()
    phantom: PhantomSettings = PhantomSettings()

    @field_validator("checkpoint")
    @classmethod
    def _locate_checkpoint(cls, checkpoint: str | None) -> str | None:
        return checkpoint and locate_file(checkpoint)

    def identity(self) -> dict[str, Any]:
        """Return the settings that determine the masks, beside the content of the checkpoint."""
        by_method = {"lime": {"seed", "lime"}, "gradcam": {"area"}}[self.method]
        by_data = {"phantom"} if self.data == PHANTOM else set()
        wanted = {"data", "method", "max_reject_share"} | by_method | by_data
        return self.model_dump(mode="json", include=wanted)
