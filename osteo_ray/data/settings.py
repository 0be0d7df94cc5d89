"""Settings of synthetic knees, and the words that settings about images are made of."""

from typing import Literal, get_args

from pydantic import Field

from osteo_ray.base.settings import Settings

ConflictPolicy = Literal["drop", "majority", "keep"]
Background = Literal["black", "mean", "blur"]
View = Literal["image", "masked", "silhouette"]
CopyKind = Literal["exact", "reencoded", "resized", "brightness", "cropped", "mirrored", "rotated"]
COPY_KINDS: tuple[CopyKind, ...] = get_args(CopyKind)
USUAL_COPY_KINDS: tuple[CopyKind, ...] = ("exact", "reencoded", "resized")
"""What collections mostly hold."""


class PhantomSettings(Settings):
    """Synthetic knees, used where --data is phantom."""

    n_images: int = Field(160, ge=4, description="Images, copies included.")
    size_px: int = Field(96, ge=32, description="Width and height in pixels.")
    positive_share: float = Field(0.5, gt=0, lt=1, description="Share with osteoporosis.")
    duplicate_share: float = Field(0.2, ge=0, le=0.5, description="Share that copies another.")
    copy_kinds: tuple[CopyKind, ...] = Field(
        USUAL_COPY_KINDS, min_length=1, description="Ways in which copies are made, evenly."
    )
    conflict_share: float = Field(
        0.0, ge=0, le=1, description="Share of the copies that stand in the other class."
    )
    difficulty: float = Field(
        0.3, ge=0, le=1, description="0: seen by eye; 1: the classes do not differ."
    )
    nuisance: float = Field(
        0.5, ge=0, le=1, description="Strength of markers, letterboxes, exposure and noise."
    )
    seed: int = Field(0, ge=0, description="Which set of phantoms.")
