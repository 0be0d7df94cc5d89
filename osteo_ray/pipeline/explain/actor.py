"""The actor that explains images: which classifiers, which images, what it writes."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from osteo_ray.base.events import Explained
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import FAITHFULNESS, HEATMAPS, MASKS, read_rows, read_table, write_table
from osteo_ray.data.masks import cover_area, keep_most, pack_mask
from osteo_ray.explain.faithfulness import measure_faithfulness
from osteo_ray.explain.gradcam import compute_heatmaps
from osteo_ray.explain.jobs import Explainable, make_record
from osteo_ray.explain.lime import Explanation, explain_images, fill_superpixels
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.explain.superpixels import find_superpixels
from osteo_ray.models.classifier import Classifier, load_classifier
from osteo_ray.models.forward import Predict, open_classifier
from osteo_ray.models.training import make_deterministic

_STEPS = 8  # in which pixels come and go, to measure faithfulness


def derive_rng(digest: str, fingerprint: str, seed: int, purpose: str) -> np.random.Generator:
    """Return the random stream of one image.

    It depends on nothing but the content of the image, the classifier and the seed.
    """
    text = f"{digest}|{fingerprint}|{seed}|{purpose}"
    return np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest(), 16))


@dataclass(frozen=True)
class _Item:
    """One image to explain.

    Attributes:
        image_id: Its id.
        digest: Of its content.
        image: uint8, (height, width).
    """

    image_id: str
    digest: str
    image: np.ndarray


@dataclass
class _Found:
    """What explaining one image gave, of one kind of mask or more.

    Attributes:
        records: Rows of the masks table.
        importance: Per kind of mask, (height, width); larger = more important.
        keep_masks: Per kind of mask, bool, (height, width).
        fill: uint8, (height, width); what stands for pixels that are removed.
        explained_class: Number of the class.
    """

    records: list[dict[str, Any]]
    importance: dict[str, np.ndarray]
    keep_masks: dict[str, np.ndarray]
    fill: np.ndarray
    explained_class: int


class Explainer:
    """An actor that explains batches of images for every classifier, and keeps what it loaded.

    Superpixels are found once per image and shared by all classifiers.

    Args:
        explainables: The classifiers, and which images each is to explain.
        settings: Of LIME.
        n_classes: Outputs of each classifier.
        image_size: Side of the images, pixels.
        device: Where to compute.
        n_threads: CPU threads.
        on_batch: Called after each batch that a classifier was given.
    """

    def __init__(
        self,
        explainables: list[Explainable],
        settings: LimeSettings,
        n_classes: int,
        image_size: int,
        device: str,
        n_threads: int,
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        make_deterministic(n_threads)
        self.explainables = explainables
        self.settings = settings
        self.n_classes = n_classes
        self.image_size = image_size
        self.device = torch.device(device)
        self.n_threads = n_threads
        self.on_batch = on_batch
        self.loaded: dict[Place, tuple[Classifier, Predict]] = {}

    def __call__(self, batch: dict[str, np.ndarray]) -> Iterator[Explained]:
        """Explain slices of pixel files; write their masks, tell how many after each classifier."""
        for file, start, stop in zip(batch["file"], batch["start"], batch["stop"], strict=True):
            items = [
                _Item(
                    row["image_id"],
                    row["digest"],
                    np.frombuffer(row["pixels"], np.uint8).reshape(self.image_size, -1).copy(),
                )
                for row in read_rows(str(file), int(start), int(stop))
                if any(row["image_id"] in one.wanted for one in self.explainables)
            ]
            segments: dict[str, np.ndarray | ValueError] = {}
            for explainable in self.explainables:
                yield self._explain(explainable, items, segments)

    def _explain(
        self,
        explainable: Explainable,
        items: list[_Item],
        segments: dict[str, np.ndarray | ValueError],
    ) -> Explained:
        wanted = explainable.wanted - explainable.done
        todo = [item for item in items if item.image_id in wanted]
        part = f"part-{hash_settings([item.image_id for item in todo])}.parquet"
        if (explainable.masks / part).exists():  # by a process that died later in this very slice
            n_errors = _count_errors(explainable, part)
            return Explained(explainable.name, len(todo), n_errors, 0)
        if explainable.method == "gradcam":
            found = self._explain_by_gradcam(explainable, todo)
        else:
            for item in todo:
                if item.image_id not in segments:
                    segments[item.image_id] = self._divide(item.image)
            found = self._explain_by_lime(explainable, todo, segments)
        records = [record for one in found if isinstance(one, _Found) for record in one.records]
        n_errors = 0
        for item, one in zip(todo, found, strict=True):
            if isinstance(one, ValueError):
                n_errors += 1
                records += [
                    make_record(explainable, item.image_id, kind, error=str(one))
                    for kind in explainable.kinds
                ]
        self._draw_heatmaps(explainable, items)
        if records:
            # Masks last: they tell that the images are done.
            figures = self._measure(explainable, todo, found)
            if figures:
                table = pa.Table.from_pylist(figures, schema=FAITHFULNESS)
                write_table(explainable.faithfulness / part, table)
            write_table(explainable.masks / part, pa.Table.from_pylist(records, schema=MASKS))
        # Those of controls are of the same samples; an image with an error has none.
        of_method = (record for record in records if record["kind"] == explainable.method)
        n_samples = sum(record.get("n_samples") or 0 for record in of_method)
        return Explained(explainable.name, len(todo), n_errors, n_samples)

    def _divide(self, image: np.ndarray) -> np.ndarray | ValueError:
        try:
            return find_superpixels(image, self.settings)
        except ValueError as error:
            return error

    def _explain_by_lime(
        self,
        explainable: Explainable,
        items: list[_Item],
        segments: dict[str, np.ndarray | ValueError],
    ) -> list[_Found | ValueError]:
        identity = (explainable.fingerprint, explainable.lime_seed)
        found: dict[str, _Found | ValueError] = {}
        divided: list[tuple[_Item, np.ndarray]] = []
        for item in items:
            pieces = segments[item.image_id]
            if isinstance(pieces, ValueError):
                found[item.image_id] = pieces
            else:
                divided.append((item, pieces))
        targets = explainable.targets
        explanations = explain_images(
            self._load(explainable)[1],
            [item.image for item, _ in divided],
            [pieces for _, pieces in divided],
            self.settings,
            rngs=[derive_rng(item.digest, *identity, "lime") for item, _ in divided],
            device=self.device,
            targets=None if targets is None else [targets[item.image_id] for item, _ in divided],
        )
        for (item, pieces), explanation in zip(divided, explanations, strict=True):
            if isinstance(explanation, ValueError):
                found[item.image_id] = explanation
                continue
            found[item.image_id] = one = _Found(
                records=[
                    make_record(
                        explainable,
                        item.image_id,
                        "lime",
                        keep_mask=pack_mask(explanation.keep_mask),
                        unstable=explanation.stability < self.settings.stability,
                        **_describe(explanation),
                    )
                ],
                importance={"lime": explanation.weights[pieces]},
                keep_masks={"lime": explanation.keep_mask},
                fill=fill_superpixels(item.image, pieces, self.settings.fill),
                explained_class=explanation.explained_class,
            )
            if explainable.controls:
                area = int(explanation.keep_mask.sum())
                rng = derive_rng(item.digest, *identity, "random")
                control = cover_area(pieces, area, rng)
                _add_control(one, explainable, item, "random", control, control)
        if explainable.controls:
            self._add_gradcam(explainable, [item for item, _ in divided], found)
        return [found[item.image_id] for item in items]

    def _add_gradcam(
        self,
        explainable: Explainable,
        items: list[_Item],
        found: dict[str, _Found | ValueError],
    ) -> None:
        """Add the Grad-CAM regions of the area and class of the LIME masks."""
        explained = [
            (item, one) for item in items if isinstance(one := found[item.image_id], _Found)
        ]
        if not explained:
            return
        classes = np.array([one.explained_class for _, one in explained])
        heatmaps = self._compute_heatmaps(explainable, [item for item, _ in explained], classes)
        for (item, one), heatmap in zip(explained, heatmaps, strict=True):
            if isinstance(heatmap, ValueError):
                one.records.append(
                    make_record(explainable, item.image_id, "gradcam", error=str(heatmap))
                )
                continue
            keep_mask = keep_most(heatmap, int(one.keep_masks["lime"].sum()))
            _add_control(one, explainable, item, "gradcam", heatmap, keep_mask)

    def _compute_heatmaps(
        self, explainable: Explainable, items: list[_Item], classes: np.ndarray
    ) -> list[np.ndarray | ValueError]:
        """Return a heat map with a peak for each image, or why there is none."""
        classifier = self._load(explainable)[0]
        try:
            # One by one: pixels are ranked, and a batch changes the last digits of their values.
            maps = [
                compute_heatmaps(classifier, self._stack([one.image]), classes[[number]])[0]
                for number, one in enumerate(items)
            ]
        except ValueError as error:
            return [error] * len(items)
        flat = ValueError(
            "Expected a heat map with a peak, but no place speaks more than another for the "
            "explained class."
        )
        return [one if one.max() > one.min() else flat for one in maps]

    def _explain_by_gradcam(
        self, explainable: Explainable, items: list[_Item]
    ) -> list[_Found | ValueError]:
        """Keep the pixels that Grad-CAM finds to speak most for the predicted class."""
        if not items:
            return []
        probabilities = self._load(explainable)[1](self._stack([item.image for item in items]))
        classes = probabilities.argmax(1).cpu().numpy()
        heatmaps = self._compute_heatmaps(explainable, items, classes)
        found: list[_Found | ValueError] = []
        for number, (item, heatmap) in enumerate(zip(items, heatmaps, strict=True)):
            if not probabilities[number].isfinite().all():
                error = "Expected finite probabilities, but the classifier gave NaN."
                found.append(ValueError(error))
                continue
            if isinstance(heatmap, ValueError):
                found.append(heatmap)
                continue
            keep_mask = keep_most(heatmap, max(1, round(explainable.area * heatmap.size)))
            record = make_record(
                explainable,
                item.image_id,
                "gradcam",
                keep_mask=pack_mask(keep_mask),
                explained_class=int(classes[number]),
            )
            found.append(
                _Found(
                    [record],
                    {"gradcam": heatmap},
                    {"gradcam": keep_mask},
                    fill=np.full_like(item.image, item.image.mean()),
                    explained_class=int(classes[number]),
                )
            )
        return found

    def _measure(
        self, explainable: Explainable, items: list[_Item], found: list[_Found | ValueError]
    ) -> list[dict[str, Any]]:
        """Measure how faithful the explanations are to the classifier, where that is wanted."""
        figures = []
        for item, one in zip(items, found, strict=True):
            if isinstance(one, ValueError) or item.image_id not in explainable.faithfulness_ids:
                continue
            for kind, importance in one.importance.items():
                figure = measure_faithfulness(
                    self._load(explainable)[1],
                    item.image,
                    one.fill,
                    importance,
                    one.keep_masks[kind],
                    one.explained_class,
                    n_steps=_STEPS,
                    batch_size=self.settings.batch_size,
                    device=self.device,
                )
                figures.append(
                    {
                        "model": explainable.model,
                        "seed": explainable.seed,
                        "kind": kind,
                        "image_id": item.image_id,
                        **asdict(figure),
                    }
                )
        return figures

    def _load(self, explainable: Explainable) -> tuple[Classifier, Predict]:
        if explainable.checkpoint not in self.loaded:
            classifier = load_classifier(
                explainable.checkpoint,
                explainable.model,
                n_classes=self.n_classes,
                image_size=self.image_size,
            ).to(self.device)
            run = open_classifier(
                classifier, self.image_size, explainable.frozen, self.device, self.n_threads
            )

            def predict(images: torch.Tensor) -> torch.Tensor:
                self.on_batch()
                return run(images)

            self.loaded[explainable.checkpoint] = (classifier, predict)
        return self.loaded[explainable.checkpoint]

    def _stack(self, images: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(images)).to(self.device)[:, None].float() / 255

    def _draw_heatmaps(self, explainable: Explainable, items: list[_Item]) -> None:
        chosen = [
            item
            for item in items
            if item.image_id in explainable.heatmap_ids
            and not (explainable.heatmaps / f"{item.image_id}.parquet").exists()
        ]
        if not chosen:
            return
        classifier, predict = self._load(explainable)
        batch = self._stack([item.image for item in chosen])
        classes = predict(batch).argmax(1).cpu().numpy()
        try:
            maps = compute_heatmaps(classifier, batch, classes)
        except ValueError:  # no feature map to draw: the report does without
            return
        for item, heatmap in zip(chosen, np.round(maps * 255).astype(np.uint8), strict=True):
            values = (explainable.model, explainable.seed, item.image_id, heatmap.tobytes())
            record = dict(zip(HEATMAPS.names, values, strict=True))
            table = pa.Table.from_pylist([record], schema=HEATMAPS)
            write_table(explainable.heatmaps / f"{item.image_id}.parquet", table)


def _count_errors(explainable: Explainable, part: str) -> int:
    rows = read_table(explainable.masks / part, ["kind", "error"]).to_pylist()
    return sum(row["kind"] == explainable.method and row["error"] is not None for row in rows)


def _describe(explanation: Explanation) -> dict[str, Any]:
    return {
        "weights": explanation.weights.tolist(),
        "explained_class": explanation.explained_class,
        "n_samples": explanation.n_samples,
        "local_fit": explanation.local_fit,
        "stability": explanation.stability,
    }


def _add_control(
    found: _Found,
    explainable: Explainable,
    item: _Item,
    kind: str,
    importance: np.ndarray,
    keep_mask: np.ndarray,
) -> None:
    found.records.append(
        make_record(explainable, item.image_id, kind, keep_mask=pack_mask(keep_mask))
    )
    found.importance[kind] = importance
    found.keep_masks[kind] = keep_mask
