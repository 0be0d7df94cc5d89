"""Decoding of every kind of image a collection may hold, and the reasons for refusing one."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFile

from osteo_ray.data.decoding import images, refusals
from osteo_ray.data.decoding.arrays import convert_array
from osteo_ray.data.decoding.identity import identify_image
from osteo_ray.data.decoding.images import decode_image
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.image_size import ImageSize

RAMP = np.arange(0, 240, 2, dtype=np.uint8).reshape(10, 12)  # 10 rows, 12 columns: not square


def _write(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _read(image: Image.Image, kind: str = "PNG", **options: object) -> np.ndarray:
    return decode_image(_write(image, kind, **options)).pixels


def _refuse(content: bytes) -> str:
    """Return the reason for which a content is refused."""
    with pytest.raises(UnreadableImageError) as error:
        decode_image(content)
    return str(error.value)


def _grayscale(red: int, green: int, blue: int) -> float:
    return 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R 601-2, as Pillow converts


def _tile(values: list[int], dtype: type = np.uint8) -> np.ndarray:
    """Return 8 equal rows of 8 columns: the values, over and over."""
    return np.tile(np.resize(np.array(values, dtype), 8), (8, 1))


def test_grayscale_is_read_as_it_is() -> None:
    found = decode_image(_write(Image.fromarray(RAMP)))
    assert found.pixels.dtype == np.uint8
    assert (found.format, found.mode, found.patient_id, found.side) == ("PNG", "L", None, None)
    np.testing.assert_array_equal(found.pixels, RAMP)


def test_colour_becomes_luminance() -> None:
    found = decode_image(_write(Image.new("RGB", (9, 8), (200, 100, 50)), "BMP"))
    assert (found.format, found.mode) == ("BMP", "RGB")
    np.testing.assert_allclose(found.pixels, np.full((8, 9), _grayscale(200, 100, 50)), atol=1)


def test_gray_in_three_channels_equals_gray_in_one() -> None:
    np.testing.assert_array_equal(_read(Image.fromarray(RAMP).convert("RGB")), RAMP)


def test_palette_is_looked_up() -> None:
    image = Image.fromarray(_tile([0, 1]), "P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    expected = _tile([round(_grayscale(255, 0, 0)), round(_grayscale(0, 0, 255))])
    np.testing.assert_allclose(_read(image), expected, atol=1)


def test_two_levels_become_black_and_white() -> None:
    bits = _tile([1, 0, 1]).astype(bool)
    np.testing.assert_array_equal(_read(Image.fromarray(bits)), np.where(bits, 255, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_black(mode: str) -> None:
    image = Image.new("L", (8, 8), 200).convert(mode)
    image.putalpha(Image.fromarray(_tile([255, 0, 51])))
    np.testing.assert_allclose(_read(image), _tile([200, 0, 40]), atol=1)


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_transparent_palette_entry_is_laid_on_black(kind: str) -> None:
    image = Image.fromarray(_tile([0, 1]), "P")
    image.putpalette([255, 255, 255, 200, 200, 200])
    np.testing.assert_allclose(_read(image, kind, transparency=0), _tile([0, 200]), atol=1)


def test_sixteen_bits_are_scaled_from_their_own_range() -> None:
    content = _write(Image.fromarray(_tile([1000, 3000, 5000, 2000, 1008, 4992], np.uint16)))
    found = decode_image(content)
    assert found.mode == "I;16"
    # (v - 1000) / 4000 * 255, rounded
    np.testing.assert_array_equal(found.pixels, _tile([0, 128, 255, 64, 1, 254]))


def test_sixteen_bits_with_white_as_zero_are_inverted() -> None:
    content = _write(
        Image.fromarray(_tile([1000, 3000, 5000], np.uint16)), "TIFF", tiffinfo={262: 0}
    )
    np.testing.assert_array_equal(decode_image(content).pixels, _tile([255, 127, 0]))


def test_constant_image_of_sixteen_bits_is_black() -> None:
    values = np.full((9, 8), 40_000, np.uint16)
    np.testing.assert_array_equal(_read(Image.fromarray(values)), np.zeros((9, 8)))


def test_float_pixels_are_scaled() -> None:
    values = _tile([-1, 0, 1], np.float32)
    np.testing.assert_array_equal(_read(Image.fromarray(values), "TIFF"), _tile([0, 128, 255]))


def test_rows_beyond_the_first_piece_are_scaled_alike() -> None:
    values = np.arange(600 * 20, dtype=np.uint16).reshape(600, 20)
    expected = np.round(values / values.max() * 255)
    np.testing.assert_array_equal(_read(Image.fromarray(values)), expected)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_print_colours_of_a_jpeg(options: dict[str, object]) -> None:
    image = Image.new("CMYK", (16, 16), (0, 0, 0, 128))
    np.testing.assert_allclose(_read(image, "JPEG", **options), 127, atol=3)


def test_perceptual_colours_become_gray() -> None:
    # Half the lightness, no colour: 119 of 255 in sRGB.
    image = Image.frombytes("LAB", (8, 8), bytes([128, 0, 0]) * 64)
    np.testing.assert_allclose(_read(image, "TIFF"), 119, atol=2)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda stored: stored),
        (2, np.fliplr),
        (3, lambda stored: np.rot90(stored, 2)),
        (4, np.flipud),
        (5, np.transpose),
        (6, lambda stored: np.rot90(stored, -1)),
        (7, lambda stored: np.rot90(stored, 2).T),
        (8, np.rot90),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_undone(
    kind: str, orientation: int, upright: Callable[[np.ndarray], np.ndarray]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = _read(Image.fromarray(RAMP), kind, exif=exif)
    np.testing.assert_array_equal(found, upright(RAMP))


def test_damaged_exif_leaves_the_pixels_readable() -> None:
    found = _read(Image.new("L", (16, 16), 90), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    np.testing.assert_allclose(found, np.full((16, 16), 90), atol=2)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_first_frame_or_page_is_read(kind: str) -> None:
    frames = [Image.new("L", (9, 8), value) for value in (10, 200)]
    options = {"lossless": True} if kind == "WEBP" else {}
    found = _read(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(found, np.full((8, 9), 10))


# Refusals


def test_empty_file() -> None:
    assert _refuse(b"") == "empty file"


def test_text_named_as_an_image() -> None:
    assert "not an image" in _refuse(b"patient,label\n1,normal\n")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04", "ZIP"),
        (b"\n<!doctype HTML><p>", "web page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n", "PostScript"),
    ],
)
def test_other_kinds_of_files_are_named(content: bytes, what: str) -> None:
    assert what in _refuse(content)


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_truncated_file(kind: str, lenient: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)  # as other packages may do
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    content = _write(Image.fromarray(noise), kind)
    assert "truncated" in _refuse(content[: len(content) // 2])
    assert lenient == ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("kept", [0.3, 0.9, -2])
def test_jpeg_2000_without_its_end(kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    content = _write(Image.fromarray(noise), "JPEG2000", irreversible=True)
    assert "truncated" in _refuse(content[: int(len(content) * kept) if kept > 0 else -2])


def test_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MAX_PIXELS", 100)
    assert "too many pixels" in _refuse(_write(Image.fromarray(RAMP)))


def test_pillow_finds_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # more than twice as many are an error
    assert "too many pixels" in _refuse(_write(Image.fromarray(RAMP)))


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [(7, 20, "too small"), (20_001, 500, "too large"), (8, 401, "too narrow")],
)
def test_sizes_no_radiograph_has(width: int, height: int, reason: str) -> None:
    assert reason in _refuse(_write(Image.new("L", (width, height))))


def test_smallest_and_narrowest_images_are_read() -> None:
    assert _read(Image.new("L", (8, 8))).shape == (8, 8)
    assert _read(Image.new("L", (400, 8))).shape == (8, 400)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_numbers(value: float) -> None:
    values = np.zeros((9, 8), np.float32)
    values[1, 2] = value
    assert "not finite" in _refuse(_write(Image.fromarray(values), "TIFF"))


def test_lack_of_memory_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(images, "to_grayscale", fail)
    assert "memory" in _refuse(_write(Image.fromarray(RAMP)))


# Arrays


@pytest.mark.parametrize("shape", [(10, 12), (10, 12, 1)])
def test_bytes_of_an_array_are_taken_as_they_are(shape: tuple[int, ...]) -> None:
    found = convert_array(RAMP.reshape(shape))
    assert (found.format, found.mode) == ("ARRAY", "uint8x1")
    np.testing.assert_array_equal(found.pixels, RAMP)


def test_truth_values_become_black_and_white() -> None:
    found = convert_array(_tile([0, 1]).astype(bool)).pixels
    np.testing.assert_array_equal(found, _tile([0, 255]))


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "i2", "i4", "i8", "f2", "f4", "f8"])
def test_other_types_are_scaled_from_their_own_range(dtype: str) -> None:
    found = convert_array(_tile([100, 300, 500], np.int64).astype(dtype)).pixels
    np.testing.assert_array_equal(found, _tile([0, 128, 255]))


def test_the_largest_floats_are_scaled() -> None:
    largest = np.finfo(np.float64).max
    found = convert_array(_tile([-largest, 0, largest], np.float64)).pixels
    np.testing.assert_array_equal(found, _tile([0, 128, 255]))


@pytest.mark.parametrize(("dtype", "full"), [(np.uint8, 255), (np.uint16, 65_535), (float, 1)])
def test_channels_are_colours_and_opacity(dtype: type, full: float) -> None:
    colours = np.zeros((8, 8, 4), dtype)
    colours[..., 0] = full  # red; the other two stay at zero
    colours[:, :4, 3] = full  # the left is opaque, the right is not
    red = round(_grayscale(255, 0, 0))
    np.testing.assert_allclose(convert_array(colours[..., :3]).pixels, red, atol=1)
    found = convert_array(colours).pixels
    np.testing.assert_allclose(found[:, :4], red, atol=1)
    np.testing.assert_array_equal(found[:, 4:], 0)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((10, 12), complex), "expected numbers"),
        (np.zeros((10, 12), object), "expected numbers"),
        (np.zeros((10, 12), "U3"), "expected numbers"),
        ([[1, 2], [3, 4]], "expected numbers"),
        (np.zeros(100), "expected one image"),
        (np.zeros((10, 12, 2)), "expected one image"),
        (np.zeros((3, 10, 12, 3)), "expected one image"),
        (np.zeros((0, 0)), "too small"),
        (np.zeros((8, 500)), "too narrow"),
        (np.full((10, 12), np.nan), "not finite"),
        (np.full((10, 12, 4), 2.0), "opacity"),
        (np.zeros((10, 12, 4), np.int64), "opacity"),
        (np.full((10, 12, 4), np.nan), "not finite"),
    ],
)
def test_arrays_that_are_no_images(array: np.ndarray, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        convert_array(array)


# Size and identity


@pytest.mark.parametrize("shape", [(6, 8), (100, 30), (1, 1)])
def test_resized_images_are_square(shape: tuple[int, int]) -> None:
    found = resize_image(np.full(shape, 77, np.uint8), ImageSize.square(32))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.full((32, 32), 77))


def test_resizing_keeps_what_is_where_and_is_antialiased() -> None:
    image = np.zeros((64, 128), np.uint8)
    image[:, 64:] = 200
    image[::2, :64] = 100  # stripes of one pixel: half of 100, unless pixels are skipped
    small = resize_image(image, ImageSize.square(16))
    np.testing.assert_array_equal(small[:, 9:], np.full((16, 7), 200))
    np.testing.assert_allclose(small[1:-1, :7], 50, atol=4)


def test_image_of_the_right_size_stays_as_it_is() -> None:
    square = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    np.testing.assert_array_equal(resize_image(square, ImageSize.square(16)), square)


def test_identifier_depends_on_path_and_content() -> None:
    identifiers = {
        identify_image("normal/1.png", "ab"),
        identify_image("normal/2.png", "ab"),
        identify_image("normal/1.png", "ac"),
        identify_image("normal/1.pnga", "b"),
    }
    assert len(identifiers) == 4
    assert identify_image("normal/1.png", "ab") in identifiers
    assert all(set(name) <= set("0123456789abcdef") for name in identifiers)
