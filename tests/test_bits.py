"""Gray values of 16 bits, from files to what networks are shown, and 8 bits beside them."""

import io
import json
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
import torch
from corpus import make_dicom, make_picture, write_image
from PIL import Image
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from scipy.special import softmax
from tiny_runs import configure

from osteo_ray.base.errors import InputError
from osteo_ray.config.build import build_config
from osteo_ray.config.flags import list_flags
from osteo_ray.config.setup import SetupConfig
from osteo_ray.data.decoding.arrays import convert_array
from osteo_ray.data.decoding.content import decode
from osteo_ray.data.decoding.identity import digest_pixels
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.imputation import impute
from osteo_ray.data.masks import apply_view, make_background
from osteo_ray.data.pixels import Bits, scale_pixels, show_8_bits, unpack_pixels, widen
from osteo_ray.explain.lime import explain_by_lime
from osteo_ray.explain.perturbation import Perturbable, fill_superpixels
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.explain.superpixels import find_superpixels
from osteo_ray.models.batches import ImageSet
from osteo_ray.models.checkpoint import Checkpoint
from osteo_ray.pipeline.before_reading import estimate_bytes

CPU = torch.device("cpu")
PICTURE = make_picture(np.random.default_rng(3))
# Twelve bits, of which eight keep every sixteenth.
TWELVE = (np.arange(40 * 60).reshape(40, 60) + 900).astype(np.uint16)
DEEP = np.random.default_rng(0).integers(0, 2**16, (40, 60), np.uint16)


def count_levels(pixels: np.ndarray) -> int:
    return len(np.unique(pixels))


class TestDecoding:
    def test_twelve_bits_of_a_dicom_file_survive_their_window(self) -> None:
        window = {"WindowCenter": 2048, "WindowWidth": 3000, "RescaleSlope": 1.5}
        content = make_dicom(TWELVE, bits=12, RescaleIntercept=-700, **window)
        deep, shallow = (decode(content, bits).pixels for bits in (16, 8))
        assert (deep.dtype, shallow.dtype) == (np.uint16, np.uint8)
        # The second decoder: pydicom's own tables.
        header = pydicom.dcmread(io.BytesIO(content))
        shown = apply_voi_lut(apply_modality_lut(header.pixel_array, header), header)
        darkest, brightest = -700, 4095 * 1.5 - 700  # what it shows twelve bits as
        shown = (shown - darkest) / (brightest - darkest)
        np.testing.assert_allclose(deep / 65_535, shown, rtol=0, atol=1 / 65_535)
        assert count_levels(deep) == count_levels(shown) > 1_900
        assert count_levels(shallow) <= 256
        assert np.abs(show_8_bits(deep).astype(int) - shallow).max() <= 1

    @pytest.mark.parametrize("change", [{"PhotometricInterpretation": "MONOCHROME1"}, {}])
    def test_files_without_a_window_are_stretched(self, change: dict[str, Any]) -> None:
        content = make_dicom(TWELVE, bits=12, **change)
        deep, shallow = (decode(content, bits).pixels for bits in (16, 8))
        low, high = np.percentile(TWELVE, (0.5, 99.5))
        expected = np.clip((TWELVE - low) / (high - low), 0, 1)
        expected = 1 - expected if change else expected
        np.testing.assert_allclose(deep / 65_535, expected, rtol=0, atol=1 / 65_535)
        np.testing.assert_allclose(shallow / 255, expected, rtol=0, atol=1 / 255)

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_sixteen_bits_of_a_file_are_those_that_opencv_reads(self, kind: str) -> None:
        content = write_image(Image.fromarray(TWELVE), kind)
        stored = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        found = decode(content, 16).pixels
        expected = np.round((stored - 900.0) / 2_399 * 65_535)
        np.testing.assert_array_equal(found, expected)
        assert count_levels(found) == TWELVE.size
        assert count_levels(decode(content).pixels) == 256

    def test_channels_of_sixteen_bits_become_luminance(self) -> None:
        colours = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]], 2)
        found = convert_array(colours, 16).pixels
        full = (colours - colours.min()) / np.ptp(colours)
        expected = full @ [0.299, 0.587, 0.114]
        np.testing.assert_allclose(found / 65_535, expected, rtol=0, atol=2e-5)
        png = cv2.imencode(".png", colours[..., ::-1])[1].tobytes()
        np.testing.assert_array_equal(decode(png, 16).pixels, found)
        white = convert_array(np.full((8, 8, 3), 7, np.uint16), 16).pixels
        assert white.max() == 0  # a single value shows nothing
        both = np.stack([np.eye(8)] * 3, 2)
        assert set(np.unique(convert_array(both, 16).pixels)) == {0, 65_535}

    def test_opacity_darkens(self) -> None:
        opacity = np.linspace(0, 65_535, DEEP.size).astype(np.uint16).reshape(DEEP.shape)
        found = convert_array(np.dstack([DEEP, DEEP, DEEP, opacity]), 16).pixels
        shown = (DEEP - float(DEEP.min())) / np.ptp(DEEP)
        np.testing.assert_allclose(found / 65_535, shown * (opacity / 65_535), atol=2e-5)

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
    def test_eight_bits_stay_as_they_are(self, mode: str) -> None:
        content = write_image(Image.fromarray(PICTURE).convert(mode), "PNG")
        expected = decode(content).pixels
        np.testing.assert_array_equal(decode(content, 16).pixels, expected.astype(int) * 257)
        dicom = make_dicom(PICTURE, WindowCenter=128, WindowWidth=256)
        np.testing.assert_array_equal(decode(dicom, 16).pixels, decode(dicom).pixels * 257.0)

    def test_turned_images_are_turned(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        colours = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]], 2)
        plain = cv2.imencode(".png", colours)[1].tobytes()
        with Image.open(io.BytesIO(plain)) as image:
            assert image.mode == "RGB"
        gray = write_image(Image.fromarray(TWELVE), "TIFF", exif=exif)
        upright = write_image(Image.fromarray(TWELVE), "TIFF")
        found, expected = (decode(one, 16).pixels for one in (gray, upright))
        np.testing.assert_array_equal(found, np.rot90(expected, -1))

    def test_digests_tell_low_bits_apart(self) -> None:
        other = DEEP.copy()
        other[3, 4] ^= 1
        assert len({digest_pixels(one) for one in (DEEP, other, show_8_bits(DEEP))}) == 3


class TestArithmetic:
    def test_all_levels_of_8_bits_come_back(self) -> None:
        levels = np.arange(256, dtype=np.uint8)[None]
        np.testing.assert_array_equal(show_8_bits(widen(levels, 16)), levels)
        assert widen(levels, 8) is levels
        every = np.arange(2**16, dtype=np.uint16)
        np.testing.assert_array_equal(show_8_bits(every), np.floor(every / 257 + 0.5))
        with pytest.raises(ValueError, match="uint8 or uint16, but got int64"):
            show_8_bits(np.zeros((2, 2), np.int64))

    @pytest.mark.parametrize("pixels", [DEEP, PICTURE], ids=["16", "8"])
    def test_networks_are_shown_the_unit_interval(self, pixels: np.ndarray) -> None:
        white = np.iinfo(pixels.dtype).max
        found = scale_pixels(torch.from_numpy(pixels))
        assert found.dtype == torch.float32
        expected = pixels.astype(np.float32) / np.float32(white)
        np.testing.assert_array_equal(found.numpy(), expected)
        back = np.round(found.numpy() * np.float32(white)).astype(pixels.dtype)
        np.testing.assert_array_equal(back, pixels)

    @pytest.mark.parametrize("pixels", [DEEP, PICTURE], ids=["16", "8"])
    def test_tables_hold_the_bytes(self, pixels: np.ndarray) -> None:
        size = ImageSize(*pixels.shape)
        found = unpack_pixels(pixels.tobytes(), size)
        assert found.dtype == pixels.dtype
        np.testing.assert_array_equal(found, pixels)
        with pytest.raises(ValueError, match="cannot reshape"):
            unpack_pixels(pixels.tobytes()[:-2], size)

    def test_resizing_keeps_what_lies_between_levels_of_8_bits(self) -> None:
        ramp = np.tile(np.linspace(0, 3000, 64).astype(np.uint16), (64, 1))
        found = resize_image(ramp, ImageSize(40, 32))
        assert (found.dtype, found.shape) == (np.uint16, (40, 32))
        np.testing.assert_allclose(found[0, 1:-1], ramp.reshape(64, 32, 2).mean(2)[0, 1:-1], atol=1)
        small = resize_image(widen(PICTURE, 16), ImageSize(20, 28))
        shallow = resize_image(PICTURE, ImageSize(20, 28))
        assert np.abs(small / 257 - shallow).max() <= 1  # as 8 bits are rounded twice
        same = resize_image(DEEP, ImageSize(*DEEP.shape))
        np.testing.assert_array_equal(same, DEEP)

    @pytest.mark.parametrize("background", ["black", "mean", "blur", "imputed"])
    def test_backgrounds_are_those_of_8_bits(self, background: str) -> None:
        mask = np.zeros(PICTURE.shape, bool)
        mask[10:30, 10:40] = True
        deep = make_background(widen(PICTURE, 16), background, mask)
        shallow = make_background(PICTURE, background, mask)
        assert deep.dtype == np.uint16
        if background == "imputed":  # the noise differs, as it depends on the bytes
            kept, around = deep[mask], deep[~mask] / 65_535
            np.testing.assert_array_equal(kept, widen(PICTURE, 16)[mask])
            assert abs(around.mean() - shallow[~mask].mean() / 255) < 0.02
        else:
            assert np.abs(deep / 257 - shallow).max() <= 1

    def test_fill_of_nothing_is_the_mean(self) -> None:
        found = impute(DEEP, np.zeros(DEEP.shape, bool))
        assert abs(found.mean() - DEEP.mean()) < 500

    @pytest.mark.parametrize("background", ["black", "mean"])
    def test_masks_multiply(self, background: Any) -> None:
        from osteo_ray.data.packed_masks import PackedMasks

        masks = np.random.default_rng(1).random((2, *DEEP.shape)) < 0.5
        pixels = np.stack([DEEP, DEEP[::-1]])
        images = ImageSet(
            pixels, np.zeros(2, np.int64), PackedMasks.pack(masks), "masked", background
        )
        found = images.make_batch(np.arange(2), CPU)[:, 0].numpy() * 65_535
        behind = 0 if background == "black" else np.round(pixels.mean((1, 2)))[:, None, None]
        np.testing.assert_allclose(found, np.where(masks, pixels, behind), rtol=1e-6, atol=1e-3)
        shown = apply_view(scale_pixels(torch.from_numpy(pixels[:, None])), None, "image")
        assert shown.max() <= 1


class TestLime:
    def test_superpixels_are_those_of_8_bits(self) -> None:
        settings = LimeSettings(kernel_size=2.0)
        found = find_superpixels(widen(PICTURE, 16), settings)
        np.testing.assert_array_equal(found, find_superpixels(PICTURE, settings))
        with pytest.raises(ValueError, match="all its pixels are equal"):
            find_superpixels(np.uint16([[100, 101]] * 2), settings)

    @pytest.mark.parametrize("fill", ["mean", "blur", "black", 130])
    def test_perturbed_images_keep_their_low_bits(self, fill: Any) -> None:
        segments = np.arange(4).repeat(DEEP.size // 4).reshape(DEEP.shape)
        off = fill_superpixels(DEEP, segments, fill)
        assert off.dtype == np.uint16
        expected = {"mean": [part.mean() // 1 for part in DEEP.reshape(4, -1)], "black": [0] * 4}
        if fill == 130:
            assert set(np.unique(off)) == {130 * 257}
        elif fill in expected:
            np.testing.assert_array_equal(off.reshape(4, -1)[:, 0], expected[fill])
        rows = np.uint8([[1, 0, 1, 0]])
        (shown,) = Perturbable(DEEP, off, segments, CPU).render(rows)[0].numpy()
        kept = rows[0][segments] == 1
        np.testing.assert_array_equal(np.round(shown * 65_535), np.where(kept, DEEP, off))

    def test_what_only_low_bits_show_is_found(self) -> None:
        image = np.full((32, 32), 30_000, np.uint16)
        image[8:16, 8:16] += 60  # less than a level of 8 bits
        segments = (np.arange(32)[:, None] // 8 * 4 + np.arange(32) // 8).astype(np.int64)

        def predict(images: torch.Tensor) -> torch.Tensor:
            score = (images[:, 0, 8:16, 8:16].double() * 65_535 - 30_000).mean((1, 2)) / 30
            return torch.stack([score, -score], 1)

        settings = LimeSettings(samples=300, mode="exact", top_k=1, fill="black")
        rngs = [np.random.default_rng(0)]
        (found,) = explain_by_lime(predict, [image], [segments], settings, rngs=rngs, device=CPU)
        assert not isinstance(found, ValueError)
        np.testing.assert_array_equal(found.keep_mask, image > 30_000)
        assert softmax([1.0, -1.0])[0] > 0.5


class TestSettings:
    def test_default_has_the_keys_of_before(self) -> None:
        plain, deep = configure("/run"), configure("/run", bits=16)
        assert plain.bits == 8
        assert "bits" not in plain.identity()
        assert deep.identity() == {**plain.identity(), "bits": 16}
        assert configure("/run", bits=8).plan_hash() == plain.plan_hash() != deep.plan_hash()
        assert "bits" not in Checkpoint("net", ("a", "b"), ImageSize.square(32)).describe()
        told = Checkpoint("net", ("a", "b"), ImageSize.square(32), bits=16).write_metadata()
        assert json.loads(told["osteo_ray"])["bits"] == 16

    @pytest.mark.parametrize("bits", [12, 0, -8, 32, "many", 8.5, None, [8]])
    def test_other_depths_are_refused(self, bits: Any) -> None:
        with pytest.raises(InputError, match="Expected bits to be one of 8 or 16, but got"):
            build_config({"bits": bits})

    def test_flag_takes_a_number(self) -> None:
        (flag,) = (one for one in list_flags(SetupConfig) if one.name == "bits")
        assert (flag.metavar, flag.interpret(["16"])) == ("8|16", 16)

    def test_room_for_pixels_doubles(self) -> None:
        def estimate(bits: Bits) -> float:
            config = configure("/run", bits=bits, arms=["original"])
            return estimate_bytes(config, config.phantom)

        pixels = configure("/run").phantom.n_images * 32 * 32
        assert estimate(16) - estimate(8) == pytest.approx(0.3 * pixels)


def test_streamed_pixels_are_joined_whatever_their_bits() -> None:
    from osteo_ray.pipeline.compare.stream_feed import _join

    for pixels in (DEEP, PICTURE):
        parts = [torch.from_numpy(pixels[None]), torch.from_numpy(pixels[None, ::-1].copy())]
        found = _join(parts)
        assert found.numpy().dtype == pixels.dtype
        np.testing.assert_array_equal(found.numpy(), np.stack([pixels, pixels[::-1]]))
