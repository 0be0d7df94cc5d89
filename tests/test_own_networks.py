"""Networks from Python files of users: the contract, and everything that can break it."""

import copy
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from osteo_ray.base.errors import InputError
from osteo_ray.data.image_size import ImageSize
from osteo_ray.explain.gradcam import compute_heatmaps
from osteo_ray.models.batches import ImageSet
from osteo_ray.models.checkpoint import Checkpoint
from osteo_ray.models.classifier import (
    Classifier,
    build_classifier,
    load_classifier,
    save_classifier,
)
from osteo_ray.models.guidance import Penalty
from osteo_ray.models.own_code import import_text
from osteo_ray.models.settings import TrainingSettings
from osteo_ray.models.training import Recipe, TrainingData, Worker, train_classifier
from osteo_ray.pipeline.export.networks import _write_safetensors as write_safetensors

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, n_classes, width=8, channels=1):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 2, 1)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.head = nn.Linear(2 * width, n_classes)

    def forward(self, images):
        features = torch.relu(self.norm(self.stem(images)))
        features = torch.relu_(self.body(features))
        return self.head(features.mean((2, 3)))


def make(n_classes):
    return Net(n_classes)
"""


def build(
    more: str = "", function: str = "make", weights: str | None = "none", **changes: int
) -> Classifier:
    settings = {"n_classes": 3, "image_size": ImageSize.square(32), "seed": 0, **changes}
    code = NET + textwrap.dedent(more)
    return build_classifier(f"net.py:{function}", weights=weights, code=code, **settings)


def refuse(more: str, function: str = "make") -> str:
    with pytest.raises(InputError) as error:
        build(more, function)
    assert "\n" not in str(error.value)
    assert "net.py" in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((2, 1, 32, 32), np.float32))


def run(classifier: Classifier, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = classifier.eval()(images)
        return found


# What works


def test_network_is_split_before_its_last_dense_layer(images: torch.Tensor) -> None:
    classifier = build()
    assert [type(layer) for layer in classifier.head] == [nn.Linear]
    assert run(classifier, images).shape == (2, 3)
    body = classifier.backbone
    with torch.inference_mode():
        features = torch.relu(body.body(torch.relu(body.norm(body.stem(images)))))
        torch.testing.assert_close(classifier.embed(images), features.mean((2, 3)))
        torch.testing.assert_close(classifier.head(features.mean((2, 3))), classifier(images))


def test_heatmap_is_of_the_last_feature_map(images: torch.Tensor) -> None:
    classifier = build().eval()
    features = classifier.backbone.body(
        torch.relu(classifier.backbone.norm(classifier.backbone.stem(images)))
    )
    features = features.detach().requires_grad_()
    scores = classifier.head(torch.relu(features).mean((2, 3)))
    (gradients,) = torch.autograd.grad(scores[:, 1].sum(), features)
    maps = torch.relu((gradients.mean((2, 3), keepdim=True) * features).sum(1)).detach()
    found = compute_heatmaps(classifier, images, np.array([1, 1]))
    coarse = nn.functional.interpolate(torch.from_numpy(found)[:, None], (8, 8), mode="area")
    for one, expected in zip(coarse[:, 0], maps, strict=True):
        assert np.corrcoef(one.flatten(), expected.flatten())[0, 1] > 0.95


def test_seed_decides_every_weight_whenever_the_file_is_imported() -> None:
    import_draws = "\n_drawn = torch.rand(7)\n"
    one, again = build(import_draws).state_dict(), build(import_draws).state_dict()
    assert all(torch.equal(a, b) for a, b in zip(one.values(), again.values(), strict=True))
    other = build(import_draws, seed=1).state_dict()
    assert not torch.equal(one["backbone.stem.weight"], other["backbone.stem.weight"])


def test_what_an_import_draws_is_the_same_in_every_process() -> None:
    drawn = set()
    for seed in (0, 1):
        import_text.cache_clear()  # as in a process whose first training has this seed
        build("\nNet.drawn = torch.rand(7)\n", seed=seed)
        drawn.add(tuple(build("\nNet.drawn = torch.rand(7)\n").backbone.drawn.tolist()))
    assert len(drawn) == 1


def test_arguments_are_those_that_the_function_names() -> None:
    more = """
    def wants_all(n_classes, image_size, pretrained, depth=1):
        net = Net(n_classes)
        net.told = (n_classes, image_size, pretrained)
        return net

    def wants_anything(**options):
        net = Net(options["n_classes"])
        net.told = tuple(options.values())
        return net

    class Told(Net):
        pass
    """
    for function in ("wants_all", "wants_anything"):
        assert build(more, function).backbone.told == (3, 32, False)
        assert build(more, function, weights=None).backbone.told == (3, 32, True)
    assert type(build(more, "Told").backbone).__name__ == "Told"


def test_channels_are_those_of_the_first_convolution(images: torch.Tensor) -> None:
    more = """
    def colored(n_classes):
        return Net(n_classes, channels=3)
    """
    classifier = build(more, "colored").eval()
    assert classifier.mean.flatten().tolist() == [0, 0, 0]
    body, shown = classifier.backbone, images.expand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(classifier(images), classifier.head(body(shown)))


def test_mean_and_deviation_are_those_that_the_network_names(images: torch.Tensor) -> None:
    more = """
    def normed(n_classes):
        net = Net(n_classes)
        net.input_mean, net.input_std = [0.25], [0.5]
        return net
    """
    found, plain = build(more, "normed").eval(), build().eval()
    with torch.inference_mode():
        assert torch.equal(found(images), plain((images - 0.25) / 0.5))


WHOLE = """
class Whole(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return 2 * self.net(images)


def whole(n_classes):
    return Whole(Net(n_classes))


def flat(n_classes):
    return Whole(nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, n_classes)))
"""


def test_network_that_goes_on_after_its_last_layer_stays_whole(images: torch.Tensor) -> None:
    classifier = build(WHOLE, "whole").eval()
    assert isinstance(classifier.head, nn.Identity)
    net = classifier.backbone.net
    with torch.inference_mode():
        assert torch.equal(classifier(images), 2 * net(images))
        features = torch.relu(net.body(torch.relu(net.norm(net.stem(images)))))
        torch.testing.assert_close(classifier.embed(images), features.mean((2, 3)))
    assert compute_heatmaps(classifier, images, np.zeros(2, int)).shape == (2, 32, 32)


def test_network_without_feature_map_is_not_explained_by_one(images: torch.Tensor) -> None:
    classifier = build(WHOLE, "flat").eval()
    with pytest.raises(ValueError, match=r"Grad-CAM needs a CNN; docs/networks\.md"):
        compute_heatmaps(classifier, images, np.zeros(2, int))
    with pytest.raises(InputError, match="ends in a dense layer or has a last feature map"):
        classifier.embed(images)


@pytest.mark.parametrize(
    ("order", "has_map"), [((0, 2, 3, 1), False), ((0, 1, 3, 2), True)], ids=["last", "first"]
)
def test_map_with_channels_last_is_none(order: tuple[int, ...], has_map: bool) -> None:
    more = f"""
    class Order(nn.Module):
        def forward(self, features):
            return features.permute{order}

    def ordered(n_classes):
        return nn.Sequential(
            nn.Conv2d(1, 6, 3, 2, 1), Order(), nn.Flatten(), nn.Linear(6 * 256, n_classes)
        )
    """
    assert build(more, "ordered").has_feature_map == has_map


@pytest.mark.parametrize("guidance", ["gradients", "activations"])
@pytest.mark.parametrize("function", ["make", "whole"])
def test_guidance_reaches_the_network(guidance: str, function: str, images: torch.Tensor) -> None:
    classifier = build(WHOLE, function)
    regions = torch.zeros(images.shape, dtype=torch.bool)
    regions[:, :, 8:24, 8:24] = True
    rngs = [np.random.default_rng(seed) for seed in (0, 1)]
    penalty = Penalty(guidance, 1.0).measure(classifier, images, regions, rngs)  # type: ignore[arg-type]
    penalty.backward()
    assert float(penalty.detach()) > 0
    gradient = next(classifier.parameters()).grad
    assert gradient is not None
    assert float(gradient.abs().max()) > 0


@pytest.mark.parametrize("recipe", ["paper", "modern"])
@pytest.mark.parametrize("function", ["make", "whole"])
def test_recipes_train_networks_with_and_without_a_head(recipe: str, function: str) -> None:
    rng = np.random.default_rng(0)
    images = ImageSet(rng.integers(0, 256, (12, 32, 32), np.uint8), np.arange(12) % 3)
    settings = TrainingSettings(recipe=recipe, epochs=6, per_worker_batch_size=6)  # type: ignore[arg-type]
    assert settings.head_epochs == (0 if recipe == "paper" else 1)
    classifier = build(WHOLE, function)
    before = {name: one.detach().clone() for name, one in classifier.named_parameters()}
    worker = Worker(torch.device("cpu"))
    epochs = train_classifier(
        classifier, TrainingData(images, images), Recipe(settings, seed=0), worker
    )
    assert epochs
    assert all(not torch.equal(one, before[name]) for name, one in classifier.named_parameters())
    assert all(one.requires_grad for one in classifier.parameters())


def test_copy_has_a_feature_map_of_its_own(images: torch.Tensor) -> None:
    classifier = build().eval()
    copied = copy.deepcopy(classifier)
    seen: list[str] = []
    classifier.feature_map.register_forward_hook(lambda *_: seen.append("original"))
    copied.feature_map.register_forward_hook(lambda *_: seen.append("copy"))
    run(copied, images)
    assert seen == ["copy"]


def test_feature_layer_is_the_one_that_the_network_names(images: torch.Tensor) -> None:
    more = """
    def named(n_classes):
        net = Net(n_classes)
        net.feature_layer = "stem"
        return net
    """
    classifier = build(more, "named").eval()
    seen = []
    with classifier.feature_map.register_forward_hook(lambda *call: seen.append(call[2])):
        run(classifier, images)
    assert seen[0].shape == (2, 8, 16, 16)


SHARED = """
class Shared(nn.Module):
    # Calls `one` where it shares a layer, and `two` and `three` where each has its own.
    def __init__(self, n_classes, kind, shares):
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.hidden = nn.Linear(6, 6)
        self.head = nn.Linear(6, n_classes)
        make_layer = {
            "relu": nn.ReLU,
            "relu in place": lambda: nn.ReLU(inplace=True),
            "pool": lambda: nn.MaxPool2d(2),
            "block": lambda: nn.Sequential(nn.MaxPool2d(2), nn.ReLU()),
        }[kind]
        self.one = make_layer()
        self.two, self.three = (self.one if shares else make_layer() for _ in range(2))
        self.is_dense = "relu" in kind

    def forward(self, images):
        features = self.one(self.first(images))
        features = self.two(self.second(features)).mean((2, 3))
        if self.is_dense:
            features = self.three(self.hidden(features))
        return HEAD
"""


@pytest.mark.parametrize("head", ["self.head(features)", "2 * self.head(features)"])
@pytest.mark.parametrize("kind", ["relu", "relu in place", "pool", "block"])
def test_map_of_a_layer_that_is_called_several_times_is_that_of_its_last(
    kind: str, head: str, images: torch.Tensor
) -> None:
    functions = (
        f"def {name}(n_classes):\n    return Shared(n_classes, {kind!r}, {name == 'shared'})\n"
        for name in ("shared", "separate")
    )
    code = SHARED.replace("HEAD", head) + "\n".join(functions)
    shared, separate = (build(code, name).eval() for name in ("shared", "separate"))
    for function in (shared, separate):  # the second batch must not go on counting calls
        run(function, images)
    for number in range(3):
        classes = np.array([number, number])
        heatmaps = compute_heatmaps(shared, images, classes)
        np.testing.assert_array_equal(heatmaps, compute_heatmaps(separate, images, classes))
    seen: list[torch.Tensor] = []
    for classifier in (shared, separate):
        with classifier.feature_map.register_forward_hook(lambda *call: seen.append(call[2])):
            run(classifier, images)
    assert len(seen) == 2  # one map per pass
    assert torch.equal(*seen)
    assert torch.equal(shared.embed(images), separate.embed(images))


def test_network_whose_calls_depend_on_the_image_is_the_error_of_that_image() -> None:
    more = """
    class Wavering(nn.Module):
        def __init__(self, n_classes):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()
            self.head = nn.Linear(4, n_classes)

        def forward(self, images):
            features = self.relu(self.conv(images))
            if images.mean() > 0.1:
                features = self.relu(-features)
            return self.head(features.mean((2, 3)))
    """
    classifier = build(more, "Wavering").eval()
    bright = torch.full((1, 1, 32, 32), 0.9)
    assert compute_heatmaps(classifier, bright, np.zeros(1, int)).shape == (1, 32, 32)
    with pytest.raises(ValueError, match="one last feature map per pass, but the network gave 0"):
        compute_heatmaps(classifier, 0 * bright, np.zeros(1, int))


def test_weights_file_fills_all_but_the_last_dense_layer(tmp_path: Path) -> None:
    code = NET.replace("width=8", "width=8, more=0")
    torch.manual_seed(5)
    file = tmp_path / "own.pt"
    trained = build_classifier(
        "net.py:make",
        n_classes=7,
        image_size=ImageSize.square(32),
        weights="none",
        seed=5,
        code=code,
    )
    tensors = {f"model.{key}": one for key, one in trained.backbone.state_dict().items()}
    torch.save({"state_dict": {**tensors, "model.head.weight": torch.ones(7, 16)}}, file)
    found, drawn = build(weights=str(file)), build()
    assert torch.equal(found.backbone.stem.weight, trained.backbone.stem.weight)
    assert torch.equal(found.head[0].weight, drawn.head[0].weight)


def test_weights_of_three_channels_fill_a_stem_of_one(tmp_path: Path) -> None:
    colored = build("def colored(n_classes):\n    return Net(n_classes, channels=3)", "colored")
    torch.save(colored.backbone.state_dict(), tmp_path / "a.pt")
    stem = build(weights=str(tmp_path / "a.pt")).backbone.stem.weight
    torch.testing.assert_close(stem, colored.backbone.stem.weight.sum(1, keepdim=True))


INNER = """
class Gate(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.squeeze = nn.Linear(8, n_classes)  # as wide as a head
        self.excite = nn.Linear(n_classes, 8)
        self.classifier = nn.Conv2d(8, n_classes, 1)

    def forward(self, images):
        features = torch.relu(self.stem(images))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(features.mean((2, 3))))))
        return self.classifier(features * gate[:, :, None, None]).mean((2, 3))


class First(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.head = nn.Linear(8, n_classes)
        self.alias = self.head
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.project = nn.Linear(8, 8)

    def forward(self, images):
        return self.head(self.project(self.stem(images).mean((2, 3))))


class Doubled(First):
    def forward(self, images):
        return 2 * super().forward(images)

"""


@pytest.mark.parametrize(
    ("function", "heads", "is_taken_off"),
    [
        ("Gate", set(), False),
        ("First", {"head", "alias"}, True),
        ("Doubled", {"head", "alias"}, False),
        ("make", {"head"}, True),
    ],
)
def test_head_alone_is_never_taken_from_a_file(
    function: str, heads: set[str], is_taken_off: bool, tmp_path: Path
) -> None:
    names: dict[str, object] = {}
    exec(NET + INNER, names)
    torch.manual_seed(5)
    donor: nn.Module = names[function](3)  # type: ignore[operator]
    torch.save(donor.state_dict(), tmp_path / "own.pt")
    found = build(INNER, function, weights=str(tmp_path / "own.pt"))
    assert isinstance(found.head, nn.Identity) != is_taken_off
    taken = found.backbone.state_dict()
    for name, value in donor.state_dict().items():
        if name.split(".")[0] not in heads:
            assert torch.equal(taken[name], value), name
        elif not is_taken_off:
            assert not torch.equal(taken[name], value), name
    if is_taken_off:
        assert not torch.equal(found.head[0].weight, donor.head.weight)
        assert heads.isdisjoint(name.split(".")[0] for name in taken)


def test_file_for_a_network_of_nothing_but_a_head_is_refused(tmp_path: Path) -> None:
    torch.save({"1.weight": torch.ones(3, 1024)}, tmp_path / "own.pt")
    more = """
    def linear(n_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(1024, n_classes))
    """
    with pytest.raises(InputError, match=r"has no tensors but those of its head"):
        build(more, "linear", weights=str(tmp_path / "own.pt"))


TIED = """
class Tied(Net):
    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.last = self.body
        self.again = nn.Conv2d(8, 16, 3)
        self.again.weight = self.body.weight
"""


def test_layers_under_two_names_are_stored_and_read(images: torch.Tensor, tmp_path: Path) -> None:
    classifier, file = build(TIED, "Tied"), tmp_path / "model.safetensors"
    size = ImageSize.square(32)
    save_classifier(classifier, file, Checkpoint("net.py:Tied", ("a", "b", "c"), size))
    found = load_classifier(
        file, "net.py:Tied", n_classes=3, image_size=size, code=NET + textwrap.dedent(TIED)
    )
    assert found.backbone.last is found.backbone.body
    assert torch.equal(run(found, images), run(classifier, images))


def test_layers_under_two_names_are_exported(tmp_path: Path) -> None:
    classifier = build(TIED, "Tied")
    assert write_safetensors(classifier, tmp_path) == [[16, 3]]
    found = safetensors.torch.load_file(tmp_path / "backbone.safetensors")
    for name, value in classifier.backbone.state_dict().items():
        assert torch.equal(found[name], value)


@pytest.mark.parametrize(
    "numbers",
    [
        "[0.25, 0.5, 0.75], [0.5] * 3",
        "np.array([0.25, 0.5, 0.75]), np.full(3, 0.5)",
        "torch.tensor([0.25, 0.5, 0.75]), [torch.tensor(0.5)] * 3",
        "torch.tensor([0.25, 0.5, 0.75]).view(1, 3, 1, 1), np.full((3, 1, 1), 0.5)",
    ],
)
@pytest.mark.parametrize("is_buffer", [False, True])
def test_mean_and_deviation_may_be_arrays(numbers: str, is_buffer: bool) -> None:
    more = f"""
    import numpy as np

    def normed(n_classes):
        net = Net(n_classes, channels=3)
        for name, one in zip(("input_mean", "input_std"), ({numbers})):
            if {is_buffer}:
                net.register_buffer(name, torch.as_tensor(one))
            else:
                setattr(net, name, one)
        return net
    """
    classifier = build(more, "normed")
    assert classifier.mean.flatten().tolist() == [0.25, 0.5, 0.75]
    assert classifier.std.flatten().tolist() == [0.5] * 3


def test_lazy_network_without_a_mean_sees_one_channel(images: torch.Tensor) -> None:
    more = """
    def lazy(n_classes):
        return nn.Sequential(
            nn.LazyConv2d(4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.LazyLinear(n_classes),
        )
    """
    classifier = build(more, "lazy")
    assert classifier.backbone[0].in_channels == 1
    assert run(classifier, images).shape == (2, 3)


@pytest.mark.parametrize("head_first", [0.0, 0.5])
@pytest.mark.parametrize("part", ["stem", "head"])
def test_what_a_user_froze_stays_as_it_is(part: str, head_first: float) -> None:
    more = f"""
    def frozen(n_classes):
        net = Net(n_classes)
        net.{part}.requires_grad_(False)
        return net
    """
    classifier = build(more, "frozen")
    before = {name: one.detach().clone() for name, one in classifier.named_parameters()}
    images = ImageSet(
        np.random.default_rng(0).integers(0, 256, (6, 32, 32), np.uint8), np.arange(6) % 3
    )
    settings = TrainingSettings.model_validate(
        {
            "epochs": 2,
            "keep": "last",
            "optimizer": {"clip_norm": 1e-3, "weight_decay": 0.1},
            "schedule": {"head_first": head_first},
        }
    )
    train_classifier(
        classifier, TrainingData(images, images), Recipe(settings, 0), Worker(torch.device("cpu"))
    )
    frozen = classifier.head if part == "head" else classifier.backbone.stem
    fixed = {id(one) for one in frozen.parameters()}
    for name, one in classifier.named_parameters():
        assert torch.equal(one, before[name]) == (id(one) in fixed), name
        assert one.requires_grad == (id(one) not in fixed), name
        assert (one.grad is None) == (id(one) in fixed), name  # and has no part in the norm


def test_parts_of_the_standard_library_work_in_the_file() -> None:
    more = """
    import dataclasses, pickle

    @dataclasses.dataclass
    class Options:
        width: int = 8

    def thorough(n_classes):
        options = pickle.loads(pickle.dumps(Options()))
        return Net(n_classes, options.width)
    """
    assert build(more, "thorough").backbone.stem.out_channels == 8


def test_weights_of_five_dimensions_are_taken_as_they_are(images: torch.Tensor) -> None:
    more = """
    class Deep(Net):
        input_mean, input_std = [0.0], [1.0]

        def __init__(self, n_classes):
            super().__init__(n_classes)
            self.stem = nn.Conv3d(1, 8, (1, 3, 3), 2, (0, 1, 1))

        def forward(self, x):
            return self.head(self.body(self.stem(x[:, :, None])[:, :, 0]).mean((2, 3)))

    def deep(n_classes):
        return Deep(n_classes)
    """
    classifier = build(more, "deep")
    assert classifier.backbone.body.weight.is_contiguous(memory_format=torch.channels_last)
    assert run(classifier, images).shape == (2, 3)


# What is refused


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("def make(n_classes:\n", ["be imported", "SyntaxError", "(line 1)"]),
        ("1 / 0", ["be imported", "ZeroDivisionError: division by zero", "(line 1)"]),
        ("raise SystemExit(3)", ["be imported", "SystemExit: 3"]),
        ("import monaii", ["lacks the module `monaii`", "Install the package on every node"]),
        (
            "def make(n_classes):\n    import monaii.networks",
            ["build a network by make(n_classes=3)", "lacks the module `monaii`", "(line 2)"],
        ),
        ("def make(n_classes):\n    return []", ["a torch.nn.Module, but it returns list"]),
        ("def make(n_classes):\n    return Net", ["to return a torch.nn.Module", "type"]),
        ("def make(n_classes):\n    raise KeyError('x')", ["raises KeyError: 'x' (line 2)"]),
        ("def make():\n    return Net(2)", ["it does not take `n_classes`"]),
        ("def make(n_classes, depth):\n    pass", ["it needs `depth`", "Give other parameters"]),
        ("make = 3", ["a function `make` in net.py, but it has a int"]),
        ("def make(n_classes):\n    return Net(2)", ["logits, float32 (2, 3)", "float32 (2, 2)"]),
        ("def make(n_classes):\n    return Net(n_classes).double()", ["classify", "RuntimeError"]),
        ("def make(n_classes):\n    return nn.Flatten()", ["(2, 1024)"]),
        (
            "def make(n_classes):\n    return nn.Sequential(Net(n_classes), nn.Softmax(1))",
            ["probabilities", "Leave the softmax out"],
        ),
        (
            "class Two(Net):\n    def forward(self, x):\n        return {'out': x}\n"
            "def make(n_classes):\n    return Two(n_classes)",
            ["returns dict"],
        ),
        (
            "class Squeezed(Net):\n    def forward(self, x):\n"
            "        return super().forward(x).squeeze()\n"
            "def make(n_classes):\n    return Squeezed(n_classes)",
            ["logits, float32 (1, 3)", "float32 (3,)"],
        ),
        (
            "class Drawn(Net):\n    def forward(self, x):\n"
            "        return super().forward(nn.functional.dropout(x, 0.5))\n"
            "def make(n_classes):\n    return Drawn(n_classes)",
            ["same logits in every batch", "training=self.training"],
        ),
        (
            "def make(n_classes):\n    net = Net(n_classes)\n"
            "    net.norm = nn.BatchNorm2d(8, track_running_stats=False)\n    return net",
            ["same logits in every batch", "alone they differ by"],
        ),
        (
            "import warnings\ndef make(n_classes):\n    with warnings.catch_warnings():\n"
            "        warnings.simplefilter('ignore')  # that it is deprecated\n"
            "        return torch.jit.script(Net(n_classes))",
            ["tell what its layers return", "not supported on ScriptModules"],
        ),
        (
            "class Broken(Net):\n    def forward(self, x):\n        return self.missing(x)\n"
            "def make(n_classes):\n    return Broken(n_classes)",
            ["classify a batch of shape (2, 1, 32, 32)", "AttributeError", "(line 3)"],
        ),
        (
            "def make(n_classes):\n    net = Net(n_classes)\n    net.input_mean = [0.5]\n"
            "    return net",
            ["input_mean and input_std", "equally many finite numbers", "[0.5] and None"],
        ),
        (
            "def make(n_classes):\n    net = Net(n_classes)\n"
            "    net.input_mean, net.input_std = torch.full((9, 3, 1, 1), float('nan')), 'abc'\n"
            "    return net",
            ["finite numbers", "got tensor([[[[nan]],", "… and abc. Correct the file."],
        ),
        (
            "def make(n_classes):\n    net = Net(n_classes)\n"
            "    net.input_mean, net.input_std = [0.5], [float('nan')]\n    return net",
            ["finite numbers", "got [0.5] and [nan]"],
        ),
        (
            "def make(n_classes):\n    net = Net(n_classes)\n    net.feature_layer = 'bodi'\n"
            "    return net",
            ["feature_layer", "got `bodi`", "Did you mean `body`?"],
        ),
        (
            "def make(n_classes):\n    net = Net(n_classes)\n    net.feature_layer = 'head'\n"
            "    return net",
            ["one map (batch, channels, height, width) per batch, but it gives (2, 3)"],
        ),
        (
            "class Twice(Net):\n    feature_layer = 'act'\n    act = nn.ReLU()\n"
            "    def forward(self, x):\n        return super().forward(self.act(self.act(x)))\n"
            "def make(n_classes):\n    net = Twice(n_classes)\n    net.act = Twice.act\n"
            "    return net",
            ["one map (batch, channels, height, width) per batch, but it gives 2 outputs"],
        ),
    ],
)
def test_broken_files_are_refused(more: str, words: list[str]) -> None:
    found = refuse(more)
    before = NET.count("\n")  # lines of what stands before
    for word in words:
        wanted = re.sub(r"\(line (\d)\)", lambda at: f"(line {before + int(at[1])})", word)
        assert wanted in found


def test_unknown_function_is_refused_with_the_nearest() -> None:
    found = refuse("", "mkae")
    assert "Expected a function `mkae` in net.py, but it has no such name" in found
    assert "Did you mean `make`?" in found


def test_failed_import_leaves_nothing_behind() -> None:
    import sys

    before = set(sys.modules)
    refuse("1 / 0")
    assert not {name for name in set(sys.modules) - before if name.startswith("osteo_ray_network")}
