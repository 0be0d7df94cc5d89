"""Images, masks and heat maps of one seed of a run, read from its tables."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds

from osteo_ray.base.runs import Run
from osteo_ray.base.tables import list_parts, scan_table
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import unpack_mask
from osteo_ray.data.pixels import show_8_bits
from osteo_ray.experiment.mask_notes import MAIN_MASKS
from osteo_ray.experiment.stored_images import find_pixels


@dataclass(frozen=True)
class ShownImages:
    """What a run keeps of its images for one seed; what is missing is left out.

    Attributes:
        run: The run.
        image_size: Height and width of its images.
        seed: The seed.
    """

    run: Run
    image_size: ImageSize
    seed: int

    @property
    def has_pixels(self) -> bool:
        """Whether images are kept, and not tables alone."""
        return self.run.pixels.is_dir() and bool(list_parts(self.run.pixels))

    def read_pixels(self, image_ids: Collection[str]) -> dict[str, np.ndarray]:
        """Return images, as they look in 8 bits, uint8 (height, width), by id."""
        # A scan of the table would read all of it, several files at a time.
        ids = list(image_ids)
        stored, missing = find_pixels(self.run.pixels, ids, self.image_size)
        lost = set(missing)
        rows = np.array([row for row, image_id in enumerate(ids) if image_id not in lost], int)
        shown = show_8_bits(stored[rows])
        return dict(zip((ids[row] for row in rows), shown, strict=True))

    @cached_property
    def masked(self) -> dict[str, frozenset[str]]:
        """The images that have a LIME mask, by model."""
        wanted = self._lime_masks & ds.field("error").is_null()
        table = scan_table(self.run.masks, wanted, ["model", "image_id"]).to_pandas()
        if table.empty:
            return {}
        return {str(name): frozenset(part["image_id"]) for name, part in table.groupby("model")}

    def read_masks(self, image_ids: Collection[str]) -> dict[tuple[str, str, str], np.ndarray]:
        """Return masks, bool (height, width), True = kept, by model, image and kind."""
        wanted = self._main_masks & _is_one_of(image_ids)
        rows = scan_table(self.run.masks, wanted, ["model", "image_id", "kind", "keep_mask"])
        return {
            (row["model"], row["image_id"], row["kind"]): unpack_mask(
                row["keep_mask"], self.image_size
            )
            for row in rows.to_pylist()
            if row["keep_mask"]
        }

    def describe_masks(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return `unstable` and `error` of the LIME masks, by model and image."""
        columns = ["model", "image_id", "unstable", "error"]
        rows = scan_table(self.run.masks, self._lime_masks, columns).to_pylist()
        return {(row["model"], row["image_id"]): row for row in rows}

    def read_weights(self, image_ids: Collection[str]) -> dict[tuple[str, str], list[float] | None]:
        """Return the weight of each superpixel, by model and image."""
        wanted = self._lime_masks & _is_one_of(image_ids)
        rows = scan_table(self.run.masks, wanted, ["model", "image_id", "weights"]).to_pylist()
        return {(row["model"], row["image_id"]): row["weights"] for row in rows}

    def read_superpixels(self, image_ids: Collection[str]) -> dict[str, np.ndarray]:
        """Return the superpixel of each pixel, uint16 (height, width), by image."""
        rows = scan_table(self.run.place_shown_superpixels(), _is_one_of(image_ids)).to_pylist()
        return {
            row["image_id"]: self._unpack(row["superpixels"], np.uint16)
            for row in rows
            if row["superpixels"]
        }

    def read_heatmaps(self) -> dict[tuple[str, str], np.ndarray]:
        """Return Grad-CAM heat maps, uint8 (height, width), by model and image."""
        rows = scan_table(self.run.heatmaps, ds.field("seed") == self.seed).to_pylist()
        return {
            (row["model"], row["image_id"]): self._unpack(row["heatmap"], np.uint8)
            for row in rows
            if row["heatmap"]
        }

    def list_split(self, part: str) -> frozenset[str]:
        """Return the images of a part of the split: train, validation or test."""
        return self._parts.get(part, frozenset())

    @cached_property
    def _parts(self) -> dict[str, frozenset[str]]:
        rows = scan_table(self.run.splits, ds.field("seed") == self.seed).to_pandas()
        if rows.empty:
            return {}
        return {
            str(part): frozenset(of_part["image_id"]) for part, of_part in rows.groupby("split")
        }

    @property
    def _lime_masks(self) -> Any:
        return self._main_masks & (ds.field("kind") == "lime")

    @property
    def _main_masks(self) -> Any:
        return MAIN_MASKS & (ds.field("seed") == self.seed)

    def _unpack(self, content: bytes, dtype: npt.DTypeLike) -> np.ndarray:
        return np.frombuffer(content, dtype).reshape(self.image_size.shape)


def _is_one_of(image_ids: Collection[str]) -> Any:
    return ds.field("image_id").isin(pa.array(list(image_ids), pa.string()))  # none is text, too
