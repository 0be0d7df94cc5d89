"""Penalties that keep a classifier to a region: their formulas, and what they do to a training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_evidence import judge, make_evidence
from planted import open_small_world
from torch import nn
from torch.nn import functional

from osteo_ray.arms.pairs import choose_judged, list_controls
from osteo_ray.arms.registry import ARMS, list_presets
from osteo_ray.base.errors import InputError
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.data.settings import Guidance
from osteo_ray.experiment.keep_masks import read_keep_masks
from osteo_ray.experiment.roles import assign_roles, name_roles
from osteo_ray.experiment.trials import Trial
from osteo_ray.models import guidance as guidance_module
from osteo_ray.models.batches import ImageSet
from osteo_ray.models.classifier import Classifier, build_classifier
from osteo_ray.models.guidance import (
    Penalty,
    check_guidance,
    penalize_activations,
    penalize_gradients,
    shuffle_outside,
)
from osteo_ray.models.settings import NO_AUGMENTATION, TrainingSettings
from osteo_ray.models.training import Recipe, TrainingData, Worker, train_classifier
from osteo_ray.pipeline.compare.in_process import run_in_process
from osteo_ray.pipeline.compare.model_check import check_models, list_guidances
from osteo_ray.pipeline.compare.one_trial import load_trained, make_set

SIZE_PX = 32
GUIDED = ("guided_gradients", "guided_activations")


@pytest.fixture
def classifier() -> Classifier:
    built = build_classifier(
        "test_efficientnet",
        n_classes=3,
        image_size=ImageSize.square(SIZE_PX),
        weights="none",
        seed=4,
    )
    return built.eval().double()


def draw_batch(n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((n, 1, SIZE_PX, SIZE_PX)))
    regions = torch.zeros(images.shape, dtype=torch.bool)
    regions[:, :, 4:20, 8:28] = True
    return images, regions


def sum_log_probabilities(classifier: Classifier, images: torch.Tensor) -> float:
    with torch.inference_mode():
        return float(functional.log_softmax(classifier(images), 1).sum())


# The formulas


def test_gradients_are_those_of_finite_differences(classifier: Classifier) -> None:
    images, regions = draw_batch(1)
    regions[:] = True
    expected = 0.0
    for row, column in ((0, 0), (13, 2), (31, 31)):
        regions[0, 0, row, column] = False
        step = torch.zeros_like(images)
        step[0, 0, row, column] = 1e-5
        up, down = (sum_log_probabilities(classifier, images + s * step) for s in (1, -1))
        expected += ((up - down) / 2e-5) ** 2
    found = penalize_gradients(classifier, images, regions)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)
    assert expected > 0


def test_hard_sigmoids_are_differentiated_twice() -> None:
    name = "mobilenetv3_small_050"  # has them in its gates, as the paper's MobileNetV3 does
    classifier = build_classifier(
        name, n_classes=2, image_size=ImageSize.square(32), weights="none", seed=0
    ).eval()
    images, regions = draw_batch()
    images = images.float()
    gates = [one for one in classifier.modules() if isinstance(one, nn.Hardsigmoid)]
    assert gates
    penalty = penalize_gradients(classifier, images, regions)
    seen = images.clone().requires_grad_()  # first derivatives, by PyTorch's own hard sigmoid
    functional.log_softmax(classifier(seen), 1).sum().backward()
    expected = ((seen.grad * ~regions) ** 2).sum()
    assert float(penalty.detach()) == pytest.approx(float(expected), rel=1e-5)
    penalty.backward()
    check_guidance(classifier, name, "gradients", ImageSize.square(32))


def test_networks_that_cannot_be_guided_are_refused() -> None:
    classifier = build_classifier(
        "stripe_net", n_classes=2, image_size=ImageSize.square(32), weights="none", seed=0
    ).eval()
    check_guidance(classifier, "stripe_net", "gradients", ImageSize.square(32))

    class Opaque(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return functional.hardtanh(images.detach() * 2)

    classifier.feature_map = Opaque()  # type: ignore[assignment]
    for guidance in ("gradients", "activations"):
        with pytest.raises(InputError, match=rf"arms guided_{guidance}.*stripe_net PyTorch cannot"):
            check_guidance(classifier, "stripe_net", guidance, ImageSize.square(32))  # type: ignore[arg-type]


def test_guided_arms_are_tried_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list_guidances(["original", "guided_gradients", "guided_gradients_random"]) == [
        "gradients"
    ]
    assert list_guidances(["original", "lime"]) == []

    def refuse(*_: object) -> None:
        raise InputError("cannot be guided")

    monkeypatch.setattr(guidance_module, "check_guidance", refuse)
    check = check_models._function  # type: ignore[attr-defined]
    size, training = ImageSize.square(32), TrainingSettings()
    found = check({"test_byobnet": "none"}, size, ["gradients"], training, {}, (), 2)
    assert found == ["cannot be guided"]
    assert check({"test_byobnet": "none"}, size, [], training, {}, (), 2) == []


def test_inside_the_region_nothing_is_penalized(classifier: Classifier) -> None:
    images, regions = draw_batch()
    whole = torch.ones_like(regions)
    assert float(penalize_gradients(classifier, images, whole).detach()) == 0
    same = shuffle_outside(images, whole, [np.random.default_rng(0)] * 2)
    assert float(penalize_activations(classifier, images, same).detach()) == 0


def test_activations_by_hand(classifier: Classifier) -> None:
    images, _ = draw_batch()
    others = images.flip(3)
    with torch.inference_mode():
        one, other = (
            classifier.backbone.forward_features((x - classifier.mean) / classifier.std).mean(
                (2, 3)
            )
            for x in (images, others)
        )
    expected = sum(float(((a - b) ** 2).mean()) for a, b in zip(one, other, strict=True))
    found = penalize_activations(classifier, images, others)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("guidance", ["gradients", "activations"])
def test_parts_stay_in_the_mode_that_they_are_in(
    classifier: Classifier, guidance: Guidance
) -> None:
    classifier.train()
    classifier.backbone.eval()  # as it is while the head alone learns
    images, regions = draw_batch()
    rngs = [np.random.default_rng(0), np.random.default_rng(1)]
    Penalty(guidance, 1.0).measure(classifier, images, regions, rngs)
    assert classifier.training
    assert all(module.training for module in classifier.head.modules())
    assert not any(module.training for module in classifier.backbone.modules())


def test_only_pixels_outside_are_shuffled() -> None:
    images, regions = draw_batch()
    rngs = [np.random.default_rng(number) for number in (1, 2)]
    shuffled = shuffle_outside(images, regions, rngs)
    assert torch.equal(shuffled[regions], images[regions])
    for image, before, region in zip(shuffled, images, regions, strict=True):
        outside, was = image[~region], before[~region]
        assert (outside != was).float().mean() > 0.9
        assert torch.equal(outside.sort().values, was.sort().values)
    alone = shuffle_outside(images[1:], regions[1:], [np.random.default_rng(2)])
    assert torch.equal(alone[0], shuffled[1])


@pytest.mark.parametrize("guidance", ["gradients", "activations"])
def test_measuring_changes_nothing_and_reaches_every_weight(
    classifier: Classifier, guidance: str
) -> None:
    classifier.train()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    images, regions = draw_batch()
    rngs = [np.random.default_rng(number) for number in (1, 2)]
    found = Penalty(guidance, 3.0).measure(classifier, images, regions, rngs)  # type: ignore[arg-type]
    once = Penalty(guidance, 1.0).measure(  # type: ignore[arg-type]
        classifier, images, regions, [np.random.default_rng(number) for number in (1, 2)]
    )
    assert float(found.detach()) == pytest.approx(3 * float(once.detach()))
    assert classifier.training
    found.backward()
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    trained = [p for name, p in classifier.named_parameters() if name.startswith("backbone")]
    assert sum(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in trained) > 5


# A training


def measure_outside(classifier: Classifier, images: ImageSet) -> float:
    """Squared input gradient outside the region, per image."""
    rows = np.arange(len(images))
    batch = images.make_batch(rows, torch.device("cpu"))
    regions = images.make_regions(rows, torch.device("cpu"))
    classifier.eval()
    return float(penalize_gradients(classifier, batch, regions).detach() / len(images))


def train(images: ImageSet, penalty: Penalty | None) -> tuple[Classifier, list[float]]:
    import osteo_ray.pipeline.validate.stripe_net  # noqa: F401  # registers its network with timm

    built = build_classifier(
        "stripe_net", n_classes=2, image_size=ImageSize.square(SIZE_PX), weights="none", seed=1
    )
    settings = TrainingSettings(
        epochs=6, per_worker_batch_size=16, learning_rate=0.01, augmentation=NO_AUGMENTATION
    )
    recipe = Recipe(settings, seed=3, penalty=penalty)
    worker = Worker(torch.device("cpu"))
    epochs = train_classifier(built, TrainingData(images, images), recipe, worker)
    return built, [epoch.training_loss for epoch in epochs]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """The training images of a planted world, with their regions."""
    root = tmp_path_factory.mktemp("guided")
    experiment, pixels = open_small_world(root, ("original", "lime"))
    trial = Trial("stripe_net", next(iter(experiment.seeds)), "lime")
    masks = read_keep_masks(experiment, trial)
    _, found = make_set(trial, experiment, pixels, masks, "train")
    return replace(found, view="image")


def test_guided_set_shows_whole_images_and_knows_its_regions(images: ImageSet) -> None:
    rows = np.array([2, 0])
    batch = images.make_batch(rows, torch.device("cpu"))
    np.testing.assert_allclose(batch[:, 0], images.pixels[rows] / np.float32(255))
    regions = images.make_regions(rows, torch.device("cpu"))
    assert isinstance(images.keep_masks, PackedMasks)
    np.testing.assert_array_equal(regions[:, 0], images.keep_masks[rows])
    with pytest.raises(ValueError, match="a set of images with masks"):
        replace(images, keep_masks=None).make_regions(rows, torch.device("cpu"))


def test_penalty_makes_what_lies_outside_matter_less(images: ImageSet) -> None:
    free, plain_losses = train(images, None)
    _, tiny_losses = train(images, Penalty("gradients", 1e-12))
    guided, losses = train(images, Penalty("gradients", 0.5))
    assert tiny_losses == pytest.approx(plain_losses, rel=1e-4)
    assert losses != plain_losses
    assert measure_outside(guided, images) < 0.8 * measure_outside(free, images)
    again, repeated = train(images, Penalty("gradients", 0.5))
    assert repeated == losses
    for one, other in zip(again.parameters(), guided.parameters(), strict=True):
        assert torch.equal(one, other)


def test_penalty_makes_features_independent_of_what_lies_outside(images: ImageSet) -> None:
    def measure(classifier: Classifier) -> float:
        rows = np.arange(len(images))
        batch = images.make_batch(rows, torch.device("cpu"))
        regions = images.make_regions(rows, torch.device("cpu"))
        rngs = [np.random.default_rng(row) for row in rows]
        with torch.inference_mode():
            features = classifier.eval().embed(batch)
            shuffled = classifier.embed(shuffle_outside(batch, regions, rngs))
        return float(((features - shuffled) ** 2).mean() / features.var())

    free, guided = (train(images, one)[0] for one in (None, Penalty("activations", 10.0)))
    assert measure(guided) < 0.8 * measure(free)


# The arms


def test_guided_arms_run_and_are_tested_on_whole_images(tmp_path: Path) -> None:
    arms = list_presets()["guidance"]
    assert arms == (
        *("original", "guided_gradients", "guided_gradients_random"),
        *("guided_activations", "guided_activations_random"),
    )
    experiment, pixels = open_small_world(tmp_path, arms)
    run_in_process(experiment, pixels)
    seed = next(iter(experiment.seeds))
    weights = set()
    for arm in arms:
        trial = Trial("stripe_net", seed, arm)
        weights.add(next(load_trained(trial, experiment).parameters()).detach().numpy().tobytes())
        rows, images = make_set(
            trial, experiment, pixels, read_keep_masks(experiment, trial), "test"
        )
        batch = images.make_batch(np.arange(len(rows)), torch.device("cpu"))
        np.testing.assert_allclose(batch[:, 0], pixels[rows] / np.float32(255))
    assert len(weights) == len(arms)
    heavier = replace(experiment.settings, guidance_weight=2.0)
    changed = replace(experiment, settings=heavier)
    for arm in arms:
        keys = [one.key_of(Trial("stripe_net", seed, arm)) for one in (experiment, changed)]
        assert (keys[0] != keys[1]) == (ARMS[arm].guidance is not None)


def test_guided_arm_is_judged_by_controls_of_its_own() -> None:
    arms = [*list_presets()["guidance"], "random_mask", "silhouette"]
    assert choose_judged(arms) == "guided_gradients"
    assert list(list_controls(arms)) == ["guided_gradients_random"]
    roles = assign_roles(arms)
    assert roles.needed == ("guided_gradients_random",)
    assert not roles.is_masked
    assert roles.memorising is None
    with_lime = [*arms, "lime"]
    assert choose_judged(with_lime) == "lime"
    assert list(list_controls(with_lime)) == ["silhouette", "random_mask"]


def test_controls_are_those_of_the_arm_that_the_user_names() -> None:
    arms = [*list_presets()["guidance"], "lime", "random_mask"]
    found = name_roles(arms, judged="guided_activations")
    assert [control.name for control in found.controls] == ["guided_activations_random"]
    assert found.controls[0].verdict == "any region"
    assert not found.is_masked
    assert found.change == "The change from original to guided_activations"
    of_lime = name_roles(arms, judged="lime")
    assert [control.name for control in of_lime.controls] == ["random_mask"]
    assert of_lime.is_masked


def test_naming_the_usual_roles_changes_nothing() -> None:
    arms = ["original", "lime", "lime_crossfit", "random_mask", "silhouette", "shuffled_labels"]
    usual = name_roles(arms)
    assert usual.needed
    assert usual.memorising == "lime"
    assert name_roles(arms, judged="lime_crossfit") == usual
    assert name_roles(arms, baseline="original", judged="lime_crossfit") == usual
    assert name_roles(arms, judged="lime") != usual
    assert name_roles(arms, controls=[]).controls == ()


@pytest.mark.parametrize(
    ("random", "verdict"), [(0.80, "real gain"), (0.90, "any region"), (None, "inconclusive")]
)
def test_verdict_on_guidance(random: float | None, verdict: str) -> None:
    means = {"original": 0.80, "guided_gradients": 0.90}
    if random is not None:
        means["guided_gradients_random"] = random
    found = judge(make_evidence(means))
    assert found.verdict == verdict
    if verdict == "any region":
        assert "the same penalty on random regions performs as well" in found.reason
    if verdict == "inconclusive":
        assert "guided_gradients_random was not planned" in found.reason
