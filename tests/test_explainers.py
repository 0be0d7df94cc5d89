"""Explainers: the interface, the registry, the `grad-cam` package, and one of a user's own."""

import copy
import hashlib
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import pytorch_grad_cam
import ray.cloudpickle
import torch
import yaml
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from rise import Rise
from test_explain_command import LIME, read_masks, store
from test_gradcam import _build, _draw_images
from test_old_run import ARCHIVE, is_same_machine, open_old
from test_trials import MODEL, SPLIT, make_experiment, make_pixels, write_pixels
from torch.nn import functional

from osteo_ray.arms.arm import Arm, MaskSource
from osteo_ray.arms.documentation import tabulate_arms
from osteo_ray.arms.gradcam import GRADCAM
from osteo_ray.arms.registry import ARMS, registered
from osteo_ray.arms.roles import Reference
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import MASKS, list_parts, read_parts, write_table
from osteo_ray.commands.compare import parse_compare
from osteo_ray.commands.explain import parse_explain
from osteo_ray.commands.main import main
from osteo_ray.config.build import build, read_yaml
from osteo_ray.config.explain import ExplainConfig
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import cover_area, keep_most, pack_mask, unpack_mask
from osteo_ray.experiment.keep_masks import read_keep_masks
from osteo_ray.experiment.trials import Experiment, MaskJob, Trial
from osteo_ray.explain.explainer import (
    Explainer,
    Explanation,
    LoadedClassifier,
    Picture,
    Request,
)
from osteo_ray.explain.explainers.cam_package import PACKAGE_CAMS, PackageCam
from osteo_ray.explain.explainers.gradcam import GradCam
from osteo_ray.explain.explainers.lime import FEW_SUPERPIXELS, TOO_FEW_SAMPLES, Lime
from osteo_ray.explain.explainers.random import RandomSuperpixels
from osteo_ray.explain.gradcam import compute_heatmaps
from osteo_ray.explain.heatmap_explainer import FEW_HOT, UNRECTIFIED, HeatmapExplainer
from osteo_ray.explain.jobs import Explainable, list_kinds, plan_job
from osteo_ray.explain.registry import EXPLAINERS, find_explainer, register_explainer
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.models.classifier import Classifier
from osteo_ray.models.settings import TrainingSettings
from osteo_ray.pipeline.compare.in_process import run_in_process
from osteo_ray.pipeline.compare.mask_jobs import list_explanations
from osteo_ray.pipeline.compare.model_check import check_models, list_cams
from osteo_ray.pipeline.explain.actor import ExplainingActor, derive_rng
from osteo_ray.pipeline.explain.carrying import carry_code
from osteo_ray.report.page import write_report

CPU = torch.device("cpu")
SIZE_PX = 64
WITHOUT_MAPS = ("lime", "lime_union", "random")
"""Explainers that read no feature map of the network."""
SETTINGS = LimeSettings(samples=40, superpixels="grid", n_superpixels=16)
CAMS = pytest.mark.parametrize("cam", PACKAGE_CAMS, ids=lambda cam: cam.name)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return _draw_images(SIZE_PX, SIZE_PX)


@pytest.fixture(scope="module")
def classifier(images: torch.Tensor) -> Classifier:
    classifier = _build("test_byobnet")
    # Statistics of these images, as training would leave: without, features fade to nothing.
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.inference_mode():
        classifier.train()(images)
    return classifier.eval()


def load(classifier: Classifier) -> LoadedClassifier:
    classifier.eval()

    def predict(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            found: torch.Tensor = classifier(images)
            return found

    return LoadedClassifier(classifier, predict, CPU)


@pytest.fixture(scope="module")
def loaded(classifier: Classifier) -> LoadedClassifier:
    return load(classifier)


def make_request(number: int, images: torch.Tensor, **changes: Any) -> Request:
    image = (images[number, 0] * 255).round().byte().numpy()
    rng = np.random.default_rng(number)
    picture = Picture(f"image-{number}", f"digest-{number}", image)
    return replace(Request(picture, rng, 800), **changes)


def explain_one(
    explainer: type[Explainer], loaded: LoadedClassifier, request: Request
) -> Explanation:
    (found,) = explainer(SETTINGS).explain(loaded, [request])
    if isinstance(found, ValueError):
        raise found
    return found


# The methods of the package


def draw_with_package(
    cam: type[PackageCam], classifier: Classifier, batch: torch.Tensor, number: int
) -> np.ndarray:
    method = getattr(pytorch_grad_cam, cam.package_name)
    with method(model=classifier, target_layers=[classifier.feature_map]) as drawing:
        (found,) = drawing(input_tensor=batch, targets=[ClassifierOutputTarget(number)])
    classifier.zero_grad(set_to_none=True)
    heatmap: np.ndarray = found
    return heatmap


@CAMS
def test_cam_is_that_of_the_package(
    cam: type[PackageCam], classifier: Classifier, loaded: LoadedClassifier, images: torch.Tensor
) -> None:
    for number in range(2):
        request = make_request(number, images, explained_class=number)
        found = explain_one(cam, loaded, request)
        batch = loaded.to_batch(request.picture.image)
        expected = draw_with_package(cam, classifier, batch, number)
        np.testing.assert_array_equal(found.importance, expected)
        np.testing.assert_array_equal(found.keep_mask, keep_most(expected, 800))
        assert found.explained_class == number


def differentiate(
    classifier: Classifier, batch: torch.Tensor, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the last feature map and the gradient of a logit there: (channels, h, w) each."""
    features = classifier.backbone.forward_features((batch - classifier.mean) / classifier.std)
    features = features.detach().requires_grad_()
    score = classifier.head(features.mean((2, 3)))[0, number]
    (gradients,) = torch.autograd.grad(score, features)
    return features.detach()[0].numpy().astype(float), gradients[0].numpy().astype(float)


def project(values: np.ndarray) -> np.ndarray:
    """Return the first principal component of places, by eigenvectors; its sign is arbitrary."""
    places = values.reshape(len(values), -1).T
    places = places - places.mean(0)
    axis = np.linalg.eigh(places.T @ places)[1][:, -1]
    return (places @ axis).reshape(values.shape[1:])


BY_HAND: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "layercam": lambda a, g: (np.maximum(g, 0) * a).sum(0),
    "hirescam": lambda a, g: (g * a).sum(0),
    "gradcam_elementwise": lambda a, g: np.maximum(g * a, 0).sum(0),
    "xgradcam": lambda a, g: np.einsum(
        "c,chw->hw", (g * a).sum((1, 2)) / (a.sum((1, 2)) + 1e-7), a
    ),
    "eigencam": lambda a, g: project(a),
    "eigengradcam": lambda a, g: project(a * g),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_cam_by_hand(
    name: str, classifier: Classifier, loaded: LoadedClassifier, images: torch.Tensor
) -> None:
    request = make_request(0, images, explained_class=0)
    found = explain_one(find_explainer(name), loaded, request).importance
    features, gradients = differentiate(classifier, loaded.to_batch(request.picture.image), 0)

    def enlarge(small: np.ndarray) -> np.ndarray:
        small = np.maximum(small, 0)
        small = (small - small.min()) / (small.max() - small.min())
        whole = torch.from_numpy(small)[None, None]
        size = (SIZE_PX, SIZE_PX)
        large = functional.interpolate(whole, size, mode="bilinear", align_corners=False)[0, 0]
        return ((large - large.min()) / (large.max() - large.min())).numpy()

    small = BY_HAND[name](features, gradients)
    signs = (1, -1) if "eigen" in name else (1,)
    differences = [np.abs(enlarge(sign * small) - found).max() for sign in signs]
    assert found.std() > 0.05
    assert min(differences) < 1e-3


@CAMS
def test_cam_leaves_the_classifier_as_it_was_and_prints_nothing(
    cam: type[PackageCam],
    classifier: Classifier,
    loaded: LoadedClassifier,
    images: torch.Tensor,
    capfd: pytest.CaptureFixture[str],
) -> None:
    layer = classifier.feature_map
    before = loaded.predict(images)
    explain_one(cam, loaded, make_request(0, images))
    assert classifier.feature_map is layer
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks
    assert not classifier.training
    assert all(one.requires_grad and one.grad is None for one in classifier.parameters())
    assert torch.equal(loaded.predict(images), before)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [*EXPLAINERS, "rise"])
def test_images_explained_together_do_not_change_each_other(
    name: str, loaded: LoadedClassifier, images: torch.Tensor
) -> None:
    explainer = {**EXPLAINERS, "rise": Rise}[name](SETTINGS)
    requests = [make_request(number, images) for number in range(3)]
    together = explainer.explain(loaded, requests)
    for number in (2, 0, 1):
        (alone,) = explainer.explain(loaded, [make_request(number, images)])
        one = together[number]
        assert isinstance(alone, Explanation)
        assert isinstance(one, Explanation)
        np.testing.assert_array_equal(one.keep_mask, alone.keep_mask)
        np.testing.assert_array_equal(one.importance, alone.importance)
        assert one.explained_class == alone.explained_class
        assert one.figures == alone.figures


@pytest.mark.parametrize("name", [name for name in EXPLAINERS if name not in WITHOUT_MAPS])
def test_cams_refuse_a_backbone_without_a_feature_map(name: str, images: torch.Tensor) -> None:
    classifier = _build("test_vit")
    explainer = EXPLAINERS[name](SETTINGS)
    with pytest.raises(ValueError, match=r"^Expected a feature map \(batch, .*needs a CNN\.$"):
        explainer.check_classifier(classifier, ImageSize.square(SIZE_PX))
    (found,) = explainer.explain(load(classifier), [make_request(0, images)])
    assert isinstance(found, ValueError)
    assert "needs a CNN" in str(found)
    assert not classifier.feature_map._forward_hooks
    assert not classifier.feature_map._forward_pre_hooks
    for other in (Lime, RandomSuperpixels):
        other(SETTINGS).check_classifier(classifier, ImageSize.square(SIZE_PX))


@pytest.mark.parametrize("name", [name for name in EXPLAINERS if name not in WITHOUT_MAPS])
def test_cams_refuse_a_feature_map_of_one_place(name: str) -> None:
    explainer, classifier = EXPLAINERS[name](SETTINGS), _build("test_byobnet")
    explainer.check_classifier(classifier, ImageSize.square(SIZE_PX))
    with pytest.raises(ValueError, match=r"of several places, but for images of 32 px it has one"):
        explainer.check_classifier(classifier, ImageSize.square(32))


def test_networks_that_planned_arms_cannot_explain_are_refused_beforehand() -> None:
    assert list_cams(["original", "lime", "random_mask", "region_silhouette"], SETTINGS) == []
    cams = list_cams(["lime", "gradcam", "layercam", "gradcam"], SETTINGS)
    assert [one.name for one in cams] == ["gradcam", "layercam"]
    check = check_models._function  # type: ignore[attr-defined]

    def find_problems(model: str, size_px: int) -> list[str]:
        size = ImageSize.square(size_px)
        return list(check({model: "none"}, size, (), TrainingSettings(), {}, cams, 2))

    assert find_problems("test_byobnet", SIZE_PX) == []
    (problem,) = find_problems("test_byobnet", 32)
    assert "several places, but for images of 32 px it has one" in problem
    assert problem.endswith("choose another network or a larger --image-size.")
    (problem,) = find_problems("test_vit", SIZE_PX)
    assert problem.startswith("Expected a network that `gradcam`, `layercam` can explain, as arms")
    assert "`test_vit` cannot be explained so: Expected a feature map (batch, " in problem


# What all of them share


@pytest.mark.parametrize("name", [name for name in EXPLAINERS if "lime" not in name])
def test_mask_has_the_area_and_the_class_that_are_asked_for(
    name: str, loaded: LoadedClassifier, images: torch.Tensor
) -> None:
    explainer = EXPLAINERS[name](SETTINGS)
    predicted = loaded.predict(images).argmax(1).tolist()
    assert len(set(predicted)) > 1
    for chosen in (None, 0):
        requests = [
            make_request(number, images, area_px=1 + 99 * number, explained_class=chosen)
            for number in range(4)
        ]
        n_found = 0
        for number, found in enumerate(explainer.explain(loaded, requests)):
            if isinstance(found, ValueError):  # nothing speaks for the class
                assert "with a peak" in str(found)
                continue
            n_found += 1
            assert found.keep_mask.sum() == 1 + 99 * number
            assert found.explained_class == (predicted[number] if chosen is None else chosen)
        assert n_found > 0


def test_random_superpixels_are_drawn_from_the_given_numbers(
    loaded: LoadedClassifier, images: torch.Tensor
) -> None:
    request = make_request(0, images)
    found = explain_one(RandomSuperpixels, loaded, request)
    segments = request.picture.find_superpixels(SETTINGS)
    expected = cover_area(segments, 800, np.random.default_rng(0))
    np.testing.assert_array_equal(found.keep_mask, expected)
    np.testing.assert_array_equal(found.importance, expected)


@pytest.mark.parametrize("samples", [20, 40, 600])
def test_lime_tells_which_masks_are_unstable(
    samples: int, loaded: LoadedClassifier, images: torch.Tensor
) -> None:
    settings = SETTINGS.model_copy(update={"samples": samples, "top_k": 1})
    requests = [make_request(number, images) for number in range(4)]
    found = [
        one for one in Lime(settings).explain(loaded, requests) if isinstance(one, Explanation)
    ]
    assert len(found) == 4
    unstable = [one.figures["unstable"] for one in found]
    if samples == 20:  # hardly more than the 16 superpixels
        assert all(one.figures["stability"] is None for one in found)
        assert {one.figures["note"] for one in found} == {TOO_FEW_SAMPLES}
        assert all(unstable)
    else:
        assert {one.figures["note"] for one in found} == {None}
        assert all(
            one.figures["unstable"]
            for one in found
            if one.figures["stability"] < settings.stability
        )
        assert not all(unstable) if samples == 600 else any(unstable)


def test_lime_explains_a_saturated_classifier(classifier: Classifier, images: torch.Tensor) -> None:
    saturated = copy.deepcopy(classifier)
    loaded = load(saturated)
    with torch.no_grad():  # logits that differ by 400 on average
        logits = saturated(images)
        scale = 400 / float((logits[:, 1] - logits[:, 0]).abs().mean())
        saturated.head[-1].weight *= scale
        saturated.head[-1].bias *= scale
    assert (torch.softmax(saturated(images), 1).amax(1) == 1).all()  # in 32 bits
    requests = [make_request(number, images) for number in range(4)]
    for target in ("probability", "log-odds"):
        settings = SETTINGS.model_copy(update={"samples": 100, "target": target})
        for found in Lime(settings).explain(loaded, requests):
            assert isinstance(found, Explanation)
            assert found.keep_mask.any()
            assert found.figures["local_fit"] < 1
            assert found.figures["stability"] < 1
            assert found.figures["note"] is None


def test_lime_says_what_must_be_known_of_a_mask(images: torch.Tensor) -> None:
    def predict(batch: torch.Tensor) -> torch.Tensor:  # the darker, the surer of class 0
        return torch.stack([batch[:, 0, :32].mean((1, 2)) * 9, torch.zeros(len(batch))], 1)

    loaded = LoadedClassifier(torch.nn.Identity(), predict, CPU)
    image = np.full((SIZE_PX, SIZE_PX), 255, np.uint8)
    image[32:] = 7
    options = {"superpixels": "grid", "fill": "black", "samples": 300, "target": "log-odds"}

    def explain(explained_class: int, n_superpixels: int) -> Explanation:
        settings = LimeSettings(**options, n_superpixels=n_superpixels)
        request = Request(Picture("", "", image), np.random.default_rng(0), 1, explained_class)
        (found,) = Lime(settings).explain(loaded, [request])
        assert isinstance(found, Explanation)
        return found

    assert explain(0, 16).figures["note"] is None
    empty = explain(1, 16)
    assert not empty.keep_mask[:32].any()
    few = explain(0, 4)
    assert few.figures["note"] == FEW_SUPERPIXELS


def test_superpixels_are_found_once_for_all_explainers(
    loaded: LoadedClassifier, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from osteo_ray.explain import superpixels

    find, calls = superpixels.find_superpixels, []

    def count(image: np.ndarray, settings: LimeSettings) -> np.ndarray:
        calls.append(settings)
        return find(image, settings)

    monkeypatch.setattr(superpixels, "find_superpixels", count)
    request = make_request(0, images)
    explain_one(Lime, loaded, request)
    explain_one(RandomSuperpixels, loaded, request)
    Lime(SETTINGS).fill(request.picture)
    assert calls == [SETTINGS]
    other = SETTINGS.model_copy(update={"n_superpixels": 9})
    assert request.picture.find_superpixels(other).max() == 8
    blank = replace(request.picture, image=np.full((8, 8), 7, np.uint8), _superpixels={})
    for _ in range(2):
        with pytest.raises(ValueError, match="all its pixels are equal"):
            blank.find_superpixels(SETTINGS)
    assert calls == [SETTINGS, other, SETTINGS]


class Faulty(HeatmapExplainer):
    """Draws whatever it is told to."""

    name = "faulty"
    summary = "keeps something"
    heatmap = np.zeros((SIZE_PX, SIZE_PX))

    def _draw_heatmap(self, *arguments: object) -> np.ndarray:
        return self.heatmap


@pytest.mark.parametrize(
    ("heatmap", "message"),
    [
        (np.zeros((SIZE_PX, SIZE_PX)), "Expected a heat map with a peak"),
        (np.where(np.eye(SIZE_PX), np.nan, 1.0), "but got NaN"),
    ],
    ids=["flat", "NaN"],
)
def test_unusable_heat_map_is_the_error_of_its_image(
    heatmap: np.ndarray,
    message: str,
    loaded: LoadedClassifier,
    images: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Faulty, "heatmap", heatmap)
    (found,) = Faulty(SETTINGS).explain(loaded, [make_request(0, images)])
    assert isinstance(found, ValueError)
    assert message in str(found)


FALLING = -np.arange(SIZE_PX**2.0).reshape(SIZE_PX, SIZE_PX)[::-1]
"""A map whose places speak less and less for the class, from the bottom up."""
PLATEAU = np.minimum(FALLING, -32.0 * SIZE_PX)
"""The same, but in the lower half, all places speak alike."""


@pytest.mark.parametrize(
    ("n_hot", "before_cut", "note"),
    [
        (0, FALLING, UNRECTIFIED),
        (0, PLATEAU, UNRECTIFIED),
        (100, FALLING, FEW_HOT),
        (100, PLATEAU, FEW_HOT),
        (100, None, FEW_HOT),
        (799, FALLING, FEW_HOT),
        (800, FALLING, None),
    ],
)
def test_pixels_that_tie_at_the_minimum_are_not_kept_from_the_top(
    n_hot: int,
    before_cut: np.ndarray | None,
    note: str | None,
    loaded: LoadedClassifier,
    images: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heatmap = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    heatmap.flat[-n_hot or SIZE_PX**2 :] = 1 + np.arange(n_hot)
    monkeypatch.setattr(Faulty, "heatmap", heatmap)
    if before_cut is not None:
        monkeypatch.setattr(Faulty, "_draw_unrectified", lambda *_: before_cut)
    found = explain_one(Faulty, loaded, make_request(0, images))
    kept = found.keep_mask
    assert found.figures == ({} if note is None else {"note": note})
    assert kept.sum() == 800
    assert kept[heatmap > 0].all()
    if n_hot:
        np.testing.assert_array_equal(found.importance[heatmap > 0], heatmap[heatmap > 0])
        np.testing.assert_array_equal(found.find_peak(), heatmap == heatmap.max())
    if note == FEW_HOT and before_cut is FALLING:
        rest = np.where(heatmap > 0, np.inf, FALLING)
        np.testing.assert_array_equal(kept, keep_most(rest, 800))
    elif before_cut is not FALLING:  # ties are broken by lot, so all their rows are kept alike
        of_rows = kept[0 if before_cut is None else 32 : 62].mean(1)
        assert 0.1 < of_rows.mean() < 0.5
        assert np.abs(of_rows - of_rows.mean()).max() < 0.25
        other = make_request(0, images)
        other = replace(other, picture=replace(other.picture, digest="other"))
        assert (explain_one(Faulty, loaded, other).keep_mask != kept).any()
    # Whatever else is asked, and by whatever seed, an image has the same mask.
    again = explain_one(Faulty, loaded, make_request(0, images, rng=np.random.default_rng(9)))
    np.testing.assert_array_equal(again.keep_mask, kept)


@pytest.mark.parametrize("selection", ["weights", "forward"])
@pytest.mark.parametrize(("explained_class", "speaks"), [(0, False), (1, True)])
def test_lime_has_a_peak_only_where_something_speaks_for_the_class(
    explained_class: int, speaks: bool, selection: str
) -> None:
    def predict(batch: torch.Tensor) -> torch.Tensor:  # all that is shown speaks for class 1
        shown = (batch * 9).mean((1, 2, 3))
        return torch.stack([-shown, shown], 1)

    loaded = LoadedClassifier(torch.nn.Identity(), predict, CPU)
    image = np.random.default_rng(1).integers(150, 256, (40, 40)).astype(np.uint8)
    changes = {"samples": 200, "fill": "black", "target": "log-odds", "selection": selection}
    request = Request(Picture("", "", image), np.random.default_rng(0), 1, explained_class)
    (found,) = Lime(SETTINGS.model_copy(update=changes)).explain(loaded, [request])
    assert isinstance(found, Explanation)
    peak = found.find_peak()
    assert found.keep_mask.any() == (peak is not None) == speaks
    if peak is not None:
        assert found.keep_mask[peak].all()


def test_classifier_that_gives_nan_is_the_error_of_its_image(images: torch.Tensor) -> None:
    def predict(images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 2), float("nan"))

    broken = LoadedClassifier(torch.nn.Identity(), predict, CPU)
    for explainer in (GradCam, Lime, RandomSuperpixels):
        (found,) = explainer(SETTINGS).explain(broken, [make_request(0, images)])
        assert isinstance(found, ValueError)
        assert "finite logits, but the classifier gave NaN" in str(found)


def test_explainer_that_returns_something_else_is_refused(
    loaded: LoadedClassifier, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = np.zeros((SIZE_PX, SIZE_PX))
    for keep_mask, importance in ((good, good), (good[1:] > 0, good), (good > 0, good[1:])):
        found = Explanation(keep_mask, importance, 0)
        monkeypatch.setattr(Faulty, "_explain_one", lambda *_, found=found: found)
        with pytest.raises(RuntimeError, match="Expected the explainer `faulty` to return a bool"):
            Faulty(SETTINGS).explain(loaded, [make_request(0, images)])


def test_requests_that_make_no_sense_are_refused(
    loaded: LoadedClassifier, images: torch.Tensor
) -> None:
    for area_px in (-1, SIZE_PX**2 + 1):
        with pytest.raises(ValueError, match=rf"0 \.\. 4096 pixels to keep, but got {area_px}"):
            GradCam(SETTINGS).explain(loaded, [make_request(0, images, area_px=area_px)])
    for image in (np.zeros((8, 8)), np.zeros((1, 8, 8), np.uint8)):
        request = make_request(0, images, picture=Picture("", "", image))
        with pytest.raises(ValueError, match="Expected a uint8 or uint16 image"):
            GradCam(SETTINGS).explain(loaded, [request])


# The registry


def test_unknown_name_is_an_error_that_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match=r"among lime, .* `layer_cam`. Did you mean `layercam`\?"):
        find_explainer("layer_cam")
    with pytest.raises(InputError, match=r"method: Expected .* `limee`. Did you mean `lime`\?"):
        build(ExplainConfig, {"method": "limee"})
    with pytest.raises(InputError, match=r"but got `layer-cam`\. Did you mean `layercam`\?"):
        parse_explain(["/d", "--method", "layer-cam"])
    nobody = Explainable(*("m", 0, "f", 0), *(Path(),) * 5, frozenset(), ("lime", "gradcamm"))
    with pytest.raises(InputError, match=r"but got `gradcamm`. Did you mean `gradcam`\?"):
        plan_job([nobody], SETTINGS, n_classes=2, image_size=ImageSize.square(SIZE_PX))


def test_every_explainer_has_a_name_of_its_own() -> None:
    assert [one.name for one in EXPLAINERS.values()] == list(EXPLAINERS)
    assert list(EXPLAINERS)[:3] == ["lime", "random", "gradcam"]
    register_explainer(Lime)  # again is no harm
    with pytest.raises(ValueError, match="`lime` is taken by Lime"):
        register_explainer(type("Other", (Rise,), {"name": "lime"}))
    for name in ("Grad-CAM++", "rise/2", "", "2rise"):
        with pytest.raises(ValueError, match="made of a-z, 0-9 and _"):
            register_explainer(type("Other", (Rise,), {"name": name}))
    assert "rise" not in EXPLAINERS


def test_settings_that_determine_masks_belong_to_the_identity() -> None:
    def identify(method: str, *flags: str) -> dict[str, Any]:
        return parse_explain(["/d", "--method", method, *flags]).identity()

    for method, explainer in EXPLAINERS.items():
        plain = identify(method)
        for setting, flags in (
            ("area", ("--area", "0.5")),
            ("seed", ("--seed", "7")),
            ("lime", ("--lime.top-k", "3")),
        ):
            changed = identify(method, *flags) != plain
            assert changed == (setting in explainer.depends_on)
    assert Lime.depends_on == {"lime", "seed"}
    assert RandomSuperpixels.depends_on == {"lime", "seed", "area"}
    assert {one.depends_on for one in (GradCam, *PACKAGE_CAMS)} == {frozenset({"area"})}


# An explainer of a user's own


@pytest.fixture
def rise(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Explainer]]:
    monkeypatch.setitem(EXPLAINERS, "rise", Rise)
    return Rise


def test_page_shows_the_explainer_that_is_tested_here() -> None:
    root = Path(__file__).parents[1]
    source = Path(__file__).with_name("rise.py").read_text(encoding="utf-8")
    page = (root / "docs" / "explainers.md").read_text(encoding="utf-8")
    assert re.findall(r"```python\n(.*?)```", page, re.S)[0] == source
    assert len(source.splitlines()) <= 50
    rows = "".join(line for line in page.splitlines() if line.startswith("| `"))
    assert set(EXPLAINERS) == set(re.findall(r"`([a-z_]+)`", rows))


def test_code_of_a_users_explainer_reaches_processes_that_cannot_import_it(
    tmp_path: Path,
) -> None:
    explainers = [Rise(SETTINGS), Lime(SETTINGS)]
    carry_code(explainers)
    (tmp_path / "sent").write_bytes(ray.cloudpickle.dumps(explainers))
    code = (
        "import importlib.util, pathlib, ray.cloudpickle\n"
        "assert importlib.util.find_spec('rise') is None\n"
        "rise, lime = ray.cloudpickle.loads(pathlib.Path('sent').read_bytes())\n"
        "print(type(rise).__name__, rise.n_masks, rise.settings.samples, type(lime).__module__)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.split() == ["Rise", "64", "40", "osteo_ray.explain.explainers.lime"]


def test_rise_finds_what_the_classifier_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rise, "n_masks", 2000)

    # The class is as likely as a quarter of the image is bright.
    def predict(batch: torch.Tensor) -> torch.Tensor:
        bright = batch[:, 0, :32, :32].mean((1, 2))
        return torch.stack([1 - bright, bright], 1).log()

    quarter = np.zeros((SIZE_PX, SIZE_PX), bool)
    quarter[:32, :32] = True
    loaded = LoadedClassifier(torch.nn.Identity(), predict, CPU)
    white = Picture("", "", np.full((SIZE_PX, SIZE_PX), 255, np.uint8))
    request = Request(white, np.random.default_rng(0), 32 * 32, explained_class=1)
    found = explain_one(Rise, loaded, request)
    assert (found.keep_mask & quarter).sum() > 0.8 * 32 * 32


# Images in which nothing speaks for the class


@pytest.fixture(scope="module")
def averse(classifier: Classifier) -> LoadedClassifier:
    """A classifier for whose class 1 no channel speaks, wherever it is active."""
    classifier = copy.deepcopy(classifier)
    with torch.no_grad():
        classifier.head[-1].weight[1] = -classifier.head[-1].weight[1].abs()
    return load(classifier)


def test_grad_cam_without_a_peak_ranks_by_the_map_before_the_cut(
    averse: LoadedClassifier, images: torch.Tensor
) -> None:
    notes = set()
    for number in range(4):
        for chosen in (0, 1):
            request = make_request(number, images, explained_class=chosen)
            batch, classes = averse.to_batch(request.picture.image), np.array([chosen])
            (usual,) = compute_heatmaps(averse.module, batch, classes)
            (uncut,) = compute_heatmaps(averse.module, batch, classes, rectified=False)
            found = explain_one(GradCam, averse, request)
            has_peak = bool(usual.any())
            expected = usual if has_peak else uncut
            np.testing.assert_array_equal(found.importance, expected)
            least = np.sort(expected, axis=None)[-800]  # pixels as hot as this one join by lot
            assert found.keep_mask[expected > least].all()
            assert not found.keep_mask[expected < least].any()
            assert found.keep_mask.sum() == 800
            assert found.figures == ({} if has_peak else {"note": UNRECTIFIED})
            notes.add((chosen, has_peak))
    assert {(0, True), (1, False)} <= notes  # both happen


@CAMS
def test_cam_without_a_peak_ranks_by_the_map_before_the_cut(
    cam: type[PackageCam], loaded: LoadedClassifier, images: torch.Tensor, monkeypatch
) -> None:
    method = getattr(pytorch_grad_cam, cam.package_name)
    rng = np.random.default_rng(3)
    drawn = -rng.random((1, 2, 2), np.float32) - 1
    monkeypatch.setattr(method, "get_cam_image", lambda *_: drawn)
    request = make_request(0, images, explained_class=1)
    found = explain_one(cam, loaded, request)
    expected = functional.interpolate(
        torch.from_numpy(drawn)[None], (SIZE_PX, SIZE_PX), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    scaled = (expected - drawn.min()) / (drawn.max() - drawn.min())
    np.testing.assert_allclose(found.importance, scaled, rtol=0, atol=1e-5)
    assert found.keep_mask.sum() == 800
    assert found.figures == {"note": UNRECTIFIED}


@pytest.mark.parametrize("explainer", [GradCam, *PACKAGE_CAMS], ids=lambda one: one.name)
def test_map_that_is_the_same_everywhere_is_an_error(
    explainer: type[Explainer], classifier: Classifier, images: torch.Tensor
) -> None:
    classifier = copy.deepcopy(classifier)
    with torch.no_grad():
        for value in classifier.head.parameters():
            value.zero_()
    (found,) = explainer(SETTINGS).explain(
        load(classifier), [make_request(0, images, explained_class=1)]
    )
    if explainer.name in ("eigencam", "scorecam"):  # which look at activations
        return
    assert isinstance(found, ValueError)
    assert re.match("Expected (a heat map with a peak|importances .* but got NaN)", str(found))


def test_note_of_a_mask_is_stored_and_tables_without_the_column_are_read(tmp_path: Path) -> None:
    row = dict.fromkeys(MASKS.names) | {"image_id": "one", "note": UNRECTIFIED, "peak": b"x"}
    write_table(tmp_path / "b.parquet", pa.Table.from_pylist([row], schema=MASKS))
    earlier = pa.schema([one for one in MASKS if one.name not in ("note", "peak")], MASKS.metadata)
    write_table(tmp_path / "a.parquet", pa.Table.from_pylist([row], schema=earlier))
    table = read_parts(tmp_path, MASKS)
    assert table["note"].to_pylist() == [None, UNRECTIFIED]
    assert table["peak"].to_pylist() == [None, b"x"]
    assert table["image_id"].to_pylist() == ["one", "one"]


@pytest.mark.parametrize("name", ["layercam"])
def test_a_method_of_the_package_is_an_arm(name: str, tmp_path: Path) -> None:
    assert parse_compare(["--arms", "original", "lime", name]).arms == ("original", "lime", name)
    experiment, pixels = make_small_experiment(tmp_path, "original", "lime", name)
    run_in_process(experiment, pixels)
    trial = Trial(MODEL, 0, name)
    assert experiment.is_done(trial)
    rows = read_masks(experiment.masks_of(MaskJob(Trial(MODEL, 0, "original"))))
    lime, cam = (
        {row["image_id"]: row for row in rows if row["kind"] == kind} for kind in ("lime", name)
    )
    assert set(cam) == set(experiment.image_ids[SPLIT != ""].tolist())
    shown = read_keep_masks(experiment, trial)
    assert shown is not None
    for number, image_id in enumerate(experiment.image_ids.tolist()):
        if image_id in cam and image_id not in shown.errors:
            assert pack_mask(shown.masks[number]) == cam[image_id]["keep_mask"]
            assert (
                shown.masks[number].sum()
                == unpack_mask(lime[image_id]["keep_mask"], ImageSize.square(32)).sum()
            )
    for number, image_id in enumerate(experiment.image_ids.tolist()):
        weights, cam_peak = lime.get(image_id, {}).get("weights"), cam.get(image_id, {}).get("peak")
        if weights:
            picture = Picture(image_id, "", pixels[number])
            superpixels = picture.find_superpixels(
                experiment.settings.lime.scale_to(ImageSize.square(32))
            )
            heaviest = superpixels == np.argmax(weights)
            peak = pack_mask(heaviest) if max(weights) > 0 else None
            assert lime[image_id]["peak"] == peak
        if cam_peak:
            hottest = unpack_mask(cam_peak, ImageSize.square(32))
            assert hottest.any()
            assert not (hottest & ~shown.masks[number]).any()
    assert {row["peak"] for row in rows if row["kind"] == "random"} == {None}
    arm = ARMS[name]
    assert arm.meaning == (
        "the Layer-CAM region of the same area × image; shows whether another explanation method "
        "does as much as LIME (Jiang et al. 2021)"
    )
    assert (arm.label, arm.role) == ("Layer-CAM mask", Reference())


def test_report_describes_the_arm_of_a_method_of_the_package(tmp_path: Path) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    run = Run(tmp_path / "run")
    stored = read_yaml(run.config)
    run.config.write_text(yaml.safe_dump({**stored, "arms": [*stored["arms"], "layercam"]}))
    page = write_report(run).read_text(encoding="utf-8")
    meaning = ARMS["layercam"].meaning
    assert f"<b>Layer-CAM mask</b>: {meaning[0].upper()}{meaning[1:]}." in page


def test_every_method_of_the_package_is_an_arm_and_one_row_of_the_table() -> None:
    for cam in PACKAGE_CAMS:
        masks = ARMS[cam.name].masks
        assert masks == MaskSource(kind=cam.name)
        assert ARMS[cam.name].presets == ()
        assert str(cam.literature) in str(cam.__doc__).replace("&", "and") or not cam.literature
    (row,) = [line for line in tabulate_arms().splitlines() if "`layercam`" in line]
    assert all(f"`{cam.name}`" in row for cam in PACKAGE_CAMS)
    assert row.endswith(" | – |")


def make_arm(name: str, masks: MaskSource) -> Arm:
    return replace(GRADCAM, name=name, label=name, masks=masks, presets=())


def make_small_experiment(root: Path, *arms: str) -> tuple[Experiment, np.ndarray]:
    experiment = make_experiment(root, arms=list(arms))
    pixels = make_pixels()
    write_pixels(experiment, pixels)
    return experiment, pixels


@pytest.fixture
def rise_arm(rise: type[Explainer]) -> Iterator[Arm]:
    with registered(make_arm("rise_mask", MaskSource(kind="rise"))) as arm:
        yield arm


def test_an_arm_shows_masks_by_rise(rise_arm: Arm, tmp_path: Path) -> None:
    plain, pixels = make_small_experiment(tmp_path / "plain", "original", "lime")
    run_in_process(plain, pixels)
    experiment, _ = make_small_experiment(tmp_path / "rise", "original", "lime", rise_arm.name)
    run_in_process(experiment, pixels)
    assert experiment.is_done(Trial(MODEL, 0, "rise_mask"))

    rows = read_masks(experiment.masks_of(MaskJob(Trial(MODEL, 0, "original"))))
    kinds: dict[str, dict[str, Any]] = {}
    for row in rows:
        kinds.setdefault(row["kind"], {})[row["image_id"]] = row
    assert set(kinds) == {"lime", "random", "gradcam", "rise"}
    wanted = set(experiment.image_ids[SPLIT != ""].tolist())
    assert all(set(images) == wanted for images in kinds.values())
    # The masks of other kinds are those of a comparison without it.
    without = read_masks(plain.masks_of(MaskJob(Trial(MODEL, 0, "original"))))
    assert [row for row in rows if row["kind"] != "rise"] == without

    shown = read_keep_masks(experiment, Trial(MODEL, 0, "rise_mask"))
    assert shown is not None
    n_drawn = 0
    for number, image_id in enumerate(experiment.image_ids.tolist()):
        row = kinds["rise"].get(image_id)
        if row is None:  # set aside
            assert shown.masks[number].all()
            continue
        if image_id in shown.errors:  # its mask is that of another image
            continue
        n_drawn += 1
        lime = unpack_mask(kinds["lime"][image_id]["keep_mask"], ImageSize.square(32))
        assert shown.masks[number].sum() == lime.sum()
        assert pack_mask(shown.masks[number]) == row["keep_mask"]
    assert n_drawn > 10


def test_kinds_that_an_old_run_lacks_are_made_as_the_earlier_version_did(tmp_path: Path) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    run = Run(tmp_path / "run")
    experiment = open_old(run)
    job = MaskJob(Trial("test_byobnet", 0, "original"))
    folder = experiment.masks_of(job)
    expected = read_masks(folder)
    for part in folder.glob("*.parquet"):
        table = pq.read_table(part)
        write_table(part, table.filter(pc.equal(table["kind"], "lime")))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    trial = Trial("test_byobnet", 0, "random_mask")
    (planned,) = list_explanations(experiment, [trial]).values()
    assert planned.pending == planned.wanted
    settings = experiment.settings.lime
    plan = plan_job([planned], settings, n_classes=2, image_size=ImageSize.square(48))
    actor = ExplainingActor(plan)
    for part in list_parts(run.pixels):
        n_rows = pq.read_metadata(part).num_rows
        list(actor({"file": np.array([part]), "start": np.array([0]), "stop": np.array([n_rows])}))
    assert before.items() <= {path: path.read_bytes() for path in folder.iterdir()}.items()
    found = [row | {"peak": None} for row in read_masks(folder)]  # which that version did not keep
    named = [(row["kind"], row["image_id"]) for row in found]
    assert named == [(row["kind"], row["image_id"]) for row in expected]
    same = [one == other for one, other in zip(found, expected, strict=True)]
    # Random superpixels are the same on every processor, heat maps within rounding.
    assert all(one or row["kind"] == "gradcam" for one, row in zip(same, found, strict=True))
    assert all(same) if is_same_machine(run) else _agree(found, expected) > 0.95


def _agree(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> float:
    """Return the share of pixels in which masks agree."""
    one, other = (
        np.unpackbits(np.frombuffer(b"".join(row["keep_mask"] for row in rows), np.uint8))
        for rows in (found, expected)
    )
    return float(np.mean(one == other))


def test_a_kind_without_an_explainer_stops_a_comparison_before_it_begins(
    tmp_path: Path,
) -> None:
    with registered(make_arm("new", MaskSource(kind="layer_cam"))):
        experiment = make_small_experiment(tmp_path, "original", "new")[0]
        with pytest.raises(InputError, match="Did you mean `layercam`"):
            list_explanations(experiment, [Trial(MODEL, 0, "new")])


def test_kinds_follow_from_the_arms(tmp_path: Path) -> None:
    experiment, _ = make_small_experiment(tmp_path, "original")

    def list_all(*arms: str) -> dict[str, tuple[str, ...]]:
        trials = [Trial(MODEL, 0, arm) for arm in arms]
        jobs = list_explanations(experiment, trials)
        return {job.teacher.arm: planned.kinds for job, planned in jobs.items()}

    assert list_all("lime") == {"original": list_kinds("lime")}
    assert list_all("random_mask") == {"original": list_kinds("lime")}
    assert list_all("untrained_lime") == {"untrained": ("lime",)}
    with (
        registered(make_arm("one", MaskSource("untrained", "layercam"))),
        registered(make_arm("other", MaskSource("untrained", "gradcam"))),
    ):
        assert list_all("one", "untrained_lime", "other", "lime") == {
            "untrained": ("lime", "layercam", "gradcam"),
            "original": list_kinds("lime"),
        }


@pytest.mark.ray
def test_rise_explains_a_set_in_process_and_on_ray(
    rise: type[Explainer], tmp_path: Path, local_ray: None, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = store(tmp_path / "model.safetensors")
    run = Run(tmp_path / "out")
    flags = ["--phantom.n-images", "6", "--phantom.size-px", "64", "--method", "rise", *LIME]
    flags += ["--checkpoint", str(checkpoint), "--out", str(run.root), "--area", "0.25"]
    assert main(["explain", *flags]) == 0
    found = read_masks(run.masks)
    ids = {row["image_id"] for row in found}
    assert [row["kind"] for row in found] == ["rise"] * len(ids)
    assert len(ids) == 6
    areas = {unpack_mask(row["keep_mask"], ImageSize.square(SIZE_PX)).sum() for row in found}
    assert areas == {round(0.25 * SIZE_PX**2)}

    config = parse_explain(flags)
    explainable = Explainable(
        model="test_byobnet",
        seed=0,
        fingerprint=hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        lime_seed=0,
        checkpoint=checkpoint,
        frozen=tmp_path / "frozen",
        masks=tmp_path / "masks",
        faithfulness=tmp_path / "faithfulness",
        heatmaps=tmp_path / "heatmaps",
        wanted=frozenset(ids),
        kinds=("rise",),
        area=config.area,
    )
    actor = ExplainingActor(
        plan_job([explainable], config.lime, n_classes=2, image_size=ImageSize.square(SIZE_PX))
    )
    for part in list_parts(run.pixels):
        n_rows = pq.read_metadata(part).num_rows
        list(actor({"file": np.array([part]), "start": np.array([0]), "stop": np.array([n_rows])}))
    assert read_masks(tmp_path / "masks") == found
    # An independent drawing of one mask, from what the tables say.
    row = found[0]
    (pixels,) = (
        one
        for part in list_parts(run.pixels)
        for one in pq.read_table(part).to_pylist()
        if one["image_id"] == row["image_id"]
    )
    image = np.frombuffer(pixels["pixels"], np.uint8).reshape(SIZE_PX, SIZE_PX).copy()
    rng = derive_rng(pixels["digest"], explainable.fingerprint, 0, "rise")
    loaded = actor.classifiers.get(explainable)
    heatmap = Rise(config.lime)._draw_heatmap(loaded, image, row["explained_class"], rng)
    assert pack_mask(keep_most(heatmap, round(0.25 * SIZE_PX**2))) == row["keep_mask"]
