"""The settings of `osteo-ray explain`."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from osteo_ray.base.errors import InputError
from osteo_ray.base.paths import PHANTOM, locate_file
from osteo_ray.base.settings import OnCommandLine
from osteo_ray.cluster.settings import SlotSettings
from osteo_ray.config.setup import SourceConfig
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.explain.registry import EXPLAINERS, find_explainer
from osteo_ray.explain.settings import LimeSettings


class ExplainConfig(SourceConfig):
    """Explain each image of a set with one trained classifier."""

    data: str = Field(
        PHANTOM,
        description="Folder of images, with or without a subfolder per class; or anything else "
        "that `osteo-ray compare` accepts.",
    )
    checkpoint: str | None = Field(
        None, description="File of the classifier: a model.safetensors that a training wrote."
    )
    method: Annotated[str, OnCommandLine(choices=tuple(EXPLAINERS))] = Field(
        "lime",
        description="How masks are made: "
        + "; ".join(f"{name} {one.summary}" for name, one in EXPLAINERS.items())
        + ".",
    )
    area: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Share of each image that a mask keeps; LIME chooses the area itself.",
    )
    seed: int = Field(0, ge=0, description="Seed of the random numbers that explainers use.")
    max_reject_share: float = Field(
        0.1, ge=0, le=1, description="Explain nothing if more than this share cannot be read."
    )
    lime: LimeSettings = LimeSettings()
    run_code: bool = Field(
        False,
        description="Run the code that the checkpoint brings along, if its network is one from a "
        "Python file. Do so only if you trust its origin.",
    )
    resources: SlotSettings = SlotSettings()
    phantom: PhantomSettings = PhantomSettings()

    @field_validator("checkpoint")
    @classmethod
    def _locate_checkpoint(cls, checkpoint: str | None) -> str | None:
        return checkpoint and locate_file(checkpoint)

    @field_validator("method")
    @classmethod
    def _check_method(cls, method: str) -> str:
        try:
            return find_explainer(method).name
        except InputError as error:
            raise ValueError(str(error)) from None

    def identity(self) -> dict[str, Any]:
        """Return the settings that determine the masks, beside the content of the checkpoint.

        The precision is among them for every method, as the predicted class and the faithfulness
        depend on it. It is left out at 32 bits, so that sets of earlier versions are found.
        """
        by_method = find_explainer(self.method).depends_on
        by_data = {"phantom"} if self.data == PHANTOM else set()
        wanted = {"data", "method", "max_reject_share"} | by_method | by_data
        found = self.model_dump(mode="json", include=wanted)
        if "lime" in wanted:
            return found | {"lime": self.lime.describe_masks()}
        precision = self.lime.precision
        return found | ({} if precision == "fp32" else {"lime.precision": precision})
