"""Decoding of every kind of file a collection may hold, and the reasons for refusing one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from osteo_ray.data.images import (
    UnreadableImageError,
    identify_image,
    read_image,
    resize_image,
)

RAMP = np.arange(0, 240, 5, dtype=np.uint8).reshape(6, 8)  # 6 rows, 8 columns: not square
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(image: Image.Image, name: str = "image.png", **options: object) -> Path:
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.fixture
def refuse() -> Callable[[Path], str]:
    """Return the reason for which a file is refused."""

    def read(path: Path) -> str:
        with pytest.raises(UnreadableImageError) as error:
            read_image(path)
        return str(error.value)

    return read


def _grayscale(red: int, green: int, blue: int) -> float:
    return 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R 601-2, as Pillow converts


def test_grayscale_is_read_as_it_is(save: Save) -> None:
    found = read_image(save(Image.fromarray(RAMP)))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, RAMP)


def test_colour_becomes_luminance(save: Save) -> None:
    found = read_image(save(Image.new("RGB", (3, 2), (200, 100, 50))))
    np.testing.assert_allclose(found, np.full((2, 3), _grayscale(200, 100, 50)), atol=1)


def test_gray_in_three_channels_equals_gray_in_one(save: Save) -> None:
    np.testing.assert_array_equal(read_image(save(Image.fromarray(RAMP).convert("RGB"))), RAMP)


def test_palette_is_looked_up(save: Save) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    expected = [[_grayscale(255, 0, 0), _grayscale(0, 0, 255)]]
    np.testing.assert_allclose(read_image(save(image)), expected, atol=1)


def test_two_levels_become_black_and_white(save: Save) -> None:
    bits = np.array([[True, False, True]])
    np.testing.assert_array_equal(read_image(save(Image.fromarray(bits))), [[255, 0, 255]])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_black(save: Save, mode: str) -> None:
    alpha = Image.fromarray(np.array([[255, 0, 51]], np.uint8))
    image = Image.new("L", (3, 1), 200).convert(mode)
    image.putalpha(alpha)
    np.testing.assert_allclose(read_image(save(image)), [[200, 0, 40]], atol=1)


def test_transparent_palette_entry_is_laid_on_black(save: Save) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 255, 255, 200, 200, 200])
    image.putdata([0, 1])
    path = save(image, "image.gif", transparency=0)
    np.testing.assert_allclose(read_image(path), [[0, 200]], atol=1)


def test_sixteen_bits_are_scaled_from_their_own_range(save: Save) -> None:
    values = np.array([[1000, 3000, 5000], [2000, 1008, 4992]], np.uint16)
    path = save(Image.fromarray(values))
    with Image.open(path) as image:
        assert image.mode == "I;16"
    # (v - 1000) / 4000 * 255, rounded
    np.testing.assert_array_equal(read_image(path), [[0, 128, 255], [64, 1, 254]])


def test_constant_image_of_sixteen_bits_is_black(save: Save) -> None:
    values = np.full((2, 3), 40_000, np.uint16)
    np.testing.assert_array_equal(read_image(save(Image.fromarray(values))), np.zeros((2, 3)))


def test_float_pixels_are_scaled(save: Save) -> None:
    values = np.array([[-1.0, 0.0, 1.0]], np.float32)
    found = read_image(save(Image.fromarray(values), "image.tiff"))
    np.testing.assert_array_equal(found, [[0, 128, 255]])


def test_print_colours_of_a_jpeg(save: Save) -> None:
    image = Image.new("CMYK", (16, 16), (0, 0, 0, 128))
    np.testing.assert_allclose(read_image(save(image, "image.jpg")), 127, atol=3)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda stored: stored),
        (2, np.fliplr),
        (3, lambda stored: np.rot90(stored, 2)),
        (4, np.flipud),
        (6, lambda stored: np.rot90(stored, -1)),
        (8, np.rot90),
    ],
)
def test_exif_orientation_is_undone(
    save: Save, orientation: int, upright: Callable[[np.ndarray], np.ndarray]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = read_image(save(Image.fromarray(RAMP), exif=exif))
    np.testing.assert_array_equal(found, upright(RAMP))


def test_damaged_exif_leaves_the_pixels_readable(tmp_path: Path, save: Save) -> None:
    path = save(Image.new("L", (16, 16), 90), "image.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    np.testing.assert_allclose(read_image(path), np.full((16, 16), 90), atol=2)


def test_first_frame_of_an_animation_is_read(save: Save) -> None:
    frames = [Image.new("L", (4, 3), value) for value in (10, 200)]
    path = save(frames[0], "image.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(path), np.full((3, 4), 10))


def test_content_counts_and_not_the_ending_of_the_name(save: Save) -> None:
    np.testing.assert_array_equal(
        read_image(save(Image.fromarray(RAMP), "image.jpg", format="PNG")), RAMP
    )


# Refusals


def test_empty_file(tmp_path: Path, refuse) -> None:
    path = tmp_path / "image.png"
    path.touch()
    assert "not an image" in refuse(path)


def test_text_named_as_an_image(tmp_path: Path, refuse) -> None:
    path = tmp_path / "image.png"
    path.write_text("patient,label\n1,normal\n")
    assert "not an image" in refuse(path)


@pytest.mark.parametrize("name", ["image.jpg", "image.png"])
def test_truncated_file(save: Save, refuse, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    path = save(Image.fromarray(noise), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "truncated" in refuse(path)


def test_missing_file(tmp_path: Path, refuse) -> None:
    assert refuse(tmp_path / "none.png") == "No such file or directory"


def test_folder_in_place_of_a_file(tmp_path: Path, refuse) -> None:
    assert refuse(tmp_path) == "Is a directory"


def test_file_without_permission(save: Save, refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(Image.fromarray(RAMP))

    def forbid(self: Path) -> bytes:  # root may read anything, so chmod would not do
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbid)
    assert refuse(path) == "Permission denied"


@pytest.mark.parametrize("allowed", [30, 20])
def test_too_many_pixels(save: Save, refuse, monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    # 48 pixels: more than allowed, which Pillow warns of, or more than twice that, an error.
    path = save(Image.fromarray(RAMP))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", allowed)
    assert "too many pixels" in refuse(path)


def test_pixels_that_are_not_numbers(save: Save, refuse) -> None:
    values = np.array([[0.0, np.nan]], np.float32)
    assert "not finite" in refuse(save(Image.fromarray(values), "image.tiff"))


# Size and identity


@pytest.mark.parametrize("shape", [(6, 8), (100, 30), (1, 1)])
def test_resized_images_are_square(shape: tuple[int, int]) -> None:
    found = resize_image(np.full(shape, 77, np.uint8), 32)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.full((32, 32), 77))


def test_resizing_keeps_what_is_where_and_is_antialiased() -> None:
    image = np.zeros((64, 128), np.uint8)
    image[:, 64:] = 200
    image[::2, :64] = 100  # stripes of one pixel: half of 100, unless pixels are skipped
    small = resize_image(image, 16)
    np.testing.assert_array_equal(small[:, 9:], np.full((16, 7), 200))
    np.testing.assert_allclose(small[1:-1, :7], 50, atol=4)


def test_image_of_the_right_size_stays_as_it_is() -> None:
    square = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    np.testing.assert_array_equal(resize_image(square, 16), square)


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
