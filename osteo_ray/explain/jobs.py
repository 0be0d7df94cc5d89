"""What is to be explained, and what is explained already. Free of Ray and of PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import MASKS, count_rows, read_parts, read_table
from osteo_ray.explain.settings import ExplainMethod


@dataclass(frozen=True)
class Explainable:
    """A trained classifier whose view of some images is wanted.

    Attributes:
        model: timm name.
        seed: Of its training, or of the run.
        fingerprint: Of all that determines the classifier.
        lime_seed: Of the samples that LIME draws.
        checkpoint: File of its parameters.
        frozen: Directory of its frozen form, written where there is none yet.
        masks: Directory to which the masks go.
        faithfulness: Directory to which figures of faithfulness go.
        heatmaps: Directory to which Grad-CAM heat maps go.
        wanted: Images to explain.
        faithfulness_ids: Images of which figures of faithfulness are wanted.
        heatmap_ids: Images of which a heat map is wanted.
        done: Images whose masks are there already.
        method: How it is explained.
        area: Share of an image that a mask by `gradcam` keeps; of no meaning to `lime`.
        teacher: Which training it comes from, as the masks table names it.
        targets: Per image, the number of the class to explain; None for the predicted ones.
        controls: With `lime`: also make a mask of random superpixels and one of the Grad-CAM
            region, of the same area as LIME's.
    """

    model: str
    seed: int
    fingerprint: str
    lime_seed: int
    checkpoint: Place
    frozen: Place
    masks: Place
    faithfulness: Place
    heatmaps: Place
    wanted: frozenset[str]
    faithfulness_ids: frozenset[str] = frozenset()
    heatmap_ids: frozenset[str] = frozenset()
    done: frozenset[str] = frozenset()
    method: ExplainMethod = "lime"
    area: float = 1.0
    teacher: str = "original"
    targets: Mapping[str, int] | None = None
    controls: bool = False

    @property
    def name(self) -> str:
        """Return its name in logs."""
        return f"{self.model}/seed-{self.seed}/{self.teacher}-{self.fingerprint[:12]}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of mask that it makes."""
        return (self.method, *(("random", "gradcam") if self.controls else ()))


@dataclass(frozen=True)
class Slice:
    """Some rows of a pixel file: what an actor explains at a time.

    Attributes:
        file: Path of the file.
        start: Number of the first row.
        stop: Number after that of the last row.
    """

    file: str
    start: int
    stop: int


def make_record(
    explainable: Explainable, image_id: str, kind: str, keep_mask: bytes = b"", **figures: Any
) -> dict[str, Any]:
    """Make a row of the masks table; what is not given is null."""
    return {
        "model": explainable.model,
        "seed": explainable.seed,
        "teacher": explainable.teacher,
        "target": "predicted" if explainable.targets is None else "true",
        "kind": kind,
        "image_id": image_id,
        "keep_mask": keep_mask,
        **figures,
    }


def read_done(masks: Place) -> frozenset[str]:
    """Return the images whose masks a directory holds."""
    return frozenset(read_parts(masks, MASKS, ["image_id"])["image_id"].to_pylist())


@dataclass(frozen=True)
class Summary:
    """What explaining a set of images came to.

    Attributes:
        n_images: Images that were read.
        n_refused: Files that could not be read.
        n_failed: Images that could not be explained.
        first_failure: Path and error of one of them, or an empty string.
        n_new: Images that were explained just now.
        seconds_per_image: It took for each of these, start of the actors included; None for none.
    """

    n_images: int
    n_refused: int
    n_failed: int
    first_failure: str
    n_new: int
    seconds_per_image: float | None


def summarize(run: Run, method: ExplainMethod, n_new: int = 0, duration_s: float = 0.0) -> Summary:
    """Count what a set of explanations holds.

    Args:
        run: The set.
        method: By which it was made.
        n_new: Images that were explained just now.
        duration_s: How long that took, seconds.
    """
    images = read_table(run.images, ["image_id", "path"]).to_pylist()
    masks = read_parts(run.masks, MASKS, ["image_id", "kind", "error"])
    failed = masks.filter(pc.and_(pc.equal(masks["kind"], method), pc.is_valid(masks["error"])))
    errors = {row["image_id"]: row["error"] for row in failed.to_pylist()}
    told = [
        f"{row['path']}: {errors[row['image_id']]}" for row in images if row["image_id"] in errors
    ]
    return Summary(
        n_images=len(images),
        n_refused=count_rows(run.rejects),
        n_failed=len(errors),
        first_failure=told[0] if told else "",
        n_new=n_new,
        seconds_per_image=duration_s / n_new if n_new else None,
    )
