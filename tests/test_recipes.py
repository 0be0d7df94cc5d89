"""Each setting of a recipe does what it says, and what a recipe presets can be overruled."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers.drop import DropPath
from tiny_nets import CPU, TRAINING, VALIDATION, flatten, make_classifier, train
from torch import nn
from torch.nn import functional
from torchvision import models
from torchvision.ops import StochasticDepth

from osteo_ray.base.errors import InputError
from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.adjustments import connect_drops, find_dtype
from osteo_ray.models.batches import ImageSet
from osteo_ray.models.class_weights import balance_classes
from osteo_ray.models.classifier import Classifier, build_classifier
from osteo_ray.models.epochs import Epoch, has_stalled
from osteo_ray.models.layers import number_layers
from osteo_ray.models.losses import TrainingLoss
from osteo_ray.models.optimization import Optimization, find_factor
from osteo_ray.models.settings import (
    NO_AUGMENTATION,
    LossSettings,
    ScheduleSettings,
    TrainingSettings,
)
from osteo_ray.models.training import DivergedError, make_deterministic

MISLED = ImageSet(VALIDATION.pixels, 1 - VALIDATION.labels)  # learning makes these worse


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    make_deterministic(1)


def make_real(name: str = "test_efficientnet") -> Classifier:
    return build_classifier(
        name, n_classes=2, image_size=ImageSize.square(32), weights="none", seed=0
    )


def take_steps(
    classifier: Classifier, settings: TrainingSettings, n_steps: int = 1, scale: float = 1.0
) -> Optimization:
    """Take steps on one batch, in evaluation mode, so that nothing is random."""
    classifier.eval()
    optimization = Optimization(classifier, settings, n_steps)
    loss = TrainingLoss(settings.loss, TRAINING.labels, 2, CPU)
    labels = torch.from_numpy(TRAINING.labels)
    for _ in range(n_steps):
        images = TRAINING.make_batch(np.arange(len(TRAINING)), CPU)
        optimization.take_step(scale * loss(classifier(images), labels) / len(TRAINING))
    return optimization


# The recipes as presets


def test_recipe_presets_what_is_not_given() -> None:
    paper, modern = TrainingSettings(), TrainingSettings(recipe="modern")
    assert TrainingSettings(recipe="paper") == paper
    assert (modern.optimizer.name, modern.schedule.name) == ("adamw", "cosine")
    assert modern.list_changes() == paper.list_changes() == []
    given = TrainingSettings.model_validate(
        {"recipe": "modern", "patience": None, "optimizer": {"weight_decay": 0.3}}
    )
    assert given.patience is None
    assert given.optimizer.weight_decay == 0.3
    assert given.optimizer.layer_decay == modern.optimizer.layer_decay
    assert given.list_changes() == [
        "optimizer.weight_decay (recipe 0.02, here 0.3)",
        "patience (recipe 10, here None)",
    ]
    again = TrainingSettings.model_validate(given.model_dump())
    assert again == given


def test_choices_at_their_defaults_change_no_name() -> None:
    assert TrainingSettings().describe() == {
        "epochs": 30,
        "per_worker_batch_size": 32,
        "learning_rate": 1e-4,
        "augmentation": {"rotation_deg": 20, "shift": 0.2, "shear": 0.2, "zoom": 0.2, "flip": True},
    }
    changes: list[dict[str, Any]] = [
        {"keep": "last"},
        {"patience": 3},
        {"precision": "bfloat16"},
        {"augmentation": {"shear_unit": "degrees"}},
        {"optimizer": {"epsilon": 1e-7}},
        {"schedule": {"warmup": 0.1}},
        {"loss": {"label_smoothing": 0.1}},
        {"network": {"drop_connect": 0.2}},
    ]
    described = [TrainingSettings.model_validate(one).describe() for one in [{}, *changes]]
    assert all(a != b for at, a in enumerate(described) for b in described[:at])
    # Equal settings have one name, however they were chosen.
    modern = TrainingSettings(recipe="modern").model_dump()
    assert TrainingSettings.model_validate({**modern, "recipe": "paper"}).describe() == (
        TrainingSettings(recipe="modern").describe()
    )


def flatten_settings(settings: dict[str, Any], at: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{at}{key.replace('_', '-')}"
        flat |= flatten_settings(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def test_documentation_lists_what_recipes_set() -> None:
    text = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z.-]+)`[^|]*\| ([^|]+) \| ([^|]+) \|$", text, re.M)
    listed = {name: (paper.strip("`"), modern.strip("`")) for name, paper, modern in rows}
    paper, modern = (
        flatten_settings(TrainingSettings(recipe=name).model_dump()) for name in ("paper", "modern")
    )
    differing = {name for name in paper if paper[name] != modern[name]} - {"recipe"}
    assert set(listed) == differing
    for name, cells in listed.items():
        for cell, value in zip(cells, (paper[name], modern[name]), strict=True):
            shown = "–" if value is None else value if isinstance(value, str) else f"{value:g}"
            assert cell == shown, name
    flags = set(re.findall(r"`--training\.([a-z.-]+)", text)) - {"…"}
    assert {flag.replace("no-", "") for flag in flags if flag} <= set(paper)


# Learning rates


def test_course_of_the_rate_is_pytorchs() -> None:
    # A second implementation: PyTorch's chain of a linear warm-up and a cosine.
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / 10, 1, total_iters=9)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
    course = torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], [10])
    settings = ScheduleSettings(name="cosine", warmup=0.25)
    for step in range(40):
        assert find_factor(step, 40, settings) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        course.step()
    constant = ScheduleSettings(warmup=0.25)
    assert [find_factor(step, 40, constant) for step in (0, 9, 10, 39)] == [0.1, 1, 1, 1]


def test_epochs_tell_their_rate() -> None:
    changes = {"schedule": {"name": "cosine", "warmup": 0.25}, "optimizer": {"name": "adamw"}}
    found = [epoch.learning_rate for epoch in train(make_classifier(), **changes)]
    course = ScheduleSettings(name="cosine", warmup=0.25)
    expected = [3e-3 * find_factor(step, 16, course) for step in (3, 7, 11, 15)]
    assert found == pytest.approx(expected)
    assert found[0] == pytest.approx(3e-3)  # the warm-up ends with the first epoch
    assert [epoch.learning_rate for epoch in train(make_classifier())] == [3e-3] * 4


def test_layers_learn_the_slower_the_earlier_they_are() -> None:
    # The first step of Adam is the learning rate against the sign of each gradient.
    classifier = make_real()
    before = {name: value.detach().clone() for name, value in classifier.named_parameters()}
    take_steps(
        classifier,
        TrainingSettings.model_validate(
            {"learning_rate": 1e-2, "optimizer": {"name": "adamw", "layer_decay": 0.5}}
        ),
        scale=1e4,
    )
    steps = {
        name: float((value.detach() - before[name]).abs().max())
        for name, value in classifier.named_parameters()
    }
    assert steps["head.0.weight"] == pytest.approx(1e-2, rel=0.02)
    assert steps["head.2.weight"] == pytest.approx(1e-2, rel=0.02)
    assert steps["backbone.conv_head.weight"] == pytest.approx(5e-3, rel=0.02)
    blocks = [name for name in steps if name.endswith("weight") and ".blocks." in name]
    ladder = [steps[name] for name in blocks]
    assert ladder == pytest.approx(sorted(ladder), rel=1e-3)
    assert set(np.round(np.log2(1e-2 / np.array(ladder))).astype(int)) == {1, 2, 3, 4, 5}
    assert steps["backbone.conv_stem.weight"] == pytest.approx(1e-2 / 2**6, rel=0.02)


OWN = """
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, features):
        return features + self.second(self.norm(self.first(features)).relu())


class Wrapped(nn.Module):
    def __init__(self, net, factor=1):
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, images):
        return self.factor * self.net(images)


def make(n_classes):
    stem = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, n_classes)]
    return Wrapped(nn.Sequential(*stem, Block(), Block(), Block(), *head))


def whole(n_classes):
    return Wrapped(make(n_classes), 2)


def dense(n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(1024, n_classes))
"""


def rate_layers(name: str, decay: float = 0.5) -> dict[str, float]:
    """Return the learning rate of each parameter, as a share of the highest."""
    classifier = build_classifier(
        name, n_classes=2, image_size=ImageSize.square(32), weights="none", seed=0, code=OWN
    )
    settings = {"learning_rate": 1.0, "optimizer": {"weight_decay": 0.1, "layer_decay": decay}}
    optimization = Optimization(classifier, TrainingSettings.model_validate(settings), 1)
    groups = optimization._optimizer.param_groups
    rates = {id(one): (group["lr"], group) for group in groups for one in group["params"]}
    for name, one in classifier.named_parameters():
        assert rates[id(one)][1]["weight_decay"] == (0.1 if one.ndim > 1 else 0), name
    return {name: rates[id(one)][0] for name, one in classifier.named_parameters()}


@pytest.mark.parametrize(
    ("name", "depths"),
    [
        ("torchvision:resnet18", {"conv1": 9, "bn1": 9, "layer1.0.conv1": 8, "layer4.1.bn2": 1}),
        (
            "net.py:make",
            {"net.0": 4, "net.1": 4, "net.3.first": 3, "net.3.second": 3, "net.5.norm": 1},
        ),
        ("net.py:whole", {"net.net.0": 4, "net.net.3.norm": 3, "net.net.8": 0}),
        ("net.py:dense", {}),
    ],
)
def test_layers_of_networks_that_name_none_are_their_blocks(
    name: str, depths: dict[str, int]
) -> None:
    rates = rate_layers(name)
    for part, depth in depths.items():
        assert rates[f"backbone.{part}.weight"] == 0.5**depth, part
    assert max(rates.values()) == 1
    assert all(rate == 1 for part, rate in rates.items() if part.startswith("head."))


@pytest.mark.parametrize(
    ("name", "parts", "n_layers"),
    [
        ("vgg11_bn", {"features.0": 0, "features.1": 0, "features.4": 1}, 11),
        ("vit_b_16", {"conv_proj": 1, "encoder.layers.encoder_layer_0.mlp.0": 3}, 16),
        ("densenet121", {"features.conv0": 0, "features.denseblock1.denselayer1.conv1": 1}, 63),
    ],
)
def test_every_parameter_has_a_layer(name: str, parts: dict[str, int], n_layers: int) -> None:
    with torch.device("meta"):
        network = models.get_model(name, weights=None)
    numbers = number_layers(network)
    assert list(numbers) == [name for name, _ in network.named_parameters()]
    assert list(numbers.values()) == sorted(numbers.values())
    assert max(numbers.values()) == n_layers - 1
    assert {part: numbers[f"{part}.weight"] for part in parts} == parts


def test_backbone_rests_while_the_head_learns() -> None:
    classifier = make_classifier()
    first = {key: value.clone() for key, value in classifier.state_dict().items()}
    states: list[dict[str, torch.Tensor]] = []

    def note(epoch: Epoch) -> None:
        states.append({key: value.clone() for key, value in classifier.state_dict().items()})

    train(classifier, schedule={"head_first": 0.5}, on_epoch=note)
    for number, state in enumerate([*states]):
        for key, value in state.items():
            before = states[number - 1][key] if number else first[key]
            rests = key.startswith("backbone") and number < 2
            assert torch.equal(value, before) == rests, (number, key)
    assert all(parameter.requires_grad for parameter in classifier.parameters())


# Weight decay, clipping, moving average


def test_adamw_decays_weights_apart_from_the_gradient_and_no_biases() -> None:
    plain, decayed, first = make_real(), make_real(), make_real()
    settings = {"learning_rate": 1e-3, "optimizer": {"name": "adamw"}}
    take_steps(plain, TrainingSettings.model_validate(settings))
    settings["optimizer"] = {"name": "adamw", "weight_decay": 0.5}
    take_steps(decayed, TrainingSettings.model_validate(settings))
    weights = dict(first.named_parameters())
    for (name, without), found in zip(plain.named_parameters(), decayed.parameters(), strict=True):
        share = 0.0 if without.ndim == 1 else 1e-3 * 0.5
        expected = without.detach() - share * weights[name].detach()
        torch.testing.assert_close(found.detach(), expected, rtol=1e-5, atol=1e-7)


def test_long_gradients_are_shortened() -> None:
    classifier = make_real()
    take_steps(classifier, TrainingSettings.model_validate({"optimizer": {"clip_norm": 0.01}}))
    clipped = torch.cat([p.grad.flatten() for p in classifier.parameters()])
    whole = make_real()
    take_steps(whole, TrainingSettings())
    gradient = torch.cat([p.grad.flatten() for p in whole.parameters()])
    assert float(clipped.norm()) == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(clipped, gradient * 0.01 / gradient.norm(), rtol=1e-3, atol=1e-7)


def test_moving_average_is_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[torch.Tensor] = []
    take_step = Optimization.take_step

    def note(self: Optimization, loss: torch.Tensor) -> None:
        take_step(self, loss)
        states.append(flatten(self.classifier))

    monkeypatch.setattr(Optimization, "take_step", note)
    classifier = make_classifier()
    train(classifier, keep="last", optimizer={"ema_decay": 0.6})
    average = states[0]
    for step, state in enumerate(states[1:], 1):
        decay = min(0.6, 1 - (1 + step) ** (-2 / 3))
        average = decay * average + (1 - decay) * state
    floats = [value.is_floating_point() for value in classifier.state_dict().values()]
    assert not all(floats)  # the number of batches, which is copied
    found = flatten(classifier)
    whole = torch.cat(
        [
            torch.full((value.numel(),), value.is_floating_point())
            for value in classifier.state_dict().values()
        ]
    )
    torch.testing.assert_close(found[whole], average[whole], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found[~whole], states[-1][~whole])


# The loss


def test_moving_average_of_a_weight_under_two_names_moves_once_a_step() -> None:
    classifier = make_classifier(steady=True)
    classifier.backbone.again = classifier.backbone.layers[2]
    settings = TrainingSettings(learning_rate=0.01, optimizer={"ema_decay": 0.6})
    optimization = take_steps(classifier, settings)
    first = flatten(classifier)
    labels = torch.from_numpy(TRAINING.labels)
    images = TRAINING.make_batch(np.arange(len(TRAINING)), CPU)
    optimization.take_step(functional.cross_entropy(classifier(images), labels))
    decay = 1 - 2 ** (-2 / 3)
    expected = decay * first + (1 - decay) * flatten(classifier)
    torch.testing.assert_close(flatten(optimization.shown), expected)


def test_loss_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [1.0, -1.0], [0.5, 0.5], [0.0, 3.0]])
    labels = torch.tensor([0, 1, 0, 0])
    settings = LossSettings(label_smoothing=0.2, class_weights="balanced")
    found = float(TrainingLoss(settings, labels.numpy(), 2, CPU)(logits, labels))
    weights, expected = [4 / (2 * 3), 4 / (2 * 1)], 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total = math.log(sum(math.exp(value) for value in row))
        for number in range(2):
            wanted = 0.2 / 2 + (0.8 if number == label else 0.0)
            expected -= wanted * weights[label] * (row[number] - total)
    assert found == pytest.approx(expected)


def test_smoothed_labels_are_learned_alike_however_many_images_a_class_has() -> None:
    labels = np.array([0] * 100 + [1] * 10)
    settings = LossSettings(label_smoothing=0.1, class_weights="balanced")
    loss = TrainingLoss(settings, labels, 2, CPU)
    known = math.log(0.95 / 0.05)  # the logit of a classifier that tells 0.95 for the class
    logits = torch.tensor([[known, 0.0], [0.0, known]], requires_grad=True)
    numbers = torch.from_numpy(labels)
    (gradient,) = torch.autograd.grad(loss(logits[numbers], numbers), logits)
    torch.testing.assert_close(gradient, torch.zeros(2, 2), atol=1e-4, rtol=0)


def test_class_without_images_cannot_be_balanced() -> None:
    with pytest.raises(InputError, match=r"class `worn` has none among 2\..*class-weights none"):
        balance_classes(np.zeros(2, int), ["normal", "worn"])
    lonely = ImageSet(TRAINING.pixels, np.zeros_like(TRAINING.labels))
    with pytest.raises(InputError, match="class `1` has none among 40"):
        train(make_classifier(), training=lonely, loss={"class_weights": "balanced"})


# When it ends, and what is kept


def test_training_ends_when_nothing_gets_better() -> None:
    whole, early = make_classifier(), make_classifier()
    history = train(whole, epochs=12, validation=MISLED)
    losses = [epoch.validation_loss for epoch in history]
    best = losses.index(min(losses))
    assert best < 8
    assert train(early, epochs=12, validation=MISLED, patience=3) == history[: best + 4]
    assert torch.equal(flatten(whole), flatten(early))
    assert not has_stalled([], 1)
    assert not has_stalled(history, None)


def test_last_epoch_is_kept_if_wanted() -> None:
    states: list[torch.Tensor] = []
    classifier = make_classifier()
    train(
        classifier,
        validation=MISLED,
        keep="last",
        on_epoch=lambda epoch: states.append(flatten(classifier)),
    )
    assert torch.equal(flatten(classifier), states[-1])


MODERN = TrainingSettings(recipe="modern").model_dump() | {
    "epochs": 6,
    "per_worker_batch_size": 10,
    "patience": 2,
    "schedule": {"name": "cosine", "warmup": 0.2, "head_first": 0.34},
}


@pytest.mark.parametrize("n_done", [1, 2, 3, 5])
@pytest.mark.parametrize("validation", [VALIDATION, MISLED], ids=["runs through", "ends early"])
def test_modern_training_that_was_cut_off_ends_as_if_it_had_never_stopped(
    tmp_path: Path, n_done: int, validation: ImageSet
) -> None:
    whole, resumed = make_classifier(), make_classifier(seed=99)
    history = train(whole, **MODERN, validation=validation)
    assert (len(history) < 6) == (validation is MISLED)

    def stop(epoch: Epoch) -> None:
        if epoch.number == min(n_done, len(history)) - 1:
            raise KeyboardInterrupt

    kept = {"checkpoint": tmp_path / "training.pt", "checkpoint_interval_s": 0.0}
    with pytest.raises(KeyboardInterrupt):
        train(make_classifier(), **MODERN, validation=validation, on_epoch=stop, **kept)
    assert train(resumed, **MODERN, validation=validation, **kept) == history
    assert torch.equal(flatten(resumed), flatten(whole))


def test_epochs_tell_auc_and_collapse() -> None:
    (epoch,) = train(make_classifier(), epochs=1, learning_rate=1e-9)
    assert epoch.predicted_classes == 1
    found = train(make_classifier(), epochs=25, augmentation=NO_AUGMENTATION)
    assert (found[-1].validation_auc, found[-1].predicted_classes) == (1.0, 2)
    lonely = ImageSet(VALIDATION.pixels, np.zeros_like(VALIDATION.labels))
    assert train(make_classifier(), epochs=1, validation=lonely)[0].validation_auc is None


def test_modern_training_that_explodes_is_named() -> None:
    with pytest.raises(DivergedError, match=r"^The loss is no longer finite in epoch"):
        train(make_classifier(steady=True), learning_rate=1e30, optimizer={"ema_decay": 0.9})


# The network


def test_drop_connect_skips_blocks_in_training_only() -> None:
    plain, dropping = (make_real("mobilenetv3_small_050") for _ in range(2))
    connect_drops(dropping, 0.9)
    assert list(plain.state_dict()) == list(dropping.state_dict())
    images = torch.rand(8, 1, 32, 32)
    torch.testing.assert_close(dropping.eval()(images), plain.eval()(images), rtol=0, atol=0)
    for classifier in (plain, dropping):
        classifier.train()
        for module in classifier.modules():  # with its running statistics, and no dropout
            if type(module).__name__ != "DropPath" and not list(module.children()):
                module.eval()
    assert not torch.allclose(dropping(images), plain(images))
    rates = [m.drop_prob for m in dropping.modules() if type(m).__name__ == "DropPath"]
    assert rates == pytest.approx([0.9 * at / len(rates) for at in range(len(rates))])


@pytest.mark.parametrize(
    ("name", "per_block"),
    [
        ("torchvision:efficientnet_b0", 1),
        ("torchvision:convnext_tiny", 1),
        ("test_vit", 2),
    ],
)
def test_chance_of_skipping_is_that_of_the_settings(name: str, per_block: int) -> None:
    classifier = make_real(name)
    chances = [one.p for one in classifier.modules() if isinstance(one, StochasticDepth)]
    assert set(chances) <= {0.0}  # of torchvision's own; skipping is a choice
    connect_drops(classifier, 0.2)
    found = [one.drop_prob for one in classifier.modules() if isinstance(one, DropPath)]
    n_blocks = len(found) // per_block
    expected = [0.2 * (at // per_block) / n_blocks for at in range(len(found))]
    assert n_blocks > 1
    assert found == pytest.approx(expected)
    classifier.train()
    assert classifier(torch.rand(2, 1, 32, 32)).shape == (2, 2)


def test_network_without_blocks_to_skip_is_refused() -> None:
    with pytest.raises(InputError, match=r"drop-connect 0\.2.*`TinyBackbone` has none"):
        train(make_classifier(), network={"drop_connect": 0.2})
    with pytest.raises(
        InputError, match="`EfficientNet` has none"
    ):  # it has blocks, but none is residual
        connect_drops(make_real(), 0.2)


def test_momentum_of_batch_normalization() -> None:
    means = {}
    for momentum in (0.5, 0.25):
        classifier = make_classifier()
        train(
            classifier,
            epochs=1,
            per_worker_batch_size=40,
            augmentation=NO_AUGMENTATION,
            network={"batch_norm_momentum": momentum},
        )
        means[momentum] = classifier.state_dict()["backbone.layers.4.running_mean"]
    torch.testing.assert_close(means[0.5], 2 * means[0.25])  # it starts from 0
    assert means[0.5].abs().max() > 0.01


def test_bfloat16_rounds_and_learns_and_auto_leaves_a_cpu_alone() -> None:
    exact, rounded, auto = make_classifier(), make_classifier(), make_classifier()
    changes = {"epochs": 12, "augmentation": NO_AUGMENTATION}
    losses = [epoch.training_loss for epoch in train(exact, **changes)]
    found = [epoch.training_loss for epoch in train(rounded, precision="bfloat16", **changes)]
    assert found != losses
    assert found == pytest.approx(losses, abs=0.05)
    assert train(auto, precision="auto", **changes)[-1].training_loss == losses[-1]
    assert find_dtype("auto", CPU) == torch.float32
    assert {value.dtype for value in rounded.parameters()} == {torch.float32}


def test_epsilon_of_adam() -> None:
    one, other = make_classifier(), make_classifier()
    train(one)
    train(other, optimizer={"epsilon": 1e-2})
    assert not torch.allclose(flatten(one), flatten(other))
