"""An explaining actor keeps the classifiers that fit its budget, and opens none without work."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from test_explain_command import CLASSES, MODEL, SIZE_PX, read_masks, store

from osteo_ray.base.tables import PIXELS, write_table
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.phantoms.sets import make_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.explain.explainer import LoadedClassifier, Picture
from osteo_ray.explain.jobs import Explainable, plan_job, read_done
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.pipeline.explain.actor import ExplainingActor
from osteo_ray.pipeline.explain.kept_classifiers import KeptClassifiers, measure_memory

N_CLASSIFIERS, N_IMAGES = 4, 6
SETTINGS = LimeSettings(samples=24, superpixels="grid", n_superpixels=9)
KINDS = ("lime", "random", "gradcam")


def make_explainable(root: Path, number: int, **changes: Any) -> Explainable:
    explainable = Explainable(
        model=MODEL,
        seed=number,
        fingerprint=f"fingerprint-{number}",
        lime_seed=0,
        checkpoint=root / f"{number}.safetensors",
        frozen=root / f"frozen-{number}",
        masks=root / "masks" / str(number),
        faithfulness=root / "faithfulness" / str(number),
        heatmaps=root / "heatmaps" / str(number),
        wanted=frozenset(map(str, range(N_IMAGES))),
        kinds=KINDS,
        faithfulness_ids=frozenset("02"),
    )
    return replace(explainable, **changes)


def draw_phantoms(n_images: int) -> list[np.ndarray]:
    settings = PhantomSettings(n_images=n_images, size_px=SIZE_PX, duplicate_share=0.0)
    return [
        resize_image(phantom.image, ImageSize.square(SIZE_PX))
        for phantom in make_phantoms(settings)
    ]


def write_phantom_pixels(path: Path, n_images: int) -> None:
    rows = [
        {"image_id": str(number), "digest": f"digest-{number}", "pixels": image.tobytes()}
        for number, image in enumerate(draw_phantoms(n_images))
    ]
    write_table(path, pa.Table.from_pylist(rows, schema=PIXELS))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with classifiers and a file of pixels."""
    root = tmp_path_factory.mktemp("kept")
    for number in range(N_CLASSIFIERS):
        store(root / f"{number}.safetensors", seed=number)
    write_phantom_pixels(root / "pixels.parquet", N_IMAGES)
    return root


class Counting(ExplainingActor):
    """An actor that notes which classifiers it opens, and how many it then keeps."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__(*positional, **named)
        self.opened: list[int] = []
        self.most = 0

    def _open(self, explainable: Explainable) -> LoadedClassifier:
        self.opened.append(explainable.seed)
        return super()._open(explainable)

    def _explain(self, explainable: Explainable, *rest: Any) -> Any:
        found = super()._explain(explainable, *rest)
        self.most = max(self.most, len(self.classifiers.list_kept()))
        return found


def explain(root: Path, explainables: list[Explainable], budget_bytes: int) -> Counting:
    """Explain all images, two at a time."""
    job = plan_job(
        explainables, SETTINGS, n_classes=len(CLASSES), image_size=ImageSize.square(SIZE_PX)
    )
    actor = Counting(job, classifiers_bytes=budget_bytes)
    starts = np.arange(0, N_IMAGES, 2)
    files = np.array([str(root / "pixels.parquet")] * len(starts))
    list(actor({"file": files, "start": starts, "stop": starts + 2}))
    return actor


def find_size(root: Path) -> int:
    actor = explain(root, [make_explainable(root, 0, masks=root / "size")], 1)
    return measure_memory(actor.classifiers.get(make_explainable(root, 0)))


@pytest.mark.parametrize(("n_fit", "expected"), [(1, 10), (2, 8), (99, 4)])
def test_as_many_are_kept_as_fit(n_fit: int, expected: int, root: Path, tmp_path: Path) -> None:
    explainables = [
        make_explainable(root, number, masks=tmp_path / str(number), kinds=("lime",))
        for number in range(N_CLASSIFIERS)
    ]
    actor = explain(root, explainables, n_fit * find_size(root))
    assert actor.most == min(n_fit, N_CLASSIFIERS)
    # In each of three slices, those that are kept come first, and the others are opened.
    assert len(actor.opened) == expected


def test_masks_do_not_depend_on_the_budget(root: Path, tmp_path: Path) -> None:
    found = []
    for name, budget_bytes in (("one", 1), ("all", 2**40)):
        folders = [
            {"masks": tmp_path / f"{name}-{number}", "faithfulness": tmp_path / f"{name}-f{number}"}
            for number in range(N_CLASSIFIERS)
        ]
        actor = explain(
            root,
            [make_explainable(root, number, **one) for number, one in enumerate(folders)],
            budget_bytes,
        )
        assert len(actor.opened) == (10 if name == "one" else N_CLASSIFIERS)
        found.append([read_masks(one["masks"]) for one in folders])
    assert found[0] == found[1]
    assert len({str(rows) for rows in found[0]}) == N_CLASSIFIERS  # each explains by itself


def test_no_classifier_is_opened_without_work(root: Path, tmp_path: Path) -> None:
    busy = make_explainable(root, 0, masks=tmp_path / "busy", wanted=frozenset("01"))
    idle = make_explainable(root, 1, masks=tmp_path / "idle", wanted=frozenset())
    explain(root, [make_explainable(root, 2, masks=tmp_path / "done")], 2**40)
    done = make_explainable(root, 2, masks=tmp_path / "done", done=read_done(tmp_path / "done"))
    actor = explain(root, [busy, idle, done], 1)
    assert actor.opened == [0]


def test_the_one_used_longest_ago_goes_first() -> None:
    def open_one(explainable: Explainable) -> LoadedClassifier:
        opened.append(explainable.seed)
        return LoadedClassifier(torch.nn.Linear(1, 1), lambda images: images, torch.device("cpu"))

    opened: list[int] = []
    size = measure_memory(open_one(make_explainable(Path(), 9)))
    kept = KeptClassifiers(open_one, 2 * size)
    for number in (0, 1, 0, 2, 0, 1):
        kept.get(make_explainable(Path(), number))
    assert opened == [9, 0, 1, 2, 1]
    assert [place.stem for place in kept.list_kept()] == ["0", "1"]


def test_superpixels_are_found_beside_the_forward_passes(root: Path, tmp_path: Path) -> None:
    picture = Picture("i", "d", np.tile(np.arange(64, dtype=np.uint8), (64, 1)))
    one = make_explainable(root, 0, wanted=frozenset("i"))
    actor = ExplainingActor(
        plan_job([one], SETTINGS, n_classes=2, image_size=ImageSize.square(SIZE_PX))
    )
    with actor._prepare([picture]):
        pass
    (found,) = picture._superpixels.values()
    np.testing.assert_array_equal(found, picture.find_superpixels(SETTINGS))
