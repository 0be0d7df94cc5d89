"""Classifiers: heads, seeds, weights from files and the hub, and what is refused."""

from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from osteo_ray.base.errors import InputError
from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.checkpoint import Checkpoint, describe_checkpoint
from osteo_ray.models.classifier import (
    Classifier,
    build_classifier,
    load_classifier,
    save_classifier,
)

TINY = "test_byobnet"


def build(name: str = TINY, weights: str | None = "none", **changes: Any) -> Classifier:
    settings: dict[str, Any] = {
        "n_classes": 2,
        "image_size": ImageSize.square(64),
        "seed": 0,
        **changes,
    }
    return build_classifier(name, weights=weights, **settings)


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((3, 1, 64, 64), np.float32))


@pytest.fixture
def timm_file(tmp_path: Path) -> Path:
    """Weights as the hub stores them: a whole timm model, classifier layer included."""
    torch.manual_seed(99)
    model = timm.create_model(TINY, pretrained=False)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("efficientnet_b0", [(1280, 1024), (1024, 3)]),  # as in the paper
        ("mobilenetv3_small_050", [(1024, 3)]),
        ("test_efficientnet", [(256, 1024), (1024, 3)]),
        ("test_vit", [(64, 3)]),
    ],
)
def test_heads(name: str, widths: list[tuple[int, int]]) -> None:
    head = build(name, n_classes=3).head
    dense = [layer for layer in head if isinstance(layer, nn.Linear)]
    found = [(layer.in_features, layer.out_features) for layer in dense]
    if name.startswith("mobilenet"):  # timm's own hidden layer is not used
        width = timm.create_model(name, pretrained=False, num_classes=0).num_features
        widths = [(width, 3)]
    assert found == widths
    assert sum(isinstance(layer, nn.ReLU) for layer in head) == len(widths) - 1


@pytest.mark.parametrize(
    "name", ["test_byobnet", "test_efficientnet", "test_vit", "test_convnext", "test_resnet"]
)
def test_logits_of_each_family(name: str, images: torch.Tensor) -> None:
    classifier = build(name, n_classes=4).eval()
    with torch.inference_mode():
        logits = classifier(images)
        alone = torch.cat([classifier(image[None]) for image in images])
    assert logits.shape == (3, 4)
    assert logits.dtype == torch.float32
    assert logits.std(0).min() > 0  # the images reach the head
    torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-5)


def test_image_is_normalised_and_shown_in_three_channels(images: torch.Tensor) -> None:
    classifier = build().eval()
    config = classifier.backbone.pretrained_cfg
    mean = torch.tensor(config["mean"]).view(1, 3, 1, 1)
    std = torch.tensor(config["std"]).view(1, 3, 1, 1)
    with torch.inference_mode():
        features = classifier.backbone.forward_features((images.repeat(1, 3, 1, 1) - mean) / std)
        expected = classifier.head(features.mean((2, 3)))
        torch.testing.assert_close(classifier(images), expected)


def test_feature_map_is_that_of_the_backbone(images: torch.Tensor) -> None:
    classifier = build().eval()
    seen: list[torch.Tensor] = []
    classifier.feature_map.register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.inference_mode():
        logits = classifier(images)
    assert seen[0].ndim == 4
    assert seen[0].shape[:2] == (3, classifier.backbone.num_features)
    torch.testing.assert_close(classifier.head(seen[0].mean((2, 3))), logits)


def test_seed_decides_every_weight(timm_file: Path) -> None:
    assert equal(build(seed=1), build(seed=1))
    one, other = build(seed=1), build(seed=2)
    assert not torch.equal(one.head[0].weight, other.head[0].weight)
    assert not torch.equal(next(one.backbone.parameters()), next(other.backbone.parameters()))


def test_head_of_a_pretrained_backbone_is_drawn_from_the_seed(timm_file: Path) -> None:
    one, again, other = (build(weights=str(timm_file), seed=seed) for seed in (1, 1, 2))
    assert equal(one, again)
    assert equal(one.backbone, other.backbone)
    assert not torch.equal(one.head[0].weight, other.head[0].weight)


def test_weights_file_fills_the_backbone(timm_file: Path) -> None:
    stored = safetensors.torch.load_file(timm_file)
    found = build(weights=str(timm_file)).backbone.state_dict()
    assert len(found) > 10
    for key, value in found.items():
        torch.testing.assert_close(value, stored[key], rtol=0, atol=0)


def test_unknown_model_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"got `efficientnet_bo`.*Did you mean `efficientnet_b"):
        build("efficientnet_bo")


def test_missing_weights_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.safetensors"
    with pytest.raises(InputError, match=f"{path} does not exist"):
        build(weights=str(path))


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}", b"text"])
def test_broken_weights_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"safetensors format|holds none"):
        build(weights=str(path))


def test_weights_of_another_architecture_are_refused(timm_file: Path) -> None:
    with pytest.raises(InputError) as error:
        build("test_resnet", weights=str(timm_file))
    message = str(error.value)
    assert "weights of `test_resnet`" in message
    assert str(timm_file) in message
    assert "\n" not in message


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # huggingface_hub reads its environment once, at import; so its constants are changed.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))


def test_unreachable_hub_is_told_with_two_ways_out(no_hub: None) -> None:
    with pytest.raises(InputError) as error:
        build("efficientnet_b0", weights=None)
    message = str(error.value)
    assert "ImageNet weights for `efficientnet_b0`" in message
    assert "--weights efficientnet_b0=FILE" in message
    assert "--weights none" in message
    assert "\n" not in message


def test_model_without_pretrained_weights_is_refused() -> None:
    name = next(name for name in timm.list_models("resnet*") if not timm.is_model_pretrained(name))
    with pytest.raises(InputError, match=f"`{name}`, but timm has none.*--weights none"):
        build(name, weights=None)


@pytest.mark.parametrize("name", ["test_byobnet", "test_vit"])
def test_stored_classifier_answers_as_before(
    name: str, images: torch.Tensor, tmp_path: Path
) -> None:
    classifier = build(name, seed=5)
    classifier.train()
    classifier(images)  # moves the statistics of batch normalisation, which must be stored too
    classifier.eval()
    path = tmp_path / "model.safetensors"
    save_classifier(classifier, path, Checkpoint(name, ("normal", "worn"), ImageSize.square(64)))
    found = load_classifier(path, name, n_classes=2, image_size=ImageSize.square(64))
    assert not found.training
    assert equal(found, classifier)
    with torch.inference_mode():
        assert torch.equal(found(images), classifier(images))


CHECKPOINT = Checkpoint("test_byobnet", ("Osteoporose möglich", "normal"), ImageSize.square(64))


def store(path: Path, checkpoint: Checkpoint = CHECKPOINT, n_classes: int = 2) -> Path:
    classifier = build_classifier(
        "test_byobnet", n_classes=n_classes, image_size=ImageSize.square(64), weights="none", seed=0
    )
    save_classifier(classifier, path, checkpoint)
    return path


def test_checkpoint_says_what_it_is_in_the_same_bytes(tmp_path: Path) -> None:
    path = store(tmp_path / "a.safetensors")
    assert describe_checkpoint(path) == CHECKPOINT
    assert path.read_bytes() == store(tmp_path / "b.safetensors").read_bytes()


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.safetensors does not exist"):
        describe_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="is a folder"):
        describe_checkpoint(tmp_path)
    (tmp_path / "text").write_text("not tensors")
    with pytest.raises(InputError, match="Expected a checkpoint in safetensors format"):
        describe_checkpoint(tmp_path / "text")
    whole = store(tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "torn").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="Expected a checkpoint in safetensors format"):
        describe_checkpoint(tmp_path / "torn")


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        (None, "says nothing"),
        ({"format": "pt"}, "says nothing"),
        ({"osteo_ray": "{}"}, "says `{}`"),
        ({"osteo_ray": "[]"}, r"says `\[\]`"),
        ({"osteo_ray": '{"version": 2, "model": "a", "classes": ["b"], "image_size": 1}'}, "says"),
    ],
)
def test_tensors_of_others_are_refused(tmp_path: Path, metadata: Any, found: str) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, path, metadata=metadata)
    with pytest.raises(InputError, match=f"Expected a checkpoint that osteo_ray wrote.*{found}"):
        describe_checkpoint(path)


def test_single_output_leaves_nothing_to_explain(tmp_path: Path) -> None:
    path = store(
        tmp_path / "a", Checkpoint("test_byobnet", ("normal",), ImageSize.square(64)), n_classes=1
    )
    with pytest.raises(InputError, match=r"at least two classes, .* has 1"):
        describe_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "n_classes", "problem"),
    [
        ("test_byobnet", 3, r"`head.0.weight` has the shape \(2, .*instead of \(3, "),
        ("test_efficientnet", 2, "`backbone.conv_stem.weight` is missing"),
    ],
)
def test_first_tensor_that_does_not_fit_is_named(
    tmp_path: Path, name: str, n_classes: int, problem: str
) -> None:
    path = store(tmp_path / "a")
    with pytest.raises(InputError, match=f"Expected tensors of a `{name}`.*{problem}"):
        load_classifier(path, name, n_classes=n_classes, image_size=ImageSize.square(64))
