"""Reduced precision: refused where a processor lacks it, and where masks would be others."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from test_explain_command import CLASSES, MODEL, SIZE_PX, store
from test_kept_classifiers import draw_phantoms, make_explainable, write_phantom_pixels

from osteo_ray.base.errors import InputError
from osteo_ray.base.tables import read_json, write_json
from osteo_ray.cluster.placement import Slot
from osteo_ray.data.image_size import ImageSize
from osteo_ray.explain.jobs import ExplainJob, plan_job
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.models import forward
from osteo_ray.models.classifier import build_classifier, load_classifier
from osteo_ray.models.forward import check_precision, open_classifier
from osteo_ray.models.training import make_deterministic
from osteo_ray.pipeline.explain import precision
from osteo_ray.pipeline.explain.precision import check_overlaps, measure_overlap_of

CPU = torch.device("cpu")
SLOT = Slot(1, 0)
N_PHANTOMS = 10
SETTINGS = LimeSettings(samples=120, superpixels="grid", n_superpixels=49)


def describe(isa: str) -> Any:
    return lambda: {"isa": isa}


@pytest.mark.parametrize(
    ("kind", "isa", "fits"),
    [
        ("fp32", "", True),
        ("bf16", "avx2 avx512f fma", False),
        ("bf16", "avx512_bf16 avx512f", True),
        ("bf16", "amx_bf16", True),
        ("fp16", "avx512_bf16 avx512f", False),
        ("fp16", "avx512_fp16", True),
    ],
)
def test_processors_without_a_precision_are_refused(
    kind: Any, isa: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "describe_machine", describe(isa))
    if fits:
        check_precision(kind, CPU)
        return
    with pytest.raises(InputError, match=rf"computes in {kind}, as --lime.precision asks.*{isa}"):
        check_precision(kind, CPU)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("precision")
    store(root / "0.safetensors")
    write_phantom_pixels(root / "pixels" / "part-a.parquet", N_PHANTOMS)
    return root


@pytest.fixture
def with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without the instructions emulates them."""
    monkeypatch.setattr(forward, "describe_machine", describe("avx512_bf16"))


def make_job(root: Path, masks: Path, kind: str) -> ExplainJob:
    wanted = frozenset(map(str, range(1, N_PHANTOMS)))
    settings = SETTINGS.model_copy(update={"precision": kind})
    explainable = make_explainable(root, 0, masks=masks, wanted=wanted)
    return plan_job(
        [explainable], settings, n_classes=len(CLASSES), image_size=ImageSize.square(SIZE_PX)
    )


def test_reduced_precision_is_near_full_precision_but_not_equal(
    root: Path, with_bf16: None
) -> None:
    classifier = load_classifier(
        root / "0.safetensors", MODEL, n_classes=len(CLASSES), image_size=ImageSize.square(SIZE_PX)
    )
    drawn = np.stack(draw_phantoms(4))[:, None]
    images = torch.from_numpy(drawn).float() / 255
    full, reduced = (
        open_classifier(classifier, ImageSize.square(SIZE_PX), root / "frozen", CPU, 1, kind)(
            images
        )
        for kind in ("fp32", "bf16")
    )
    assert full.dtype == reduced.dtype
    assert 1e-4 < (full - reduced).abs().max() < 0.5


NETWORK = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.body = nn.Sequential(BODY)
        self.head = nn.LazyLinear(n_classes)

    def forward(self, images):
        return AFTER(self.head(self.body(images).flatten(1)))


def make(n_classes):
    net = Net(n_classes)
    net(torch.zeros(1, 1, SIZE, SIZE))
    return net
"""


@pytest.mark.parametrize("body", ["nn.Conv2d(1, 3, 3, 2), nn.ReLU()", "nn.Flatten(2)"])
@pytest.mark.parametrize("after", ["", "2 *", "torch.tanh"])
def test_networks_that_go_on_after_their_last_layer_give_logits_as_well(
    body: str, after: str, with_bf16: None, tmp_path: Path
) -> None:
    code = NETWORK.replace("BODY", body).replace("AFTER", after).replace("SIZE", str(SIZE_PX))
    size = ImageSize.square(SIZE_PX)
    classifier = build_classifier(
        "net.py:make", n_classes=3, image_size=size, weights="none", seed=0, code=code
    ).eval()
    images = torch.rand(4, 1, SIZE_PX, SIZE_PX, generator=torch.Generator().manual_seed(0))
    full, reduced = (
        open_classifier(classifier, size, tmp_path, CPU, 1, kind)(images)
        for kind in ("fp32", "bf16")
    )
    assert reduced.dtype == torch.float32
    torch.testing.assert_close(reduced, full, rtol=0.03, atol=0.03)


def test_overlap_is_measured_on_some_images_and_the_same_samples(
    root: Path, tmp_path: Path, with_bf16: None
) -> None:
    job = make_job(root, tmp_path, "bf16")
    found = measure_overlap_of(root / "pixels", job.explainables[0], job, SLOT)
    assert found["n_images"] == precision.N_IMAGES
    assert found["precision"] == "bf16"
    assert 0.3 < found["overlap"] < 1
    # With other samples, or another number of images, the same precision would not give 1.
    same = make_job(root, tmp_path, "fp32")
    assert measure_overlap_of(root / "pixels", same.explainables[0], same, SLOT)["overlap"] == 1.0


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Run the measurement here, and count how often."""
    calls: list[int] = []

    class Here:
        @staticmethod
        def options(**resources: Any) -> type["Here"]:
            assert resources == {"num_cpus": 1, "num_gpus": 0}
            return Here

        @staticmethod
        def remote(*rest: Any) -> Any:
            calls.append(1)
            return measure_overlap_of(*rest)

    monkeypatch.setattr(precision, "_measure_overlap", Here)
    monkeypatch.setattr(precision.ray, "get", lambda found: found)
    return calls


def test_masks_that_would_be_others_are_refused_and_the_overlap_is_stored(
    root: Path, tmp_path: Path, with_bf16: None, in_process: list[int], monkeypatch: Any
) -> None:
    job = make_job(root, tmp_path, "bf16")
    with pytest.raises(
        InputError,
        match=r"in bf16 to overlap by at least 0\.98 with those in fp32, but those of \S+ overlap "
        r"by 0\.\d\d \(8 images, the same samples\)",
    ):
        check_overlaps(root / "pixels", job, SLOT)
    stored = read_json(tmp_path / "precision.json")
    assert (stored["precision"], stored["n_images"], stored["device"]) == ("bf16", 8, "cpu")
    monkeypatch.setattr(precision, "LEAST_OVERLAP", stored["overlap"])
    check_overlaps(root / "pixels", job, SLOT)
    assert in_process == [1]  # what was measured is read


def test_classifier_that_cannot_be_explained_is_told_from_other_masks(
    root: Path, tmp_path: Path, with_bf16: None, in_process: list[int]
) -> None:
    job = make_job(root, tmp_path, "bf16")
    none = replace(job, settings=job.settings.model_copy(update={"samples": 2}))
    with pytest.raises(InputError, match="LIME explains none of the first 8 images by "):
        check_overlaps(root / "pixels", none, SLOT)


def test_overlap_of_another_precision_is_measured_anew(
    root: Path, tmp_path: Path, with_bf16: None, in_process: list[int], monkeypatch: Any
) -> None:
    monkeypatch.setattr(precision, "LEAST_OVERLAP", 0.0)
    found = {"precision": "fp16", "device": "cpu", "n_images": 8, "overlap": 1.0}
    write_json(tmp_path / "precision.json", found)
    check_overlaps(root / "pixels", make_job(root, tmp_path, "bf16"), SLOT)
    assert in_process == [1]
    assert read_json(tmp_path / "precision.json")["precision"] == "bf16"


def test_full_precision_is_not_measured(root: Path, tmp_path: Path, in_process: list[int]) -> None:
    check_overlaps(root / "pixels", make_job(root, tmp_path, "fp32"), SLOT)
    assert in_process == []
    assert not any(tmp_path.iterdir())


def test_precision_belongs_to_what_determines_a_mask() -> None:
    plain, reduced = SETTINGS.describe_masks(), make_settings("bf16").describe_masks()
    assert reduced == {**plain, "precision": "bf16"}


def make_settings(kind: str) -> Any:
    return SETTINGS.model_copy(update={"precision": kind})


def test_products_of_floats_are_not_shortened_on_a_gpu() -> None:
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = True
    make_deterministic(1)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_a_checkpoint_without_statistics_of_batch_normalization_is_refused(
    root: Path, tmp_path: Path
) -> None:
    tensors = safetensors.torch.load_file(root / "0.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "running_" not in name}
    safetensors.torch.save_file(kept, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"running_mean`, a statistic of batch normalization, is"):
        load_classifier(
            tmp_path / "model.safetensors",
            MODEL,
            n_classes=len(CLASSES),
            image_size=ImageSize.square(SIZE_PX),
        )
