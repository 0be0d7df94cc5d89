"""What is refused before any image is read, or Ray is started."""

import socket
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import requests
import safetensors.numpy
import timm
import torchvision
from huggingface_hub import constants
from test_cli import draw_images, fail
from timm.models import _registry

from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.config.build import build_config
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.models import hub
from osteo_ray.models.hub import check_hubs, find_stored
from osteo_ray.models.offered import check_names, list_timm, list_torchvision
from osteo_ray.pipeline import before_reading
from osteo_ray.pipeline.before_reading import check_disk, check_setup, estimate_bytes
from osteo_ray.pipeline.ingest import reading


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for seed, name in enumerate(("normal", "osteoporosis")):
        draw_images(tmp_path / "data" / name, 12, seed)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("images are read")

    monkeypatch.setattr(reading, "ingest_images", read)


# Names


def test_source_names_the_networks_that_the_packages_offer() -> None:
    makers = _registry._model_entrypoints
    own = {name for name in makers if makers[name].__module__.startswith("osteo_ray.")}
    assert set(list_timm()) == set(makers) - own
    assert list_torchvision() == set(torchvision.models.list_models(module=torchvision.models))
    assert list_timm()["tv_resnet34"] == "resnet34.tv_in1k"  # renamed
    assert timm.is_model("tv_resnet34")


@pytest.mark.parametrize("name", ["resnet18", "resnet50.a1_in1k", "torchvision:vgg11", "net.py:f"])
def test_known_names_pass(name: str) -> None:
    check_names([name])


def test_network_that_this_process_has_registered_passes() -> None:
    import osteo_ray.pipeline.validate.stripe_net  # noqa: F401  # registers its networks with timm

    assert "stripe_net" not in list_timm()
    check_names(["stripe_net"])


@pytest.mark.parametrize("command", ["compare", "plan", "protocols", "variance", "audit"])
@pytest.mark.parametrize(
    ("name", "nearest"),
    [("resnet19", "`resnet1"), ("torchvision:resnet19", "`torchvision:resnet1")],
)
def test_unknown_name_is_refused_at_once(
    command: str, name: str, nearest: str, data: Path, tmp_path: Path, capfd
) -> None:
    out = tmp_path / "out"
    place = [] if command == "plan" else ["--out", str(out)]
    leak = ["--measure-leak"] if command == "audit" else []
    words = ["--data", str(data), "--models", name, "--weights", "none", *place, *leak]
    assert f"Did you mean {nearest}" in fail(capfd, command, *words)
    assert not out.exists()


# Weights files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "weights file, but .* does not exist"),
        ("folder", "weights file, but .* is a folder"),
        (b"", "something else"),
        (b"not weights", "something else"),
        ({}, "holds none"),
    ],
)
def test_weights_file_is_refused_at_once(
    content: object, message: str, data: Path, tmp_path: Path
) -> None:
    file = tmp_path / "weights"
    if content == "folder":
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        safetensors.numpy.save_file({}, file)
    config = build_config(
        {"data": str(data), "models": ["resnet18"], "weights": [f"resnet18={file}"]}
    )
    with pytest.raises(InputError, match=message):
        check_setup(config)


# Hubs


@pytest.fixture
def empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path


BOTH = ("resnet18", "torchvision:resnet18")


@pytest.mark.parametrize("name", BOTH)
def test_hub_that_keeps_silent_is_given_up(
    name: str, empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LIMIT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(hub, "_TORCH_HUB", address)
        with pytest.raises(InputError, match=r"does not answer within 0\.2 s.*--weights none"):
            check_hubs([name])


@pytest.mark.parametrize("name", BOTH)
def test_hub_that_answers_at_all_is_enough_and_asked_once(
    name: str, empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(requests, "head", lambda url, **_: asked.append(url))
    check_hubs([name, name.replace("18", "34")])
    assert len(asked) == 1


def test_weights_that_are_stored_need_no_hub(
    empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in BOTH:
        assert find_stored(name) is None
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        check_hubs(["resnet18"])
    stored = empty_caches / "hf/models--timm--resnet18.a1_in1k/snapshots/0a1b/model.safetensors"
    files = [stored, empty_caches / "torch/hub/checkpoints/resnet18-f37072fd.pth"]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
    assert [find_stored(name) for name in BOTH] == files
    assert find_stored("resnet18.a1_in1k") == stored
    assert find_stored("resnet18.other") is None
    assert find_stored("resnet18d") is None
    assert find_stored("torchvision:resnet34") is None
    check_hubs(BOTH)


@pytest.mark.parametrize("name", sorted(list_torchvision()))
def test_stored_weights_of_torchvision_are_found_by_their_own_name(
    name: str, empty_caches: Path
) -> None:
    url = torchvision.models.get_model_weights(name).DEFAULT.url
    file = empty_caches / "torch/hub/checkpoints" / Path(url).name
    file.parent.mkdir(parents=True)
    file.touch()
    assert find_stored(f"torchvision:{name}") == file


# Resources and room


@pytest.mark.parametrize("flag", ["--resources.cpus-per-worker=4096", "--workers=4096"])
def test_machine_that_is_too_small_is_known_before_ray_starts(
    flag: str, data: Path, tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(before_reading, "is_cluster_given", lambda: False)
    words = ["--weights", "none", flag, "--out", str(tmp_path / "out")]
    printed = fail(capfd, "compare", str(data), *words)
    assert "Expected a cluster with room for" in printed
    assert "start Ray" not in printed


class _Usage(NamedTuple):
    free: float


@pytest.mark.parametrize(("free", "is_enough"), [(1.0, True), (0.99, False)])
def test_run_without_room_is_refused(
    free: float, is_enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = build_config({"seeds": 2})
    phantoms = PhantomSettings()
    usage = _Usage(free * estimate_bytes(config, phantoms))
    free_at = {tmp_path: usage}  # asked for the folder that exists
    monkeypatch.setattr(before_reading.shutil, "disk_usage", lambda place: free_at[place])
    run = Run(tmp_path / "new" / "run")
    if is_enough:
        check_disk(config, run, phantoms)
        return
    with pytest.raises(InputError, match=f"of room for the run, but {run.root} has"):
        check_disk(config, run, phantoms)


def test_room_is_for_images_masks_and_classifiers(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(10**6, np.float32)}, file)
    settings = {"models": ["resnet18"], "seeds": 2, "arms": ["original", "lime"], "image_size": 100}
    without, with_size = (
        estimate_bytes(build_config({**settings, "weights": weights}), PhantomSettings(n_images=50))
        for weights in ("none", [f"resnet18={file}"])
    )
    # 50 images of 100² bytes, and two masks of 100² bits for each of the 50 in each of two seeds.
    assert without == pytest.approx(0.3 * (50 * 100**2 + 100 * 100**2 / 8), rel=0.5)
    assert with_size - without == 4 * file.stat().st_size  # trainings
