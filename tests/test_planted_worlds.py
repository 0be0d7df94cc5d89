"""Planted worlds: they can be run as they stand, and their networks learn what they should."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import osteo_ray.pipeline.validate.stripe_net  # noqa: F401  # registers its networks with timm
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.data.settings import View
from osteo_ray.data.splits.assignment import assign_splits
from osteo_ray.data.splits.checks import check_class_sizes
from osteo_ray.experiment.verdict import VERDICTS
from osteo_ray.models.batches import ImageSet
from osteo_ray.models.classifier import build_classifier
from osteo_ray.models.prediction import predict_probabilities
from osteo_ray.models.training import Recipe, TrainingData, Worker, train_classifier
from osteo_ray.pipeline.validate.planted_worlds import TRAINING, WORLDS, World
from osteo_ray.pipeline.validate.striped_images import GRID, REGION, StripedSet, draw_set

MADE_FOR = {
    "real gain",
    "real loss",
    "equivalent",
    "leakage",
    "second training",
    "any crop",
    "nothing learned",
}
"""Verdicts that a world is made for; the others are tested on tables (`test_situations`)."""
NO_GAIN = {"nothing learned", "inconclusive", "equivalent", "real loss"}


def test_verdicts_have_their_worlds() -> None:
    assert {world.verdicts[0] for world in WORLDS.values()} == MADE_FOR
    for world in WORLDS.values():
        assert set(world.verdicts) <= set(VERDICTS)
        assert len(world.verdicts) == 1 or set(world.verdicts) == NO_GAIN


@pytest.mark.parametrize("world", WORLDS.values(), ids=lambda world: world.name)
def test_world_can_be_split(world: World) -> None:
    drawn = draw_set(world.drawing, seed=0)
    together = world.split == "grouped"
    groups = drawn.groups if together else np.arange(len(drawn.labels))
    check_class_sizes(drawn.labels, groups, world.ratio)
    splits = assign_splits(drawn.labels, groups, world.ratio, seed=0)
    has_copies = world.drawing.n_copies > 1
    torn = [set(splits[drawn.groups == group]) for group in np.unique(drawn.groups)]
    assert any(len(parts) > 1 for parts in torn) == (has_copies and not together)


def test_worlds_of_copies_differ_in_the_split_alone() -> None:
    one, other = WORLDS["copies"], WORLDS["copies apart"]
    assert one.drawing == other.drawing
    assert one.training == other.training
    assert (one.split, other.split) == ("random", "grouped")


def test_lime_of_the_worlds_has_patches_as_superpixels() -> None:
    for world in WORLDS.values():
        assert (world.lime.superpixels, world.lime.n_superpixels) == ("grid", GRID**2)
        assert world.lime.top_k == REGION**2


def test_network_pools_over_places() -> None:
    classifier = build_classifier(
        "stripe_net", n_classes=2, image_size=ImageSize.square(32), weights="none", seed=0
    ).eval()
    images = torch.rand(3, 1, 32, 32)
    with torch.inference_mode():
        features = classifier.backbone.forward_features((images - 0.25) / 0.25)
        assert features.shape == (3, 32, 8, 8)
        torch.testing.assert_close(classifier(images), classifier.head(features.mean((2, 3))))
    assert sum(weights.numel() for weights in classifier.parameters()) < 5500


def score(world: World, drawn: StripedSet, view: View) -> float:
    """Train on one split as the world says, and return the accuracy on its test images."""
    splits = assign_splits(drawn.labels, drawn.groups, world.ratio, seed=0)
    numbers = np.unique(drawn.labels, return_inverse=True)[1]
    whole = ImageSet(drawn.images, numbers, PackedMasks.pack(drawn.keep_masks), view)
    train, validation, test = (
        whole.select(np.flatnonzero(splits == name)) for name in ("train", "validation", "test")
    )
    classifier = build_classifier(
        world.model, n_classes=2, image_size=ImageSize.square(32), weights="none", seed=0
    )
    device = torch.device("cpu")
    data, recipe = TrainingData(train, validation), Recipe(world.training, seed=0)
    train_classifier(classifier, data, recipe, Worker(device))
    found = predict_probabilities(classifier, test, batch_size=64, device=device)
    return float(np.mean(found.argmax(1) == test.labels))


def test_masks_that_keep_the_region_help_where_stripes_distract() -> None:
    world = WORLDS["gain"]
    drawn = draw_set(world.drawing, seed=0)
    assert score(world, drawn, "masked") > score(world, drawn, "image") + 0.1
    assert score(world, drawn, "masked") > 0.9
    assert score(world, drawn, "silhouette") < 0.65


def test_masks_that_miss_the_region_leave_nothing() -> None:
    world = WORLDS["loss"]
    drawn = draw_set(world.drawing, seed=0)
    assert score(world, drawn, "image") > 0.9
    assert score(world, drawn, "masked") < 0.65


def test_an_outline_by_the_class_is_enough() -> None:
    world = WORLDS["outline"]
    assert score(world, draw_set(world.drawing, seed=0), "silhouette") > 0.95


def test_one_image_in_twenty_is_of_the_rare_class() -> None:
    drawn = draw_set(WORLDS["rare"].drawing, seed=0)
    assert (drawn.labels == "upright").mean() == 0.05
    assert (draw_set(WORLDS["gain"].drawing, seed=0).labels == "upright").mean() == 0.5


def test_failures_follow_the_class_and_nothing_else_does() -> None:
    world = WORLDS["failures"]
    drawn = draw_set(world.drawing, seed=0)
    upright = drawn.labels == "upright"
    assert not drawn.failed[~upright].any()
    assert 0.3 < drawn.failed[upright].mean() < 0.5
    assert 0.3 < score(world, drawn, "image") < 0.7
    assert not draw_set(WORLDS["gain"].drawing, seed=0).failed.any()


def test_nothing_is_learned_where_training_is_too_short() -> None:
    world = WORLDS["nothing learned"]
    drawn = draw_set(world.drawing, seed=0)
    assert score(world, drawn, "image") < 0.65
    longer = replace(world, training=TRAINING)
    assert score(longer, drawn, "image") > 0.95
