"""Frozen classifiers: the same logits as PyTorch's, whatever the batch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from osteo_ray.data.image_size import ImageSize
from osteo_ray.models import forward
from osteo_ray.models.classifier import Classifier, build_classifier
from osteo_ray.models.forward import (
    FrozenClassifier,
    choose_backend,
    freeze_classifier,
    open_classifier,
)

SIZE = 64
CPU = torch.device("cpu")


def build(name: str, seed: int = 0) -> Classifier:
    """Build a classifier whose batch statistics fit its images, so that these matter to it."""
    classifier = build_classifier(
        name, n_classes=3, image_size=ImageSize.square(SIZE), weights="none", seed=seed
    )
    torch.manual_seed(0)
    classifier.train()
    with torch.inference_mode():
        for _ in range(30):
            classifier(torch.rand(16, 1, SIZE, SIZE))
    return classifier.eval()


@pytest.fixture(scope="module", params=["test_efficientnet", "test_byobnet"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    classifier = build(request.param)
    path = tmp_path_factory.mktemp("frozen") / "graph"
    freeze_classifier(classifier, ImageSize.square(SIZE), path)
    return classifier, path


def test_logits_are_those_of_the_classifier(pair: tuple[Classifier, Path]) -> None:
    classifier, path = pair
    images = torch.rand(9, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = classifier(images).numpy()
    found = FrozenClassifier(path, 1)(images)
    assert found.dtype == torch.float32
    assert expected.std(0).max() > 1e-4  # the classifier tells the images apart
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=2e-6)


def test_batches_and_neighbours_change_no_bit(pair: tuple[Classifier, Path]) -> None:
    frozen = FrozenClassifier(pair[1], 1)
    images = torch.rand(7, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    together = frozen(images).numpy()
    for number in range(7):
        np.testing.assert_array_equal(
            frozen(images[number : number + 1]).numpy()[0], together[number]
        )
    np.testing.assert_array_equal(frozen(images.flip(0)).numpy()[::-1], together)


def test_frozen_file_is_left_as_it_is(pair: tuple[Classifier, Path]) -> None:
    before = {file: file.stat().st_mtime_ns for file in pair[1].glob("[!.]*")}
    freeze_classifier(pair[0], ImageSize.square(SIZE), pair[1])
    assert {file: file.stat().st_mtime_ns for file in pair[1].glob("[!.]*")} == before
    assert sorted(file.suffix for file in before) == [".bin", ".xml"]


@pytest.fixture
def everything_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "_WORTH_FREEZING", 0)


def test_frozen_form_of_another_classifier_is_refused(
    pair: tuple[Classifier, Path], everything_frozen: None
) -> None:
    classifier, path = pair
    assert isinstance(
        open_classifier(classifier, ImageSize.square(SIZE), path, CPU, 1), FrozenClassifier
    )
    with torch.no_grad():
        classifier.head[-1].bias += torch.tensor([0.0, 0.5, 0.0])
        with pytest.raises(RuntimeError, match="they differ by"):
            open_classifier(classifier, ImageSize.square(SIZE), path, CPU, 1)
        classifier.head[-1].bias -= torch.tensor([0.0, 0.5, 0.0])


def test_saturated_classifiers_are_told_apart(
    pair: tuple[Classifier, Path], everything_frozen: None, tmp_path: Path
) -> None:
    classifier, last = pair[0], pair[0].head[-1]
    before = {name: value.clone() for name, value in last.state_dict().items()}
    with torch.no_grad():
        last.bias += torch.tensor([1000.0, 0.0, -1000.0])  # of every image, the same probabilities
        fast = open_classifier(classifier, ImageSize.square(SIZE), tmp_path / "saturated", CPU, 1)
        images = torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
        torch.testing.assert_close(fast(images), classifier(images))
        last.bias += torch.tensor([10.0, 0.0, 0.0])
        with pytest.raises(RuntimeError, match=r"by 1\.0e\+01, where the largest is 1\.0e\+03"):
            open_classifier(classifier, ImageSize.square(SIZE), tmp_path / "saturated", CPU, 1)
        last.load_state_dict(before)


def test_what_cannot_be_frozen_runs_as_it_is(tmp_path: Path, everything_frozen: None) -> None:
    classifier = build("test_vit")  # its positions are resampled by an operation without a rule
    images = torch.rand(3, 1, SIZE, SIZE)
    for _ in range(2):  # the second time, nothing is tried
        predict = open_classifier(classifier, ImageSize.square(SIZE), tmp_path / "vit", CPU, 1)
        with torch.inference_mode():
            assert torch.equal(predict(images), classifier(images))
    assert [file.name for file in (tmp_path / "vit").glob("[!.]*")] == ["unsupported.txt"]


def test_what_cannot_be_exported_runs_as_it_is(tmp_path: Path, everything_frozen: None) -> None:
    class Wavering(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features if features.mean() > 0 else 2 * features

    classifier = build("test_byobnet")
    classifier.feature_map = Wavering()  # type: ignore[assignment]
    images = torch.rand(3, 1, SIZE, SIZE)
    predict = open_classifier(classifier, ImageSize.square(SIZE), tmp_path / "wavering", CPU, 1)
    with torch.inference_mode():
        assert torch.equal(predict(images), classifier(images))
    assert [file.name for file in (tmp_path / "wavering").glob("[!.]*")] == ["unsupported.txt"]


def test_small_networks_and_devices_stay_with_pytorch() -> None:
    def choose(name: str, side_px: int, device: torch.device = CPU) -> str:
        classifier = build_classifier(
            name, n_classes=2, image_size=ImageSize.square(side_px), weights="none", seed=0
        )
        return choose_backend(classifier.eval(), ImageSize.square(side_px), device)

    assert choose("test_byobnet", 64) == "eager"
    assert choose("mobilenetv3_large_100", 224) == "openvino"
    assert choose("mobilenetv3_large_100", 224, torch.device("cuda")) == "eager"


SEVERAL = """
import os, signal, sys
from pathlib import Path
from osteo_ray.models.forward import FrozenClassifier

noticed = []
signal.signal(signal.SIGUSR2, lambda number, frame: noticed.append(number))
first, second = (FrozenClassifier(Path(sys.argv[1]), 1) for _ in range(2))
del first
del second
os.kill(os.getpid(), signal.SIGUSR2)
print(noticed == [signal.SIGUSR2])
"""


def test_a_signal_after_several_classifiers_have_gone_is_survived(
    pair: tuple[Classifier, Path],
) -> None:
    words = [sys.executable, "-X", "faulthandler", "-c", SEVERAL, str(pair[1])]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, "True\n"), ended.stderr
