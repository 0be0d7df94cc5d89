"""`osteo-ray export --as onnx|safetensors`: other tools compute what the classifier computes."""

import importlib.util
import json
import shutil
import tarfile
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from osteo_ray.base.runs import Run
from osteo_ray.commands.main import main
from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.classifier import build_classifier, load_classifier
from osteo_ray.models.graphs import compile_graph
from osteo_ray.pipeline.export import networks

ARCHIVE = Path(__file__).with_name("old_run.tar.xz")
MODEL, SIZE_PX = "test_byobnet", 48


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run of an earlier version, which keeps the weights of its arm `original`."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return Run(tmp_path / "run")


def classify(run: Run, seed: int) -> Callable[[torch.Tensor], torch.Tensor]:
    (file,) = (Path(str(run.trials)) / MODEL / f"seed-{seed}").glob("original-*/model.safetensors")
    classifier = load_classifier(file, MODEL, n_classes=2, image_size=ImageSize.square(SIZE_PX))

    def run_it(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            found: torch.Tensor = classifier(images)
            return found

    return run_it


def draw_images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).random((4, 1, SIZE_PX, SIZE_PX), np.float32))


def import_loader(file: Path) -> ModuleType:
    loader = SourceFileLoader("load", str(file))
    spec = importlib.util.spec_from_loader("load", loader)
    assert spec is not None
    loaded = importlib.util.module_from_spec(spec)
    loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize("name", ["efficientvit_b0", "test_vit"])
def test_timm_loads_networks_that_are_called_like_transformers(name: str, tmp_path: Path) -> None:
    size = ImageSize(64, 32)
    classifier = build_classifier(name, n_classes=2, image_size=size, weights="none", seed=0).eval()
    record = {
        "network": name,
        "image_size": size.plain,
        "head": networks._write_safetensors(classifier, tmp_path),
        "mean": classifier.mean.flatten().tolist(),
        "std": classifier.std.flatten().tolist(),
    }
    (tmp_path / "model.json").write_text(json.dumps(record))
    images = torch.rand(2, 1, *size.shape, generator=torch.Generator().manual_seed(0))
    found = import_loader(networks._LOADER).load_exported(str(tmp_path))(images)
    with torch.inference_mode():
        torch.testing.assert_close(found, classifier(images), rtol=1e-4, atol=1e-5)


def test_timm_loads_what_was_exported_and_gives_its_logits(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["export", str(run.root), "--arm", "original", "--as", "safetensors"]
    assert main([*words, "--out", str(out)]) == 0
    for seed in (0, 1):
        folder = out / MODEL / f"seed-{seed}"
        loaded = import_loader(folder / "load.py")
        assert "osteo_ray" not in (folder / "load.py").read_text().replace("`osteo-ray", "")
        images = draw_images()
        found = loaded.load_exported(str(folder))(images)
        torch.testing.assert_close(found, classify(run, seed)(images), rtol=1e-4, atol=1e-5)
        record = json.loads((folder / "model.json").read_text())
        assert (record["network"], record["seed"]) == (MODEL, seed)
        assert record["classes"] == ["normal", "osteoporosis"]
        assert "not for clinical use" in record["notice"]
    other = classify(run, 1)(draw_images()) - classify(run, 0)(draw_images())
    assert float(other.abs().max()) > 1e-3  # two trainings, not one exported twice


def test_onnx_gives_the_logits_of_the_classifier(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["export", str(run.root), "--arm", "original", "--as", "onnx", "--seeds", "1"]
    assert main([*words, "--out", str(out)]) == 0
    file = out / MODEL / "seed-1" / "model.onnx"
    images = draw_images()
    found = compile_graph(file)([images.numpy()])[0]
    np.testing.assert_allclose(found, classify(run, 1)(images).numpy(), rtol=1e-4, atol=1e-5)
    assert not (out / MODEL / "seed-0").exists()


def test_onnx_that_computes_something_else_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:

    def write_another(classifier: torch.nn.Module, file: Path, size: int) -> None:
        write(load_other(run), file, size)

    write = networks._write_onnx
    monkeypatch.setattr(networks, "_write_onnx", write_another)
    words = ["export", str(run.root), "--arm", "original", "--as", "onnx", "--seeds", "1"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "but they differ by" in " ".join(capfd.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def load_other(run: Run) -> torch.nn.Module:
    (file,) = (Path(str(run.trials)) / MODEL / "seed-0").glob("original-*/model.safetensors")
    return load_classifier(file, MODEL, n_classes=2, image_size=ImageSize.square(SIZE_PX))


def test_without_the_package_or_the_weights_it_says_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(run.root), "--arm", "original", "--out", str(tmp_path / "out"), "--as"]
    monkeypatch.setattr(networks.importlib.util, "find_spec", lambda name: None)
    assert main([*words, "onnx"]) == 2
    assert "Expected the package onnx" in capfd.readouterr().err
    shutil.rmtree(str(run.trials))
    assert main([*words, "safetensors"]) == 2
    assert "Expected the weights of 2 classifiers, but 2 are missing" in " ".join(
        capfd.readouterr().err.split()
    )


def test_networks_that_timm_does_not_know_are_refused(
    finished_model: Callable[[str], None], capfd: pytest.CaptureFixture[str], run: Run
) -> None:
    finished_model("torchvision:mobilenet_v3_small")
    assert main(["export", str(run.root), "--arm", "original", "--as", "safetensors"]) == 2
    assert "Expected networks of timm with --as safetensors" in capfd.readouterr().err


@pytest.fixture
def finished_model(run: Run) -> Callable[[str], None]:
    """Have the run's settings name another network."""

    def change(name: str) -> None:
        config = Path(str(run.config))
        config.write_text(config.read_text().replace(f"- {MODEL}", f"- {name}"))

    return change
