"""Weights of others: formats, prefixes, stems, statistics, heads, and what does not fit."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from osteo_ray.base.errors import InputError
from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.classifier import Classifier, build_classifier
from osteo_ray.models.resumption import count_epochs
from osteo_ray.models.weights_fit import Fit, MisfitError, load_weights
from osteo_ray.models.weights_format import tell_format

Tensors = dict[str, torch.Tensor]
TINY = "test_resnet"  # conv1, bn1, act1, maxpool, layer1 … layer4, global_pool, fc


def make_tensors(name: str = TINY, **options: Any) -> Tensors:
    """Return tensors of a whole network that has learned: its statistics are not the first ones."""
    torch.manual_seed(99)
    model = timm.create_model(name, pretrained=False, **options)
    model.train()(torch.rand(4, options.get("in_chans", 3), 64, 64))
    return dict(model.state_dict())


def build(path: Path, name: str = TINY) -> Classifier:
    return build_classifier(
        name, n_classes=2, image_size=ImageSize.square(64), weights=str(path), seed=0
    )


def save(path: Path, content: Any) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    return path


def refuse(path: Path, name: str = TINY) -> str:
    with pytest.raises(InputError) as error:
        build(path, name)
    assert "\n" not in str(error.value)
    return str(error.value)


def check_filled(backbone: nn.Module, expected: Tensors) -> None:
    found = backbone.state_dict()
    assert len(found) > 10
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=0, msg=key)


def behind(prefix: str) -> Callable[[Tensors], Any]:
    return lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()}


def as_sequence(tensors: Tensors) -> Any:
    """Name tensors as RadImageNet does: nn.Sequential of the children, as `backbone`."""
    children = [name for name, _ in timm.create_model(TINY, pretrained=False).named_children()]
    numbered = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        if first != "fc":
            numbered[f"backbone.{children.index(first)}.{rest}"] = tensor
    return numbered


FORMS: dict[str, Callable[[Tensors], Any]] = {
    "plain.safetensors": behind(""),
    "plain.pt": behind(""),
    "plain.bin": behind(""),
    "backbone.pth": behind("backbone."),
    "module.safetensors": behind("module."),
    "model.pt": behind("model."),
    "encoder.pt": behind("encoder."),
    "any-words.pt": behind("trunk.image_tower.0.net."),
    "compiled.pt": behind("_orig_mod."),
    "compiled-within.pt": lambda tensors: {
        re.sub(r"^(layer\d)", r"\1._orig_mod", name): tensor for name, tensor in tensors.items()
    },
    "radimagenet.pt": as_sequence,
    "radimagenet-parallel.pt": lambda tensors: behind("module.")(as_sequence(tensors)),
    "monai.pt": lambda tensors: {
        "epoch": 7,
        "state_dict": behind("_orig_mod.backbone.")(tensors),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
    },
    "lightning.ckpt": lambda tensors: {
        "state_dict": {**behind("model.")(tensors), "loss.weight": torch.ones(2)},
        "hyper_parameters": {"lr": 0.1},
    },
    "nested.pt": lambda tensors: {"model": {"module": behind("encoder.")(tensors)}},
    "same-twice.pt": lambda tensors: {"model": tensors, "model_ema": dict(tensors)},
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_found_wherever_they_stand(form: str, tmp_path: Path) -> None:
    tensors = make_tensors()
    path = save(tmp_path / form, FORMS[form](tensors))
    check_filled(build(path).backbone, tensors)


@pytest.mark.parametrize("pattern", [r"\1layers.\2", r"\1\2"], ids=["monai", "torchvision"])
def test_names_in_dense_blocks(pattern: str, tmp_path: Path) -> None:
    tensors = make_tensors("densenet121")
    renamed = {
        re.sub(r"(denselayer\d+\.)((?:norm|conv)\d)", pattern, name): tensor
        for name, tensor in tensors.items()
    }
    renamed["class_layers.out.weight"] = renamed.pop("classifier.weight")
    path = save(tmp_path / "dense.pt", {"state_dict": renamed})
    check_filled(build(path, "densenet121").backbone, tensors)


def test_names_in_dense_blocks_of_long_ago(tmp_path: Path) -> None:
    tensors = make_tensors("densenet121")
    renamed = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): tensor
        for name, tensor in tensors.items()
    }
    path = save(tmp_path / "dense.pt", behind("module.densenet121.")(renamed))
    check_filled(build(path, "densenet121").backbone, tensors)


@pytest.mark.parametrize("width", [1, 165, 1000])
def test_head_of_any_width_is_left_out(width: int, tmp_path: Path) -> None:
    tensors = make_tensors(num_classes=width)
    classifier = build(save(tmp_path / "a.safetensors", tensors))
    check_filled(classifier.backbone, tensors)
    drawn = build_classifier(
        TINY, n_classes=2, image_size=ImageSize.square(64), weights="none", seed=0
    )
    assert torch.equal(classifier.head[0].weight, drawn.head[0].weight)


def test_half_precision_is_read_as_single(tmp_path: Path) -> None:
    tensors = {
        name: one.half() if one.is_floating_point() else one for name, one in make_tensors().items()
    }
    backbone = build(save(tmp_path / "a.safetensors", tensors)).backbone
    found = backbone.conv1[0].weight
    assert found.dtype == torch.float32
    assert torch.equal(found, tensors["conv1.0.weight"].float())


def test_file_without_counters_is_complete(tmp_path: Path) -> None:
    tensors = {name: one for name, one in make_tensors().items() if "num_batches" not in name}
    backbone = build(save(tmp_path / "a.pt", tensors)).backbone
    assert torch.equal(backbone.bn1.running_mean, tensors["bn1.running_mean"])


# Stems


def test_stem_of_one_channel_is_shared_out(tmp_path: Path) -> None:
    tensors = make_tensors(in_chans=1)
    stem = build(save(tmp_path / "gray.pt", tensors)).backbone.conv1[0].weight
    assert stem.shape[1] == 3
    for channel in range(3):
        torch.testing.assert_close(stem[:, channel], tensors["conv1.0.weight"][:, 0] / 3)


def test_gray_image_in_three_channels_gives_what_the_stem_of_one_gave(tmp_path: Path) -> None:
    tensors = make_tensors(in_chans=1)
    stem = build(save(tmp_path / "gray.pt", tensors)).backbone.conv1[0]
    gray = torch.from_numpy(np.random.default_rng(0).random((1, 1, 16, 16), np.float32))
    expected = nn.functional.conv2d(
        gray, tensors["conv1.0.weight"], None, stem.stride, stem.padding
    )
    torch.testing.assert_close(stem(gray.expand(1, 3, 16, 16)), expected, rtol=1e-4, atol=1e-5)


def test_stem_of_three_channels_is_summed_as_timm_does() -> None:
    color = make_tensors()
    expected = timm.create_model(
        TINY,
        pretrained=True,
        in_chans=1,
        pretrained_cfg_overlay={"state_dict": dict(color), "input_size": (3, 64, 64)},
    )
    gray = timm.create_model(TINY, pretrained=False, in_chans=1)
    load_weights(gray, color, Fit(("fc",), ("conv1.0",)))
    torch.testing.assert_close(gray.conv1[0].weight, expected.conv1[0].weight)
    assert torch.equal(gray.layer2[0].conv1.weight, expected.layer2[0].conv1.weight)


def test_stem_of_another_width_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors", make_tensors(in_chans=4))
    found = refuse(path)
    assert re.search(r"`conv1.0.weight` has the shape \(\d+, 4, .*instead of \(\d+, 3, ", found)
    assert str(path) in found


# What does not fit


def test_file_without_statistics_is_refused(tmp_path: Path) -> None:
    tensors = {name: one for name, one in make_tensors().items() if "running" not in name}
    found = refuse(save(tmp_path / "a.safetensors", tensors))
    assert "holds no batch-norm statistics: `conv1.1.running_mean`" in found
    assert "buffers included" in found


@pytest.mark.parametrize("lost", ["layer4.0.conv1.weight", "bn1.running_var"])
def test_single_tensor_that_is_missing_is_named(lost: str, tmp_path: Path) -> None:
    tensors = make_tensors()
    del tensors[lost]
    assert f"`{lost}`" in refuse(save(tmp_path / "a.pt", tensors))


def test_larger_network_of_the_family_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", make_tensors("resnet34"))
    found = refuse(path, "resnet18")  # all tensors of ResNet18 are there, in the same shapes
    assert "the network has no place for `layer1.2.conv1.weight`" in found


def test_smaller_network_of_the_family_is_refused(tmp_path: Path) -> None:
    assert "lacks `layer1.2.conv1.weight`" in refuse(
        save(tmp_path / "a.pt", make_tensors("resnet18")), "resnet34"
    )


def test_weights_of_another_family_are_refused(tmp_path: Path) -> None:
    found = refuse(save(tmp_path / "a.pt", make_tensors("test_efficientnet")), "test_vit")
    assert "Expected weights of `test_vit`" in found
    assert "Give the file that belongs to this model" in found


def test_tensors_of_something_else_are_refused(tmp_path: Path) -> None:
    found = refuse(save(tmp_path / "a.pt", {"u": torch.zeros(2), "v": torch.zeros(2)}))
    assert "none of its 2 tensors is named like one of the network's" in found
    assert "begins with `u`" in found


def test_two_different_networks_are_refused(tmp_path: Path) -> None:
    tensors = make_tensors()
    moved = {name: one * 0.5 if one.is_floating_point() else one for name, one in tensors.items()}
    found = refuse(save(tmp_path / "a.pt", {"encoder_q": tensors, "encoder_k": moved}))
    assert "two networks, as `encoder_q.…` and as `encoder_k.…`" in found
    content = {**tensors, **behind("module.")(moved)}
    assert "two tensors for `conv1.0.weight`" in refuse(save(tmp_path / "b.pt", content))


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.full((8,), torch.nan), "numbers that are not finite"),
        (torch.ones(8, dtype=torch.int8), r"holds torch.int8 instead"),
        (torch.ones(7), r"has the shape \(7,\) instead of"),
    ],
)
def test_values_that_cannot_be_used_are_named(
    tensor: torch.Tensor, words: str, tmp_path: Path
) -> None:
    tensors = make_tensors()
    shape = tensors["bn1.running_mean"].shape
    tensors["bn1.running_mean"] = tensor if len(tensor) == 7 else tensor[:1].expand(shape).clone()
    found = refuse(save(tmp_path / "a.safetensors", tensors))
    assert re.search(f"`bn1.running_mean` {words}|`bn1.running_mean`.*{words}", found)


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize("kind", ["sparse", "int8", "complex64"])
def test_stem_of_another_width_is_made_of_numbers_as_well(kind: str, tmp_path: Path) -> None:
    tensors, name = make_tensors(), "conv1.0.weight"
    gray = tensors[name].sum(1, keepdim=True)
    tensors[name] = gray.to_sparse() if kind == "sparse" else gray.to(getattr(torch, kind))
    assert f"`{name}` holds torch.{kind}" in refuse(save(tmp_path / "a.pt", tensors))


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize("kind", ["sparse", "meta"])
def test_tensors_without_a_number_per_weight_are_refused(kind: str, tmp_path: Path) -> None:
    tensors, name = make_tensors(), "layer1.0.conv1.weight"
    tensors[name] = tensors[name].to_sparse() if kind == "sparse" else tensors[name].to("meta")
    found = refuse(save(tmp_path / "a.pt", tensors))
    assert f"`{name}` holds " in found
    assert "instead of a number per weight" in found


def test_misfit_leaves_the_network_as_it_was() -> None:
    module, tensors = timm.create_model(TINY, pretrained=False), make_tensors()
    before = {name: one.clone() for name, one in module.state_dict().items()}
    del tensors["layer4.0.conv1.weight"]
    with pytest.raises(MisfitError):
        load_weights(module, tensors, Fit())
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())


# Formats


class Unsafe:
    """Something that a pickle may hold, and that is no tensor."""


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"model": Unsafe()}, "Unsafe"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({"best": np.float64(0.5)}, "scalar"),
    ],
)
def test_pickle_that_could_run_code_is_refused(content: Any, named: str, tmp_path: Path) -> None:
    found = refuse(save(tmp_path / "a.pt", content))
    assert "Expected nothing but tensors" in found
    assert named in found
    assert "safetensors.torch.save_file" in found


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.zeros(2)]])
def test_file_without_tensors_is_refused(content: Any, tmp_path: Path) -> None:
    assert "it holds none" in refuse(save(tmp_path / "a.pt", content))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 torn", b"\x80\x02 torn"])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    assert f"{path}" in refuse(path)


def test_checkpoint_with_a_changed_byte_counts_as_missing(tmp_path: Path) -> None:
    file = tmp_path / "trial" / "training.pt"
    file.parent.mkdir()
    values = torch.full((64,), 0.123)
    save(file, {"training": "trial", "epochs": [{}, {}], "kept": values})
    assert count_epochs(file) == 2
    content = bytearray(file.read_bytes())
    content[content.index(values.numpy().tobytes()) + 9] ^= 1
    file.write_bytes(content)
    assert count_epochs(file) == 0
    file.write_bytes(content[:-30])
    assert count_epochs(file) == 0


def test_file_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", make_tensors())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    found = refuse(path)
    assert f"{path} is damaged: the checksum of `a/data/" in found


@pytest.mark.parametrize("first", [0x80, 0x50, 0x00])
def test_safetensors_may_begin_with_any_byte(first: int, tmp_path: Path) -> None:
    # Its first byte is that of the length of its header, which is a multiple of 8.
    path, tensors = tmp_path / "a.pt", make_tensors()
    for length in range(0, 256, 8):
        safetensors.torch.save_file(tensors, path, metadata={"note": "x" * length})
        if path.read_bytes()[0] == first:
            break
    assert path.read_bytes()[0] == first
    assert tell_format(path, path) == "safetensors"
    torch.save(tensors, path)
    assert tell_format(path, path) == "torch"
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    assert path.read_bytes()[0] == 0x80
    assert tell_format(path, path) == "torch"


def test_older_format_of_torch_is_read(tmp_path: Path) -> None:
    tensors = make_tensors()
    torch.save(tensors, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    check_filled(build(tmp_path / "a.pth").backbone, tensors)


def test_position_embeddings_of_another_image_size_are_resized(tmp_path: Path) -> None:
    torch.manual_seed(99)
    tensors = dict(timm.create_model("test_vit", pretrained=False, img_size=160).state_dict())
    backbone = build(save(tmp_path / "a.safetensors", tensors), "test_vit").backbone
    assert backbone.pos_embed.shape != tensors["pos_embed"].shape
    key = "blocks.0.attn.qkv.weight"
    assert torch.equal(backbone.state_dict()[key], tensors[key])
