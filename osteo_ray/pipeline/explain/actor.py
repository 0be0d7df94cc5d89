"""The actor that explains slices of images: it loads classifiers, asks explainers, writes masks."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from osteo_ray.base.digests import write_sealed
from osteo_ray.base.events import Explained
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import (
    FAITHFULNESS,
    HEATMAPS,
    MASKS,
    iterate_parts,
    read_rows,
    read_table,
    write_table,
)
from osteo_ray.data.pixels import unpack_pixels
from osteo_ray.explain import gradcam
from osteo_ray.explain.explainer import Explanation, LoadedClassifier, Picture, Request
from osteo_ray.explain.faithfulness import Faithfulness, measure_faithfulness
from osteo_ray.explain.jobs import Explainable, ExplainJob
from osteo_ray.models.classifier import load_classifier
from osteo_ray.models.forward import open_classifier
from osteo_ray.models.training import make_deterministic
from osteo_ray.pipeline.explain.kept_classifiers import KeptClassifiers
from osteo_ray.pipeline.explain.mask_rows import (
    Found,
    Measured,
    list_faithfulness_rows,
    list_mask_rows,
)
from osteo_ray.pipeline.explain.shown_superpixels import keep_superpixels

_STEPS = 8  # in which pixels are added and removed to measure faithfulness


def derive_rng(digest: str, fingerprint: str, seed: int, purpose: str) -> np.random.Generator:
    """Return the random numbers for one image, which depend on these arguments alone.

    Args:
        digest: Of the content of the image.
        fingerprint: Of the classifier.
        seed: Of the explanations.
        purpose: The kind of mask.
    """
    text = f"{digest}|{fingerprint}|{seed}|{purpose}"
    return np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest(), 16))


@dataclass(frozen=True)
class _Focus:
    """What a mask is to be about: how many pixels it keeps, for which class (None: predicted)."""

    area_px: int
    explained_class: int | None


class ExplainingActor:
    """An actor that explains images for every classifier of a job, and keeps what it loaded.

    Args:
        job: The classifiers, the images that each is to explain, and the explainers.
        device: The device on which to compute.
        n_threads: CPU threads.
        classifiers_bytes: Memory for the classifiers that it keeps.
        on_batch: Called whenever images were classified.
    """

    def __init__(
        self,
        job: ExplainJob,
        *,
        device: str = "cpu",
        n_threads: int = 1,
        classifiers_bytes: int = 2**30,
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        # Beside a GPU, threads find superpixels of several images, each with a thread of PyTorch's.
        make_deterministic(n_threads if device == "cpu" else 1)
        self.job = job
        self.device = torch.device(device)
        self.n_threads = n_threads
        self.on_batch = on_batch
        self.classifiers = KeptClassifiers(self._open, classifiers_bytes)
        self.recalled: dict[tuple[Place, str], dict[str, _Focus | ValueError]] = {}

    def __call__(self, batch: dict[str, np.ndarray]) -> Iterator[Explained]:
        """Explain slices of pixel files; write the masks, and yield counts for each classifier."""
        for file, start, stop in zip(batch["file"], batch["start"], batch["stop"], strict=True):
            pictures = [
                Picture(
                    row["image_id"],
                    row["digest"],
                    unpack_pixels(row["pixels"], self.job.image_size),
                )
                for row in read_rows(str(file), int(start), int(stop))
                if any(row["image_id"] in one.wanted for one in self.job.explainables)
            ]
            # Those in memory come first, or each would have gone by the time that it is needed.
            kept = self.classifiers.list_kept()
            explainables = sorted(self.job.explainables, key=lambda one: one.checkpoint not in kept)
            with self._prepare(pictures):
                for explainable in explainables:
                    yield self._explain(explainable, pictures)

    @contextmanager
    def _prepare(self, pictures: Sequence[Picture]) -> Iterator[None]:
        """Do on other threads what needs no classifier, such as finding superpixels.

        They run beside the forward passes, so that a GPU computes meanwhile.
        """
        with ThreadPoolExecutor(self.n_threads if self.device.type != "cpu" else 1) as helpers:
            for picture in pictures:
                kinds = {
                    kind
                    for one in self.job.explainables
                    for kind in one.list_missing(picture.image_id)
                }
                for kind in sorted(kinds):
                    helpers.submit(self.job.explainers[kind].prepare, picture)
            yield

    def _explain(self, explainable: Explainable, pictures: Sequence[Picture]) -> Explained:
        self._draw_heatmaps(explainable, pictures)
        keep_superpixels(explainable, pictures, self.job.settings)
        groups: dict[tuple[str, ...], list[Picture]] = {}
        for picture in pictures:
            kinds = explainable.list_missing(picture.image_id)
            if kinds:
                groups.setdefault(kinds, []).append(picture)
        n_images = n_errors = n_samples = 0
        for kinds, group in groups.items():
            part = f"part-{hash_settings([*kinds, *(one.image_id for one in group)])}.parquet"
            # It is there if the process that wrote it died later in this very slice.
            if not (explainable.masks / part).exists():
                n_samples += self._write_masks(explainable, kinds, group, part)
            n_errors += _count_errors(explainable.masks / part, kinds[0])
            n_images += len(group)
        return Explained(explainable.name, n_images, n_errors, n_samples)

    def _write_masks(
        self,
        explainable: Explainable,
        kinds: tuple[str, ...],
        pictures: Sequence[Picture],
        part: str,
    ) -> int:
        """Write a file of masks, and one of figures; return how many samples the first kind took.

        The masks come last: where they are, the images count as done.
        """
        found = self._find_masks(explainable, kinds, pictures)
        measured = self._measure(explainable, pictures, found)
        figures = list_faithfulness_rows(explainable, measured)
        if figures:
            table = pa.Table.from_pylist(figures, schema=FAITHFULNESS)
            write_table(explainable.faithfulness / part, table, how=write_sealed)
        records = list_mask_rows(explainable, pictures, found, measured)
        table = pa.Table.from_pylist(records, schema=MASKS)
        write_table(explainable.masks / part, table, how=write_sealed)
        first = [record for record in records if record["kind"] == kinds[0]]
        return sum(record.get("n_samples") or 0 for record in first)

    def _find_masks(
        self, explainable: Explainable, kinds: tuple[str, ...], pictures: Sequence[Picture]
    ) -> dict[str, list[Explanation | ValueError]]:
        """Return, by kind, the explanation of each image, or why there is none."""
        found: dict[str, list[Explanation | ValueError]] = {}
        leading = explainable.kinds[0]
        if leading in kinds:
            begin = [_begin(explainable, picture) for picture in pictures]
            found[leading] = self._ask(explainable, leading, pictures, begin)
            focuses = [
                one
                if isinstance(one, ValueError)
                else _Focus(int(one.keep_mask.sum()), one.explained_class)
                for one in found[leading]
            ]
        else:
            stored = self._recall(explainable)
            focuses = [stored[picture.image_id] for picture in pictures]
        for kind in kinds:
            if kind != leading:
                found[kind] = self._ask(explainable, kind, pictures, focuses)
        return found

    def _ask(
        self,
        explainable: Explainable,
        kind: str,
        pictures: Sequence[Picture],
        focuses: Sequence[_Focus | ValueError],
    ) -> list[Explanation | ValueError]:
        """Ask an explainer about the images that have a focus; the others keep their error."""
        identity = (explainable.fingerprint, explainable.lime_seed, kind)
        requests = [
            Request(
                picture,
                derive_rng(picture.digest, *identity),
                focus.area_px,
                focus.explained_class,
            )
            for picture, focus in zip(pictures, focuses, strict=True)
            if isinstance(focus, _Focus)
        ]
        answers: Iterator[Explanation | ValueError] = iter(())
        if requests:
            answers = iter(
                self.job.explainers[kind].explain(self.classifiers.get(explainable), requests)
            )
        return [focus if isinstance(focus, ValueError) else next(answers) for focus in focuses]

    def _recall(self, explainable: Explainable) -> dict[str, _Focus | ValueError]:
        """Return, by image, what the stored masks of the leading kind are about."""
        leading = explainable.kinds[0]
        key = (explainable.masks, leading)
        if key not in self.recalled:
            columns = ["image_id", "kind", "keep_mask", "explained_class", "error"]
            self.recalled[key] = {
                row["image_id"]: _recall_focus(row)
                for table in iterate_parts(explainable.masks, MASKS, columns)
                for row in table.filter(pc.equal(table["kind"], leading)).to_pylist()
            }
        return self.recalled[key]

    def _measure(
        self, explainable: Explainable, pictures: Sequence[Picture], found: Found
    ) -> Measured:
        """Measure how faithful explanations are, by kind and image, for the images asked for."""
        return {
            (kind, picture.image_id): self._measure_one(explainable, picture, one)
            for kind, explanations in found.items()
            for picture, one in zip(pictures, explanations, strict=True)
            if isinstance(one, Explanation) and picture.image_id in explainable.faithfulness_ids
        }

    def _measure_one(
        self, explainable: Explainable, picture: Picture, found: Explanation
    ) -> Faithfulness | ValueError:
        leader = self.job.explainers[explainable.kinds[0]]
        try:
            return measure_faithfulness(
                self.classifiers.get(explainable),
                picture.image,
                leader.fill(picture),
                found,
                n_steps=_STEPS,
                batch_size=self.job.settings.choose_batch_size(self.device.type),
            )
        except ValueError as error:  # the masks are what they are all the same
            return error

    def _open(self, explainable: Explainable) -> LoadedClassifier:
        classifier = load_classifier(
            explainable.checkpoint,
            explainable.model,
            n_classes=self.job.n_classes,
            image_size=self.job.image_size,
            code=explainable.code,
        ).to(self.device)
        run = open_classifier(
            classifier,
            self.job.image_size,
            explainable.frozen,
            self.device,
            self.n_threads,
            self.job.settings.precision,
        )
        # Explainers that look inside the classifier call it without `predict`.
        classifier.register_forward_pre_hook(self._tell_batch)

        def predict(images: torch.Tensor) -> torch.Tensor:
            self.on_batch()
            return run(images)

        return LoadedClassifier(classifier, predict, self.device)

    def _tell_batch(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.on_batch()

    def _draw_heatmaps(self, explainable: Explainable, pictures: Sequence[Picture]) -> None:
        for picture in pictures:
            path = explainable.heatmaps / f"{picture.image_id}.parquet"
            if picture.image_id not in explainable.heatmap_ids or path.exists():
                continue
            loaded = self.classifiers.get(explainable)
            content: bytes | None = None  # if there is no heat map, the report does without
            with suppress(ValueError):
                explained = np.array([loaded.predict_class(picture.image)])
                batch = loaded.to_batch(picture.image)
                (heatmap,) = gradcam.compute_heatmaps(loaded.module, batch, explained)
                content = np.round(heatmap * 255).astype(np.uint8).tobytes()
            values = (explainable.model, explainable.seed, picture.image_id, content)
            record = dict(zip(HEATMAPS.names, values, strict=True))
            write_table(path, pa.Table.from_pylist([record], schema=HEATMAPS), how=write_sealed)


def _begin(explainable: Explainable, picture: Picture) -> _Focus:
    """Return what the leading mask of an image is to be about."""
    area_px = max(1, round(explainable.area * picture.image.size))
    targets = explainable.targets
    return _Focus(area_px, None if targets is None else targets[picture.image_id])


def _recall_focus(row: dict[str, Any]) -> _Focus | ValueError:
    if row["error"] is not None:
        return ValueError(row["error"])
    area_px = int(np.bitwise_count(np.frombuffer(row["keep_mask"], np.uint8)).sum())
    return _Focus(area_px, row["explained_class"])


def _count_errors(part: Place, kind: str) -> int:
    rows = read_table(part, ["kind", "error"]).to_pylist()
    return sum(row["kind"] == kind and row["error"] is not None for row in rows)
