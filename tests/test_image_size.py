"""Images that are no squares, from the flag that asks for them to what networks are shown."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from scipy.ndimage import gaussian_filter
from skimage.transform import AffineTransform, warp
from tiny_runs import configure
from torch import nn

from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.commands.main import main
from osteo_ray.config.build import build_config
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import pack_mask, unpack_mask
from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.experiment.dataset import fingerprint_images
from osteo_ray.experiment.external import CohortRun
from osteo_ray.explain.gradcam import compute_heatmaps
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.explain.superpixels import find_superpixels
from osteo_ray.models.augmentation import draw_affine, warp_images
from osteo_ray.models.checkpoint import Checkpoint
from osteo_ray.models.classifier import build_classifier
from osteo_ray.models.feature_maps import find_feature_layer
from osteo_ray.models.forward import FrozenClassifier, freeze_classifier
from osteo_ray.models.settings import AugmentationSettings
from osteo_ray.models.timm_networks import check_network_size
from osteo_ray.report.pictures import compose_panels

TALL = ImageSize(96, 64)


class TestReading:
    @pytest.mark.parametrize("given", ["128", 128, "128x128", [128, 128], (128, 128), " 128 "])
    def test_squares(self, given: Any) -> None:
        found = ImageSize.read(given)
        assert found == ImageSize.square(128)
        assert (found.written, str(found), found.plain) == (128, "128", 128)

    @pytest.mark.parametrize("given", ["320x256", "320X256", "320 × 256", [320, 256]])
    def test_height_comes_first(self, given: Any) -> None:
        found = ImageSize.read(given)
        assert (found.height, found.width, found.written) == (320, 256, "320x256")
        assert (found.shape, found.plain, found.longer_px) == ((320, 256), (320, 256), 320)
        assert (found.area_px, found.tell()) == (81_920, "320 px high, 256 px wide")

    @pytest.mark.parametrize(
        "given",
        [
            *(
                "320x",
                "x256",
                "0x",
                "-1",
                "-64x64",
                "320x256x3",
                "1e3",
                "128.0",
                "",
                "x",
                "a",
                "٣٢٠",
            ),
            *(128.0, 1e3, True, None, [], [320], [320, 256, 3], [320.0, 256], ["320", "256"], {}),
            *("9" * 5000, "0x40x40"),
        ],
    )
    def test_what_is_no_size_is_refused_in_one_sentence(self, given: Any) -> None:
        with pytest.raises(InputError) as error:
            build_config({"image_size": given})
        said = str(error.value)
        assert "image_size: Expected an image size as a number of pixels" in said
        assert "HEIGHTxWIDTH (320x256: 320 px high, 256 px wide), but got " in said
        assert len(said) < 300
        assert "\n" not in said

    @pytest.mark.parametrize("given", ["0x10", "0", 0, -1, 31, "31x320", "320x31", [320, 8]])
    def test_small_sizes_are_refused(self, given: Any) -> None:
        with pytest.raises(InputError, match=r"at least 32 pixels each way, but got -?[0-9x]+"):
            build_config({"image_size": given})

    @pytest.mark.parametrize("text", ["320x256", "[320, 256]", "224", "'224'"])
    def test_a_file_gives_back_what_it_was_written_from(self, text: str) -> None:
        config = build_config({"image_size": yaml.safe_load(text)})
        stored = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
        assert build_config(stored).image_size == config.image_size

    def test_other_sizes_have_other_keys(self) -> None:
        sizes = ("64", "96x64", "64x96", "96")
        configs = [configure("/run", image_size=size) for size in sizes]
        configs.append(configure("/run", image_size=64, bits=16))
        assert len({config.plan_hash() for config in configs}) == len(configs)
        run = Run(Path("/run"))
        pairs = [(config.image_size, config.bits) for config in configs]
        folders = {CohortRun.of(run, ["a"], *pair).root for pair in pairs}
        images = pd.DataFrame(
            [["a", "b", "c", 0]], columns=["image_id", "label", "digest", "group"]
        )
        prints = {fingerprint_images(images, *pair) for pair in pairs}
        assert len(folders) == len(prints) == len(configs)


@pytest.fixture
def image() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 256, (30, 50), np.uint8), np.ones((5, 3), np.uint8))


def test_images_are_stretched_to_height_and_width(image: np.ndarray) -> None:
    found = resize_image(image, TALL)
    assert (found.shape, found.dtype) == ((96, 64), np.uint8)
    turned = resize_image(np.ascontiguousarray(image.T), ImageSize(64, 96))
    assert np.abs(turned.T.astype(int) - found).max() <= 1  # the two passes round in another order


def test_masks_keep_their_shape() -> None:
    mask = np.random.default_rng(1).random((33, 37)) < 0.5
    size = ImageSize(33, 37)
    np.testing.assert_array_equal(unpack_mask(pack_mask(mask), size), mask)
    with pytest.raises(ValueError, match="Expected 153 bytes for a mask of 33×37, but got 3"):
        unpack_mask(bytes(3), size)
    assert PackedMasks.whole(2, size).shape == (2, 33, 37)


@pytest.mark.parametrize("size", [TALL, ImageSize(48, 80), ImageSize.square(64)], ids=str)
def test_rotation_turns_pixels_as_scikit_image_does(size: ImageSize) -> None:
    # Smooth, as both interpolate linearly, but round the places of pixels differently.
    image = gaussian_filter(np.random.default_rng(2).random(size.shape), 4)
    angle = math.radians(17.0)
    turn = [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]]
    found = warp_images(
        torch.from_numpy(image.astype(np.float32))[None, None], torch.tensor([turn])
    )
    middle = np.array([(size.width - 1) / 2, (size.height - 1) / 2])
    about = (
        AffineTransform(translation=-middle)
        + AffineTransform(rotation=angle)
        + AffineTransform(translation=middle)
    )
    expected = warp(image, about, order=1, mode="edge")
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=0, atol=1e-4)


def test_shift_is_a_share_of_height_and_of_width() -> None:
    image = torch.rand(1, 1, 96, 64)
    found = warp_images(image, torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.25]]]))
    torch.testing.assert_close(found[..., :84, :48], image[..., 12:, 16:], rtol=0, atol=1e-4)


def test_augmentation_keeps_the_shape() -> None:
    affine = draw_affine(5, AugmentationSettings(), np.random.default_rng(0))
    found = warp_images(torch.rand(5, 1, 96, 64), torch.from_numpy(affine))
    assert found.shape == (5, 1, 96, 64)


def test_settings_of_superpixels_grow_with_the_longer_side(image: np.ndarray) -> None:
    settings = LimeSettings()
    assert settings.scale_to(TALL) == settings.scale_to(ImageSize.square(96))
    shown = resize_image(image, TALL)
    expected = find_superpixels(shown, settings.scale_to(TALL))
    np.testing.assert_array_equal(find_superpixels(shown, settings), expected)


class Strided(nn.Module):
    """A last map with a stride of 32, rounded up or down, with channels first or last."""

    def __init__(self, *, up: bool, last: bool = False) -> None:
        super().__init__()
        self.map = nn.Conv2d(3, 40, 32, 32, padding=31 if up else 0)
        self.swap = Permute() if last else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.swap(self.map(images)).flatten(1).mean(1)


class Permute(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.permute(0, 2, 3, 1)


@pytest.mark.parametrize("shape", [(96, 64), (64, 96), (100, 70), (70, 130), (64, 64), (70, 70)])
@pytest.mark.parametrize("up", [True, False])
def test_last_map_is_found(shape: tuple[int, int], up: bool) -> None:
    images = torch.zeros(1, 3, *shape)
    assert find_feature_layer(Strided(up=up).eval(), images) == "swap"
    assert find_feature_layer(Strided(up=up, last=True).eval(), images) is None


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "efficientvit_m0"])
def test_networks_take_them(name: str) -> None:
    check_network_size(name, TALL)
    classifier = build_classifier(name, n_classes=2, image_size=TALL, weights="none", seed=0)
    assert classifier.eval()(torch.rand(3, 1, 96, 64)).shape == (3, 2)


def test_graphs_and_heat_maps_have_their_shape(tmp_path: Path) -> None:
    classifier = build_classifier(
        "test_byobnet", n_classes=2, image_size=TALL, weights="none", seed=0
    ).eval()
    images = torch.rand(3, 1, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = classifier(images)
    freeze_classifier(classifier, TALL, tmp_path / "frozen")
    graph = FrozenClassifier(tmp_path / "frozen", 1)
    torch.testing.assert_close(graph(images), expected, rtol=0, atol=1e-4)
    with pytest.raises(RuntimeError):  # it belongs to one size
        graph(images.mT.contiguous())
    assert compute_heatmaps(classifier, images, np.zeros(3, int)).shape == (3, 96, 64)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cait_xxs24_224", r"says: Input height \(96\) doesn't match model \(224\)"),
        ("mvitv2_tiny", r"says: AssertionError\. Choose another --image-size"),
        ("test_vut", "Did you mean `test_vit`"),
    ],
)
def test_networks_of_one_size_are_refused_in_a_sentence(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        check_network_size(name, TALL)
    assert "\n" not in str(error.value)


def test_transformers_of_torchvision_take_squares_alone() -> None:
    with pytest.raises(InputError, match="take images of 96x64 px, but it says: Only squares"):
        build_classifier(
            "torchvision:vit_b_32", n_classes=2, image_size=TALL, weights="none", seed=0
        )


@pytest.mark.parametrize(("size", "told"), [(TALL, (96, 64)), (ImageSize.square(64), 64)])
def test_own_networks_are_told_the_size(size: ImageSize, told: Any) -> None:
    code = """
from torch import nn

def make(n_classes, image_size):
    pooled = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = nn.Sequential(pooled, nn.Linear(4, n_classes))
    net.told = image_size
    return net
"""
    classifier = build_classifier(
        "net.py:make", n_classes=2, image_size=size, weights="none", seed=0, code=code
    )
    assert classifier.backbone.told == told
    assert classifier.has_feature_map


def test_checkpoint_says_its_size() -> None:
    told = json.loads(Checkpoint("net", ("a", "b"), TALL).write_metadata()["osteo_ray"])
    assert told == {"version": 1, "model": "net", "classes": ["a", "b"], "image_size": "96x64"}
    square = Checkpoint("net", ("a", "b"), ImageSize.square(64))
    assert json.loads(square.write_metadata()["osteo_ray"])["image_size"] == 64


def test_panels_have_the_proportions_of_the_images() -> None:
    image, mask = np.zeros((96, 64), np.uint8), np.ones((96, 64), bool)
    panels = compose_panels(image, mask, mask, image + 1)
    assert {one.shape[:2] for one in panels.values() if one is not None} == {(224, 149)}


class TestCommand:
    @pytest.mark.parametrize("word", ["320x", "0x10", "-1", "320x256x3", "1e3", "16"])
    def test_bad_sizes_end_it(self, word: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["compare", f"--image-size={word}", "--dry-run"]) == 2
        said = capsys.readouterr().err.strip()
        assert said.startswith("Error: --image-size: Expected an image size ")
        assert said.count("\n") < 3  # lines of the terminal

    def test_plan_says_what_images_become(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        words = ["--image-size", "96x64", "--bits", "16", "--out", str(tmp_path / "run")]
        assert main(["compare", *words, "--dry-run"]) == 0
        printed = " ".join(capfd.readouterr().out.split())
        assert "image size 96 px high, 64 px wide, 16 bits" in printed
