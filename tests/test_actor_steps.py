"""Where the time of an explaining actor goes, and on which device a benchmark computes."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from test_explain_command import store
from test_kept_classifiers import draw_phantoms

from benchmarks import devices
from benchmarks.devices import check_device, share_gpus
from benchmarks.steps import StepClock, StepTimes, StepWorker
from benchmarks.tables import show_steps
from osteo_ray.base.errors import InputError
from osteo_ray.explain.perturbation import Perturbable
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.pipeline.explain import actor

STEPS = {
    *("superpixels", "rendering", "forward", "fit", "stability", "Grad-CAM", "faithfulness"),
    *("writing", "rest"),
}


def test_time_is_charged_to_the_innermost_step() -> None:
    times = iter([0.0, 1.0, 3.0, 7.0, 15.0, 31.0])
    clock = StepClock(lambda: next(times))
    inner = clock.watch("inner", lambda: "found")
    with clock.doing("outer"):
        assert inner() == "found"
    assert clock.stop() == {"rest": 1.0 + 16.0, "outer": 2.0 + 8.0, "inner": 4.0}


def test_all_steps_of_an_actor_are_timed(tmp_path: Path) -> None:
    checkpoint = store(tmp_path / "model.safetensors")
    settings = LimeSettings(samples=40, superpixels="grid", n_superpixels=16)
    before = vars(actor)["open_classifier"]
    found = StepWorker(checkpoint, 1, settings, "cpu").measure(np.stack(draw_phantoms(4)))
    assert vars(actor)["open_classifier"] is before
    assert found.cpu_s.keys() == STEPS
    assert all(seconds > 0 for seconds in found.cpu_s.values())
    assert found.busy is None
    assert found.beside_s == pytest.approx(sum(found.cpu_s.values()) - found.cpu_s["forward"])


def test_steps_are_shown() -> None:
    file = io.StringIO()
    times = StepTimes(2.0, {"forward": 0.25, "fit": 0.125}, None)
    show_steps(Console(file=file, width=80), [("exact", times)])
    printed = " ".join(file.getvalue().split())
    assert "GPU busy" not in printed
    assert "all but forward, s" in printed
    assert "0.1250" in printed


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.ray, "cluster_resources", lambda: {"CPU": 2.0})
    check_device("cpu")
    with pytest.raises(InputError, match="with a GPU for --device cuda, but it has none"):
        check_device("cuda")
    monkeypatch.setattr(devices.ray, "cluster_resources", lambda: {"CPU": 2.0, "GPU": 1.0})
    check_device("cuda")
    assert (share_gpus("cpu", 4), share_gpus("cuda", 4)) == (0.0, 0.25)


def test_perturbed_images_are_exact() -> None:
    rng = np.random.default_rng(0)
    image, fill = rng.integers(0, 256, (2, 20, 30), np.uint8)
    segments, rows = rng.integers(0, 12, (20, 30)), rng.integers(0, 2, (9, 12)).astype(np.uint8)
    shown = Perturbable(image, fill, segments, torch.device("cpu")).render(rows)
    expected = np.where(rows[:, segments] == 1, image, fill).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(shown.numpy(), expected[:, None])
