"""What is to be explained, and what is explained already. Free of Ray and of PyTorch."""

from dataclasses import dataclass
from pathlib import Path

from osteo_ray.runs import MASKS, read_parts


@dataclass(frozen=True)
class Explainable:
    """A trained classifier whose view of the images is wanted.

    Attributes:
        model: timm name.
        seed: Of its training.
        checkpoint: File of its parameters.
        masks: Directory to which the masks go.
        heatmaps: Directory to which Grad-CAM heat maps go.
        heatmap_ids: Images of which a heat map is wanted.
        done: Images whose masks are there already.
    """

    model: str
    seed: int
    checkpoint: Path
    masks: Path
    heatmaps: Path
    heatmap_ids: frozenset[str] = frozenset()
    done: frozenset[str] = frozenset()


def read_done(masks: Path) -> frozenset[str]:
    """Return the images whose masks a directory holds."""
    return frozenset(read_parts(masks, MASKS, ["image_id"])["image_id"].to_pylist())
