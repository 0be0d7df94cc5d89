"""The actor that explains images: which classifiers, which images, what it writes."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from osteo_ray.config import LimeSettings, hash_settings
from osteo_ray.data.masks import cover_area, keep_most, pack_mask
from osteo_ray.explain.jobs import Explainable
from osteo_ray.explain.lime import Explanation, explain_image
from osteo_ray.explain.superpixels import find_superpixels
from osteo_ray.models.classifier import Classifier, load_classifier
from osteo_ray.models.training import make_deterministic
from osteo_ray.runs import HEATMAPS, MASKS, write_table


def derive_rng(digest: str, model: str, seed: int, purpose: str) -> np.random.Generator:
    """Return the random stream of one image, which depends on its content, model and seed only."""
    text = f"{digest}|{model}|{seed}|{purpose}"
    return np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest(), 16))


class Explainer:
    """An actor that explains batches of images for every classifier, and keeps what it loaded.

    Superpixels are found once per image and shared by all classifiers.

    Args:
        explainables: The classifiers.
        wanted: Images to explain; others in the files are passed over.
        settings: Of LIME.
        n_classes: Outputs of each classifier.
        image_size: Side of the images, pixels.
        device: Where to compute.
        n_threads: CPU threads.
    """

    def __init__(
        self,
        explainables: list[Explainable],
        wanted: frozenset[str],
        settings: LimeSettings,
        n_classes: int,
        image_size: int,
        device: str,
        n_threads: int,
    ) -> None:
        make_deterministic(n_threads)
        self.explainables = explainables
        self.wanted = wanted
        self.settings = settings
        self.n_classes = n_classes
        self.image_size = image_size
        self.device = torch.device(device)
        self.loaded: dict[Path, Classifier] = {}

    def __call__(self, batch: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Explain slices of pixel files; write their masks, tell how many after each classifier."""
        for file, start, stop in zip(batch["file"], batch["start"], batch["stop"], strict=True):
            rows = pq.read_table(str(file)).slice(start, stop - start).to_pylist()
            rows = [row for row in rows if row["image_id"] in self.wanted]
            images = [
                np.frombuffer(row["pixels"], np.uint8).reshape(self.image_size, -1).copy()
                for row in rows
            ]
            segments: dict[str, np.ndarray] = {}
            for explainable in self.explainables:
                yield self._explain(explainable, rows, images, segments)

    def _explain(
        self,
        explainable: Explainable,
        rows: list[dict[str, Any]],
        images: list[np.ndarray],
        segments: dict[str, np.ndarray],
    ) -> dict[str, np.ndarray]:
        records: list[dict[str, Any]] = []
        n_explained = n_errors = 0
        for row, image in zip(rows, images, strict=True):
            if row["image_id"] in explainable.done:
                continue
            if explainable.method == "gradcam":
                found = [self._localize_one(explainable, row, image)]
            else:
                if row["image_id"] not in segments:
                    segments[row["image_id"]] = find_superpixels(image, self.settings)
                found = self._explain_one(explainable, row, image, segments[row["image_id"]])
            records += found
            n_explained += 1
            n_errors += found[0]["error"] is not None
        if records:
            part = hash_settings([record["image_id"] for record in records])
            table = pa.Table.from_pylist(records, schema=MASKS)
            write_table(explainable.masks / f"part-{part}.parquet", table)
        self._draw_heatmaps(explainable, rows, images)
        return {"explained": np.array([n_explained]), "errors": np.array([n_errors])}

    def _explain_one(
        self,
        explainable: Explainable,
        row: dict[str, Any],
        image: np.ndarray,
        segments: np.ndarray,
    ) -> list[dict[str, Any]]:
        identity = (explainable.model, explainable.seed)
        try:
            explanation = explain_image(
                self._predictor(explainable),
                image,
                segments,
                self.settings,
                rng=derive_rng(row["digest"], *identity, "lime"),
                device=self.device,
            )
        except ValueError as error:  # of this one image; the others go on
            return [
                _make_record(identity, row, kind, None, None, str(error))
                for kind in ("lime", "random")
            ]
        area = int(explanation.keep_mask.sum())
        control = cover_area(segments, area, derive_rng(row["digest"], *identity, "random"))
        return [
            _make_record(identity, row, "lime", explanation.keep_mask, explanation, None),
            _make_record(identity, row, "random", control, None, None),
        ]

    def _localize_one(
        self, explainable: Explainable, row: dict[str, Any], image: np.ndarray
    ) -> dict[str, Any]:
        """Keep the pixels that Grad-CAM finds to speak most for the predicted class."""
        # Imported here: LIME does without, and it takes seconds.
        from osteo_ray.explain.gradcam import compute_heatmaps

        identity = (explainable.model, explainable.seed)
        batch = torch.from_numpy(image).to(self.device)[None, None].float() / 255
        try:
            probabilities = self._predictor(explainable)(batch)
            if not probabilities.isfinite().all():
                raise ValueError("Expected finite probabilities, but the classifier gave NaN.")
            classes = probabilities.argmax(1).cpu().numpy()
            heatmap = compute_heatmaps(self._load(explainable), batch, classes)[0]
            if not heatmap.max() > heatmap.min():
                raise ValueError(
                    "Expected a heat map with a peak, but no place speaks more than another for "
                    "the predicted class."
                )
        except ValueError as error:  # of this one image; the others go on
            return _make_record(identity, row, "gradcam", None, None, str(error))
        keep_mask = keep_most(heatmap, max(1, round(explainable.area * heatmap.size)))
        record = _make_record(identity, row, "gradcam", keep_mask, None, None)
        return {**record, "explained_class": int(classes[0])}

    def _predictor(self, explainable: Explainable) -> Callable[[torch.Tensor], torch.Tensor]:
        classifier = self._load(explainable)

        def predict(images: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                return torch.softmax(classifier(images), 1)

        return predict

    def _load(self, explainable: Explainable) -> Classifier:
        if explainable.checkpoint not in self.loaded:
            classifier = load_classifier(
                explainable.checkpoint,
                explainable.model,
                n_classes=self.n_classes,
                image_size=self.image_size,
            )
            self.loaded[explainable.checkpoint] = classifier.to(self.device)
        return self.loaded[explainable.checkpoint]

    def _draw_heatmaps(
        self, explainable: Explainable, rows: list[dict[str, Any]], images: list[np.ndarray]
    ) -> None:
        chosen = [
            number
            for number, row in enumerate(rows)
            if row["image_id"] in explainable.heatmap_ids
            and not (explainable.heatmaps / f"{row['image_id']}.parquet").exists()
        ]
        if not chosen:
            return
        # Imported here: it is needed for a few images and takes seconds.
        from osteo_ray.explain.gradcam import compute_heatmaps

        batch = torch.from_numpy(np.stack([images[number] for number in chosen]))
        batch = batch.to(self.device)[:, None].float() / 255
        classes = self._predictor(explainable)(batch).argmax(1).cpu().numpy()
        maps = compute_heatmaps(self._load(explainable), batch, classes)
        for number, heatmap in zip(chosen, np.round(maps * 255).astype(np.uint8), strict=True):
            image_id = rows[number]["image_id"]
            values = (explainable.model, explainable.seed, image_id, heatmap.tobytes())
            record = dict(zip(HEATMAPS.names, values, strict=True))
            table = pa.Table.from_pylist([record], schema=HEATMAPS)
            write_table(explainable.heatmaps / f"{image_id}.parquet", table)


def _make_record(
    identity: tuple[str, int],
    row: dict[str, Any],
    kind: str,
    keep_mask: np.ndarray | None,
    explanation: Explanation | None,
    error: str | None,
) -> dict[str, Any]:
    return {
        "model": identity[0],
        "seed": identity[1],
        "kind": kind,
        "image_id": row["image_id"],
        "keep_mask": b"" if keep_mask is None else pack_mask(keep_mask),
        "weights": None if explanation is None else explanation.weights.tolist(),
        "explained_class": None if explanation is None else explanation.explained_class,
        "n_samples": None if explanation is None else explanation.n_samples,
        "local_fit": None if explanation is None else explanation.local_fit,
        "error": error,
    }
