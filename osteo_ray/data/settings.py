"""Settings of synthetic knees, and the words that other settings about images use."""

from typing import Literal, get_args

from pydantic import Field

from osteo_ray.base.settings import Settings

SplitKind = Literal["grouped", "random", "given", "site"]
ConflictPolicy = Literal["drop", "majority", "keep"]
Background = Literal["black", "mean", "blur", "imputed"]
BACKGROUNDS: dict[Background, str] = {
    "black": "black",
    "mean": "the mean of the image",
    "blur": "the blurred image",
    "imputed": "what their neighbours suggest, with a little noise,",
}
"""What fills the pixels that a mask removes, in words."""
UnexplainedRule = Literal["borrowed", "whole"]
View = Literal["image", "masked", "silhouette"]
Guidance = Literal["gradients", "activations"]
CopyKind = Literal["exact", "reencoded", "resized", "brightness", "cropped", "mirrored", "rotated"]
COPY_KINDS: tuple[CopyKind, ...] = get_args(CopyKind)
USUAL_COPY_KINDS: tuple[CopyKind, ...] = ("exact", "reencoded", "resized")
"""The kinds that collections mostly hold."""


class PhantomSettings(Settings):
    """Synthetic knees, drawn when --data is phantom."""

    n_images: int = Field(160, ge=4, le=10**6, description="Number of images, copies included.")
    size_px: int = Field(96, ge=32, le=4096, description="Width and height in pixels.")
    positive_share: float = Field(0.5, gt=0, lt=1, description="Share labelled osteoporosis.")
    duplicate_share: float = Field(0.2, ge=0, le=0.5, description="Share that are copies.")
    copy_kinds: tuple[CopyKind, ...] = Field(
        USUAL_COPY_KINDS, min_length=1, description="Kinds of copies, equally likely."
    )
    conflict_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the copies that lie in the other class.",
    )
    difficulty: float = Field(
        0.3,
        ge=0,
        le=1,
        description="0: told by eye; 1: the classes do not differ.",
    )
    nuisance: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Strength of markers, letterboxes, exposure and noise.",
    )
    clutter: float = Field(
        0.0,
        ge=0,
        le=1,
        description="How much bone, as thin in either class, covers all but the joint.",
    )
    bilateral: bool = Field(
        False, description="Show two knees side by side, of which one has the label."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the set.")

    @property
    def n_classes(self) -> int:
        """How many classes there are; see `Source.n_classes`."""
        return 2
