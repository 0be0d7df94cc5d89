"""What is to be explained, and what is explained already. Needs neither Ray nor PyTorch."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any

from osteo_ray.base.storage import Place, recall_place
from osteo_ray.base.tables import MASKS, list_parts, read_parts
from osteo_ray.data.image_size import ImageSize
from osteo_ray.explain.explainer import Explainer
from osteo_ray.explain.registry import find_explainer
from osteo_ray.explain.settings import LimeSettings


def list_kinds(method: str) -> tuple[str, ...]:
    """List the kinds of mask that are made where the masks of a method are the main ones.

    Beside a LIME mask, that is one of random superpixels and one of the Grad-CAM region.

    Example:
        >>> list_kinds("lime"), list_kinds("layercam")
        (('lime', 'random', 'gradcam'), ('layercam',))
    """
    return ("lime", "random", "gradcam") if method == "lime" else (method,)


@dataclass(frozen=True)
class Explainable:
    """A trained classifier, and the masks that are wanted from it.

    The first of the kinds leads: it explains the predicted class, or the one in `targets`. A mask
    of another kind explains the class, and keeps as many pixels, as the leading mask of its image.

    Attributes:
        model: The name of the network.
        seed: The seed of its training, or of the run.
        fingerprint: A hash of everything that determines the classifier.
        lime_seed: The seed of the random numbers that explainers use.
        checkpoint: The file of its parameters.
        frozen: The directory of its frozen form, which is written if it is not there yet.
        masks: The directory to which masks are written.
        faithfulness: The directory to which figures of faithfulness are written.
        heatmaps: The directory to which Grad-CAM heat maps are written.
        wanted: The images to explain.
        kinds: The kinds of mask wanted of each image, the leading one first.
        faithfulness_ids: The images whose masks are to be measured for faithfulness.
        heatmap_ids: The images of which a heat map is wanted, and the superpixels.
        done: By kind, the images whose masks are stored already.
        drawn: The images whose heat maps and superpixels are stored already.
        area: The share of an image that a leading mask keeps. Explainers that choose the area
            themselves, as LIME does, ignore it.
        teacher: The training that made the classifier, as the masks table names it.
        targets: Per image, the number of the class to explain; None for the predicted classes.
        code: The text of the Python file of the network, if a user wrote it.
        superpixels: The directory to which the superpixels of those images are written.
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
    kinds: tuple[str, ...] = ("lime",)
    faithfulness_ids: frozenset[str] = frozenset()
    heatmap_ids: frozenset[str] = frozenset()
    done: Mapping[str, frozenset[str]] = field(default_factory=dict)
    drawn: frozenset[str] = frozenset()
    area: float = 1.0
    teacher: str = "original"
    targets: Mapping[str, int] | None = None
    code: str | None = None
    superpixels: Place | None = None

    @property
    def name(self) -> str:
        """Return its name in logs."""
        return f"{self.model}/seed-{self.seed}/{self.teacher}-{self.fingerprint[:12]}"

    @property
    def pending(self) -> frozenset[str]:
        """Return the wanted images that lack a mask of some kind."""
        return self.wanted - find_done(self.done, self.kinds)

    @property
    def undrawn(self) -> frozenset[str]:
        """Return the images of which a heat map is wanted that lack it, or their superpixels."""
        return (self.heatmap_ids & self.wanted) - self.drawn

    @property
    def lacking(self) -> frozenset[str]:
        """Return the images of which anything is missing."""
        return self.pending | self.undrawn

    def list_missing(self, image_id: str) -> tuple[str, ...]:
        """List the kinds of mask that an image still lacks; none if it is not wanted."""
        if image_id not in self.wanted:
            return ()
        return tuple(kind for kind in self.kinds if image_id not in self.done.get(kind, ()))


@dataclass(frozen=True)
class ExplainJob:
    """Everything that explaining actors share, small enough to send to each of them.

    Attributes:
        explainables: The classifiers, and which images each is to explain.
        explainers: By kind of mask, the explainer that makes it.
        settings: The settings of LIME.
        n_classes: Outputs of each classifier.
        image_size: Height and width of the images.
    """

    explainables: tuple[Explainable, ...]
    explainers: Mapping[str, Explainer]
    settings: LimeSettings
    n_classes: int
    image_size: ImageSize


def plan_job(
    explainables: Iterable[Explainable],
    settings: LimeSettings,
    *,
    n_classes: int,
    image_size: ImageSize,
) -> ExplainJob:
    """Build the explainers that some explanations need, and put all of it together.

    The job carries the explainers themselves, so that those which only this process has registered
    reach the workers.

    Args:
        explainables: The classifiers.
        settings: Of LIME; what depends on the size of the images and is not given is derived.
        n_classes: Outputs of each classifier.
        image_size: Height and width of the images.

    Raises:
        InputError: No explainer makes one of the kinds.
    """
    explainables, settings = tuple(explainables), settings.scale_to(image_size)
    kinds = dict.fromkeys(kind for one in explainables for kind in one.kinds)
    explainers = {kind: find_explainer(kind)(settings) for kind in kinds}
    return ExplainJob(explainables, explainers, settings, n_classes, image_size)


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
    """Make a row of the masks table; columns that are not given are null."""
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


def read_done(masks: Place) -> dict[str, frozenset[str]]:
    """Return, by kind of mask, the images of which a directory holds a row, errors included.

    The ids are interned: those of a hundred thousand images take 10 MB, and each teacher has them.
    """
    table = read_parts(masks, MASKS, ["kind", "image_id"])
    found: dict[str, set[str]] = defaultdict(set)
    kinds, image_ids = table["kind"].to_pylist(), table["image_id"].to_pylist()
    for kind, image_id in zip(kinds, image_ids, strict=True):
        found[kind].add(intern(image_id))
    return {kind: frozenset(ids) for kind, ids in found.items()}


def list_drawn(directory: Place) -> frozenset[str]:
    """Return the images of which a directory holds a file of their own, named by their ids."""
    return frozenset(
        recall_place(part).name.removesuffix(".parquet") for part in list_parts(directory)
    )


def find_done(done: Mapping[str, frozenset[str]], kinds: Iterable[str]) -> frozenset[str]:
    """Return the images that have masks of all of some kinds.

    Example:
        >>> sorted(find_done({"lime": frozenset("abc"), "random": frozenset("bcd")}, ["lime"]))
        ['a', 'b', 'c']
        >>> find_done({"lime": frozenset("abc")}, ["lime", "random"])
        frozenset()
    """
    return frozenset.intersection(*(done.get(kind, frozenset()) for kind in kinds))
