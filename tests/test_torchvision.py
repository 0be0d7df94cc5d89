"""Networks of torchvision: heads, feature maps, weights, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from osteo_ray.base.errors import InputError
from osteo_ray.data.image_size import ImageSize
from osteo_ray.explain.gradcam import compute_heatmaps
from osteo_ray.models.checkpoint import Checkpoint, describe_checkpoint
from osteo_ray.models.classifier import (
    Classifier,
    build_classifier,
    load_classifier,
    save_classifier,
)
from osteo_ray.models.rehearsal import rehearse_training
from osteo_ray.models.settings import TrainingSettings

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def build(name: str, weights: str | None = "none", side_px: int = 64) -> Classifier:
    return build_classifier(
        f"torchvision:{name}",
        n_classes=3,
        image_size=ImageSize.square(side_px),
        weights=weights,
        seed=0,
    )


def refuse(name: str, weights: str | None = "none", side_px: int = 64) -> str:
    with pytest.raises(InputError) as error:
        build(name, weights, side_px)
    assert "\n" not in str(error.value)
    return str(error.value)


def draw(side_px: int = 64) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.random((2, 1, side_px, side_px), np.float32))


def normalise(images: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in IMAGENET)
    return (images - mean) / std


FAMILIES = {
    "resnet18": ("layer4", 512),
    "densenet121": ("features", 1024),
    "squeezenet1_1": ("features", 512),
    "mobilenet_v3_small": ("features", 1024),
    "shufflenet_v2_x0_5": ("conv5", 1024),
    "mnasnet0_5": ("layers", 1280),
    "regnet_x_400mf": ("trunk_output", 400),
    "swin_t": ("permute", 768),
    "convnext_tiny": ("features", 768),
    "googlenet": ("inception5b", 1024),
}


@pytest.mark.parametrize(("name", "expected"), FAMILIES.items())
def test_families(name: str, expected: tuple[str, int]) -> None:
    classifier = build(name).eval()
    layer, width = expected
    hooked = [name for name, one in classifier.backbone.named_modules() if one._forward_hooks]
    assert hooked == [layer]
    images = draw()
    with torch.inference_mode():
        logits, features = classifier(images), classifier.embed(images)
        torch.testing.assert_close(classifier.head(features), logits)
    assert logits.shape == (2, 3)
    assert features.shape == (2, width)
    heatmaps = compute_heatmaps(classifier, images, np.array([0, 1]))
    assert heatmaps.shape == (2, 64, 64)
    assert np.isfinite(heatmaps).all()
    classifier.train()(images).sum().backward()
    used = [one for one in classifier.parameters() if one.grad is not None]
    assert len(used) == len(list(classifier.parameters()))


def test_whole_network_is_that_of_torchvision() -> None:
    classifier = build("resnet18").eval()
    plain = torchvision.models.get_model("resnet18", weights=None, num_classes=3).eval()
    tensors = dict(classifier.backbone.state_dict())
    tensors |= {f"fc.{key}": one for key, one in classifier.head[0].state_dict().items()}
    plain.load_state_dict(tensors)
    with torch.inference_mode():
        torch.testing.assert_close(classifier(draw()), plain(normalise(draw())))


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_heatmap_is_that_of_plain_autograd(name: str) -> None:
    """DenseNet rectifies its feature map in place, which must not change what is weighed."""
    classifier, images = build(name, side_px=96).eval(), draw(96)
    body = classifier.backbone
    if name == "resnet18":
        stem = body.maxpool(body.relu(body.bn1(body.conv1(normalise(images)))))
        features = body.layer4(body.layer3(body.layer2(body.layer1(stem))))
    else:
        features = body.features(normalise(images))
    features = features.detach().requires_grad_()
    pooled = torch.relu(features) if name == "densenet121" else features
    scores = classifier.head(pooled.mean((2, 3)))
    (gradients,) = torch.autograd.grad(scores[0, 0] + scores[1, 2], features)
    maps = torch.relu((gradients.mean((2, 3), keepdim=True) * features).sum(1)).detach().numpy()
    found = compute_heatmaps(classifier, images, np.array([0, 2]))
    for one, expected in zip(found, maps, strict=True):
        peak = np.unravel_index(expected.argmax(), expected.shape)
        side = 96 // len(expected)
        block = one[peak[0] * side : (peak[0] + 1) * side, peak[1] * side : (peak[1] + 1) * side]
        assert block.max() == one.max() > 0


def test_transformer_has_no_feature_map() -> None:
    classifier = build("vit_b_32").eval()
    with pytest.raises(ValueError, match="Grad-CAM needs a CNN"):
        compute_heatmaps(classifier, draw(), np.zeros(2, int))
    with torch.inference_mode():
        assert classifier.embed(draw()).shape == (2, 768)


def test_seed_decides_every_weight() -> None:
    one, again = build("squeezenet1_1").state_dict(), build("squeezenet1_1").state_dict()
    assert all(torch.equal(a, b) for a, b in zip(one.values(), again.values(), strict=True))
    other = build_classifier(
        "torchvision:squeezenet1_1",
        n_classes=3,
        image_size=ImageSize.square(64),
        weights="none",
        seed=1,
    ).state_dict()
    assert not torch.equal(one["head.0.weight"], other["head.0.weight"])
    key = "backbone.features.0.weight"
    assert not torch.equal(one[key], other[key])


def test_hidden_layer_of_the_paper_belongs_to_efficientnets() -> None:
    layers = [type(layer) for layer in build("efficientnet_b0").head]
    assert layers == [nn.Linear, nn.ReLU, nn.Linear]


def test_stored_classifier_answers_as_before(tmp_path: Path) -> None:
    classifier = build("resnet18")
    classifier.train()(draw())
    classifier.eval()
    path, name = tmp_path / "model.safetensors", "torchvision:resnet18"
    save_classifier(classifier, path, Checkpoint(name, ("a", "b", "c"), ImageSize.square(64)))
    assert describe_checkpoint(path).model == name
    found = load_classifier(path, name, n_classes=3, image_size=ImageSize.square(64))
    with torch.inference_mode():
        assert torch.equal(found(draw()), classifier(draw()))


# Weights


def test_weights_file_of_the_whole_network(tmp_path: Path) -> None:
    torch.manual_seed(9)
    plain = torchvision.models.get_model("resnet18", weights=None)
    numbered = nn.Sequential(*list(plain.children())[:-1])  # as RadImageNet stores it
    for content in (
        plain.state_dict(),
        {"backbone." + k: v for k, v in numbered.state_dict().items()},
    ):
        torch.save(content, tmp_path / "a.pt")
        backbone = build("resnet18", str(tmp_path / "a.pt")).backbone
        assert torch.equal(backbone.layer4[1].conv2.weight, plain.layer4[1].conv2.weight)
        assert torch.equal(backbone.bn1.running_var, plain.bn1.running_var)


def test_network_that_asks_for_the_version_of_its_names_is_filled_trained_and_read(
    tmp_path: Path,
) -> None:
    name, size = "torchvision:mnasnet0_5", ImageSize.square(32)
    network = torchvision.models.mnasnet0_5()
    safetensors.torch.save_file(network.state_dict(), tmp_path / "file.safetensors")
    classifier = build("mnasnet0_5", str(tmp_path / "file.safetensors"), size.height)
    assert torch.equal(classifier.backbone.layers[0].weight, network.layers[0].weight)
    rehearse_training(classifier, name, TrainingSettings(), size)
    path = tmp_path / "model.safetensors"
    save_classifier(classifier, path, Checkpoint(name, ("a", "b", "c"), size))
    found = load_classifier(path, name, n_classes=3, image_size=size)
    with torch.inference_mode():
        assert torch.equal(found(draw(32)), classifier.eval()(draw(32)))


def test_weights_without_statistics_are_refused(tmp_path: Path) -> None:
    plain = torchvision.models.get_model("resnet18", weights=None)
    safetensors.torch.save_file(dict(plain.named_parameters()), tmp_path / "a.safetensors")
    found = refuse("resnet18", str(tmp_path / "a.safetensors"))
    assert "no batch-norm statistics: `bn1.running_mean`" in found
    assert "weights of `torchvision:resnet18`" in found


def test_auxiliary_heads_of_a_file_are_left_out(tmp_path: Path) -> None:
    plain = torchvision.models.get_model("googlenet", weights=None, init_weights=False)
    assert plain.aux_logits
    torch.save(plain.state_dict(), tmp_path / "a.pt")
    backbone = build("googlenet", str(tmp_path / "a.pt")).backbone
    assert torch.equal(backbone.conv1.conv.weight, plain.conv1.conv.weight)


def test_positions_of_another_image_size_are_resized(tmp_path: Path) -> None:
    plain = torchvision.models.get_model("vit_b_32", weights=None, image_size=128)
    torch.save(plain.state_dict(), tmp_path / "a.pt")
    backbone = build("vit_b_32", str(tmp_path / "a.pt")).backbone
    assert backbone.encoder.pos_embedding.shape[1] == 2 * 2 + 1
    assert torch.equal(backbone.class_token, plain.class_token)


# What is refused


def test_unknown_name_is_refused_with_the_nearest() -> None:
    found = refuse("resnet_18")
    assert "network of torchvision, but got `torchvision:resnet_18`" in found
    assert "Did you mean `torchvision:resnet18`?" in found


def test_networks_that_do_not_classify_are_unknown() -> None:
    assert "Expected a classification network" in refuse("fcn_resnet50")


@pytest.mark.parametrize(("name", "side_px"), [("vit_b_32", 65), ("alexnet", 32)])
def test_image_size_that_does_not_fit_is_refused(name: str, side_px: int) -> None:
    found = refuse(name, side_px=side_px)
    assert f"to take images of {side_px} px, but it says" in found
    assert "torchvision trained it with 224 px" in found


def test_unreachable_hub_is_told_with_two_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", fail)
    found = refuse("resnet18", None)
    assert "the hub gave none (no route)" in found
    assert "--weights torchvision:resnet18=FILE" in found
    assert "--weights none" in found


def test_weights_of_the_hub_fill_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = torchvision.models.get_model("resnet18", weights=None)
    monkeypatch.setattr(
        torchvision.models.WeightsEnum, "get_state_dict", lambda *_, **__: plain.state_dict()
    )
    assert torch.equal(build("resnet18", None).backbone.conv1.weight, plain.conv1.weight)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_inceptions_see_images_as_their_pretrained_weights_do(name: str) -> None:
    classifier, images = build(name, side_px=96).eval(), draw(96)
    first = next(one for one in classifier.backbone.modules() if isinstance(one, nn.Conv2d))
    seen: list[torch.Tensor] = []
    first.register_forward_hook(lambda *call: seen.append(call[1][0]))
    with torch.inference_mode():
        classifier(images)
    torch.testing.assert_close(seen[0], (2 * images - 1).expand(2, 3, 96, 96))
