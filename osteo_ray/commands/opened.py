"""What commands leave, for Python: verdicts, tables, and masks and images as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from osteo_ray.base.errors import InputError
from osteo_ray.base.forms import COMPARISON, read_record
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import MASKS, read_parts, read_table
from osteo_ray.config.build import read_yaml
from osteo_ray.data.image_size import ImageSize
from osteo_ray.experiment.soundness import refuse_damage, refuse_repeats

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class RunVerdict(NamedTuple):
    """What may be claimed of a run; docs/verdict.md lists the verdicts.

    Attributes:
        verdict: Its name, such as `equivalent`.
        reason: Why, in a sentence or two.
        next: What to do about it; empty if there is nothing.
        remarks: What else is known.
    """

    verdict: str
    reason: str
    next: str
    remarks: tuple[str, ...] = ()


class MaskSet(NamedTuple):
    """Masks of one classifier.

    Attributes:
        image_ids: str, (n,); in alphabetical order.
        keep_masks: bool, (n, height, width); True = kept.
    """

    image_ids: NDArray[np.str_]
    keep_masks: NDArray[np.bool_]


class PixelSet(NamedTuple):
    """Images as classifiers were shown them, before any mask.

    Attributes:
        image_ids: str, (n,); in alphabetical order.
        pixels: uint8, or uint16 with 16 bits, (n, height, width).
    """

    image_ids: NDArray[np.str_]
    pixels: NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class FinishedRun:
    """A run directory, or a judgement of tables, whose results are there.

    Attributes:
        run: Where its files are.
    """

    run: Run

    @property
    def root(self) -> Place:
        """The directory."""
        return self.run.root

    @property
    def report(self) -> Place:
        """The page that shows all of it."""
        return self.run.report

    @cached_property
    def comparison(self) -> dict[str, Any]:
        """What comparison.json holds; docs/run-files.md describes it."""
        refuse_damage(self.run, [self.run.comparison.name])
        found: dict[str, Any] = read_record(self.run.comparison, COMPARISON)
        return found

    @property
    def verdict(self) -> RunVerdict:
        """The verdict over all models; a remark on one of them begins with its name."""
        remarks = [
            f"{model}: {remark}" for model, one in self.verdicts.items() for remark in one.remarks
        ]
        return _read_verdict(self.comparison["verdict"])._replace(remarks=tuple(remarks))

    @property
    def verdicts(self) -> dict[str, RunVerdict]:
        """The verdict on each model, by its name."""
        return {row["model"]: _read_verdict(row) for row in self.comparison["verdicts"]}

    @cached_property
    def results(self) -> "pd.DataFrame":
        """A row per model, seed, arm and split, with a column per metric."""
        self._require(self.run.results, "its results")
        return read_table(self.run.results).to_pandas()

    @cached_property
    def predictions(self) -> "pd.DataFrame":
        """A row per model, seed, arm, split and image, with a probability per class."""
        self._require(self.run.predictions, "its predictions")
        return read_table(self.run.predictions).to_pandas()

    @cached_property
    def images(self) -> "pd.DataFrame":
        """A row per image; docs/run-files.md lists the columns."""
        self._require(self.run.images, "its images")
        return read_table(self.run.images).to_pandas()

    @property
    def image_size(self) -> ImageSize:
        """Height and width of the images, in pixels, as classifiers were shown them."""
        self._require(self.run.config, "its settings")
        return ImageSize.read(read_yaml(self.run.config)["image_size"])

    def pixels(self) -> PixelSet:
        """Return the images as classifiers were shown them, before any mask.

        Raises:
            InputError: The run has no images, as where tables were judged.
        """
        self._require(self.run.pixels, "its images")
        from osteo_ray.experiment.dataset import read_pixels

        ids = sorted(self.images["image_id"])
        return PixelSet(np.array(ids), read_pixels(self.run, ids, self.image_size))

    def masks(
        self,
        model: str,
        seed: int,
        *,
        kind: str = "lime",
        teacher: str = "original",
        target: str = "predicted",
    ) -> MaskSet:
        """Return the masks that explain one classifier, without images that have none.

        Args:
            model: Name of the network.
            seed: Number of the seed.
            kind: Name of the explainer: `lime`, `random`, `gradcam` …
            teacher: The training that is explained, as the masks table names it.
            target: The class that is explained: `predicted` or `true`.

        Raises:
            InputError: There are no such masks, and the message lists those that there are; or an
            image has several.
        """
        self._require(self.run.masks, "its masks")
        names = {"model": model, "kind": kind, "teacher": teacher, "target": target}
        return unpack_masks(self.run, self.image_size, {**names, "seed": seed})

    def plot_forest(self) -> "Figure":
        """Draw the contrasts between arms, with intervals and a dot per seed.

        Returns:
            A figure of Matplotlib; in a notebook, it shows itself as the last line of a cell.

        Raises:
            InputError: No two arms have results that can be compared.
        """
        from osteo_ray.report.plots import Absent, plot_forest
        from osteo_ray.report.results import read_shown

        found = plot_forest(read_shown(self.run))
        if isinstance(found, Absent):
            raise InputError(f"Expected contrasts in {self.run.comparison}. {found.reason}")
        return found.figure

    def _require(self, place: Place, what: str) -> None:
        if not place.exists():
            raise InputError(
                f"Expected a run with {what}, but {place} does not exist. Run the comparison again "
                "with the same settings to make what is missing."
            )
        refuse_damage(self.run, [place.name])


def unpack_masks(run: Run, image_size: ImageSize, wanted: Mapping[str, str | int]) -> MaskSet:
    """Return the masks of a run that have some properties.

    Args:
        run: Where they are.
        image_size: Height and width of the images.
        wanted: A value for each of some columns of the masks table.

    Raises:
        InputError: There are none, or an image has several.
    """
    from osteo_ray.data.masks import unpack_mask

    table = read_parts(run.masks, MASKS, [*wanted, "image_id", "keep_mask", "error"]).to_pandas()
    chosen = table
    for column, value in wanted.items():
        chosen = chosen[chosen[column] == value]
    if chosen.empty:
        rows = table[list(wanted)].drop_duplicates().itertuples(index=False)
        known = [", ".join(map(str, row)) for row in rows]
        asked = ", ".join(map(str, wanted.values()))
        raise InputError(
            f"Expected masks of {asked} ({', '.join(wanted)}), but {run.masks} has those of: "
            f"{'; '.join(sorted(known)) or 'nothing'}."
        )
    keys = [*wanted, "image_id"]
    refuse_repeats(run.masks, pa.Table.from_pandas(chosen[keys], preserve_index=False), keys)
    chosen = chosen[chosen["error"].isna()].sort_values("image_id")
    masks = [unpack_mask(packed, image_size) for packed in chosen["keep_mask"]]
    stacked = np.stack(masks) if masks else np.zeros((0, *image_size.shape), bool)
    return MaskSet(chosen["image_id"].to_numpy(str), stacked)


@dataclass(frozen=True)
class AuditedSet:
    """What an audit found.

    Attributes:
        root: The directory with audit.json, audit.html and its tables.
        audit: What audit.json holds.
    """

    root: Place
    audit: dict[str, Any]

    @property
    def findings(self) -> tuple[str, ...]:
        """What was found, in words; empty if there is nothing to worry about."""
        return tuple(self.audit["findings"])


@dataclass(frozen=True)
class ExplainedSet:
    """Explanations of a set of images.

    Attributes:
        run: Where they are.
        image_size: Height and width of the images, in pixels.
        method: The explainer that made them.
        n_images: Number of images.
        n_failed: How many of them could not be explained.
    """

    run: Run
    image_size: ImageSize
    method: str
    n_images: int
    n_failed: int

    def masks(self, kind: str | None = None) -> MaskSet:
        """Return the masks of one kind, by default those of the method that was asked for."""
        return unpack_masks(self.run, self.image_size, {"kind": kind or self.method})


def _read_verdict(row: Mapping[str, Any]) -> RunVerdict:
    return RunVerdict(row["verdict"], row["reason"], row["next"], tuple(row.get("remarks", ())))
