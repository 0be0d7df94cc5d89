"""More than 8 bits: every format, sample type and layout, as second decoders and arrays have it."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from corpus import make_chunk
from PIL import Image, PngImagePlugin

from osteo_ray.data.decoding import tiff
from osteo_ray.data.decoding.arrays import convert_array
from osteo_ray.data.decoding.images import decode_image
from osteo_ray.data.decoding.remarks import NAMED_IN_HEADER, SEVERAL_PAGES
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.pixels import Bits

RAMP = np.linspace(0, 4095, 40 * 56).astype(np.uint16).reshape(40, 56)  # 12 bits in 16
COLOUR = np.dstack([RAMP, RAMP[::-1], RAMP[:, ::-1]])
OPAQUE = np.full_like(RAMP, 65535)


def _show(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale as documented, and mix colors as ITU-R 601 does."""
    levels = np.round((values.astype(float) - low) / (high - low) * 255)
    return levels @ np.array([0.299, 0.587, 0.114]) if values.ndim == 3 else levels


def _refuse(content: bytes) -> str:
    with pytest.raises(UnreadableImageError) as error:
        decode_image(content)
    return str(error.value)


def _write_png(samples: np.ndarray, colour_type: int, *chunks: bytes) -> bytes:
    height, width = samples.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    parts = (make_chunk(b"IHDR", head), *chunks, make_chunk(b"IDAT", zlib.compress(rows)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + make_chunk(b"IEND", b"")


def _write_cv(samples: np.ndarray, suffix: str, *options: int) -> bytes:
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[1 if samples.ndim == 2 else samples.shape[2]]
    written, content = cv2.imencode(suffix, np.atleast_3d(samples)[..., order], options)
    assert written
    return content.tobytes()


def _write_tiff(samples: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **options)
    return file.getvalue()


# PNG, JPEG 2000, PPM, AVIF


@pytest.mark.parametrize(
    ("colour_type", "samples"),
    [
        (0, RAMP),
        (2, COLOUR),
        (4, np.dstack([RAMP, OPAQUE])),
        (6, np.dstack([COLOUR, OPAQUE])),
        (4, np.dstack([RAMP, np.full_like(RAMP, 4095)])),  # opacity of 12 bits, too
        (6, np.dstack([COLOUR, np.full_like(RAMP, 4095)])),
    ],
)
def test_png_of_sixteen_bits(colour_type: int, samples: np.ndarray) -> None:
    found = decode_image(_write_png(samples, colour_type))
    expected = COLOUR if colour_type in (2, 6) else RAMP
    np.testing.assert_allclose(found.pixels, _show(expected, 0, 4095), atol=1)
    assert found.pixels.max() >= 140
    assert (found.format, found.remarks) == ("PNG", ())


def test_deep_transparent_pixels_are_black() -> None:
    opacity = OPAQUE.copy()
    opacity[:, 28:] = 0
    found = decode_image(_write_png(np.dstack([COLOUR, opacity]), 6)).pixels
    np.testing.assert_allclose(found[:, :28], _show(COLOUR[:, :28], 0, 4095), atol=1)
    assert not found[:, 28:].any()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("colour_type", "samples"), [(0, RAMP), (2, np.dstack([RAMP] * 3))])
def test_deep_pixels_of_a_transparent_colour_are_black(
    colour_type: int, samples: np.ndarray, bits: Bits
) -> None:
    n_channels = 1 if samples.ndim == 2 else 3
    key = make_chunk(b"tRNS", struct.pack(f">{n_channels}H", *[4095] * n_channels))
    plain = decode_image(_write_png(samples, colour_type), bits).pixels
    found = decode_image(_write_png(samples, colour_type, key), bits).pixels
    assert (found[RAMP == 4095] == 0).all()
    np.testing.assert_array_equal(found[RAMP < 4095], plain[RAMP < 4095])


def test_deep_png_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    chunk = make_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    found = decode_image(_write_png(COLOUR, 2, chunk)).pixels
    plain = decode_image(_write_png(COLOUR, 2)).pixels
    np.testing.assert_array_equal(found, np.rot90(plain, -1))


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_deep_png_cut_short(kept: float) -> None:
    content = _write_png(COLOUR, 2)
    assert "truncated" in _refuse(content[: int(len(content) * kept)])


@pytest.mark.parametrize("samples", [RAMP, COLOUR, np.dstack([COLOUR, OPAQUE])])
def test_jpeg_2000_of_twelve_in_sixteen_bits(samples: np.ndarray) -> None:
    content = _write_cv(samples, ".jp2", cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000)
    found = decode_image(content)
    expected = samples[..., :3] if samples.ndim == 3 else samples
    np.testing.assert_allclose(found.pixels, _show(expected, 0, 4095), atol=2)
    assert "truncated" in _refuse(content[:-30])


def test_portable_pixmaps_of_sixteen_bits() -> None:
    numbers = b" ".join(str(value).encode() for value in COLOUR.ravel())
    head = b"P%d # made by hand\n# twice\n56 40\n65535\n"
    for content in (head % 6 + COLOUR.astype(">u2").tobytes(), head % 3 + numbers + b"\n"):
        found = decode_image(content)
        np.testing.assert_allclose(found.pixels, _show(COLOUR, 0, 4095), atol=1)
    gray = b"P5 56 40 65535\n" + RAMP.astype(">u2").tobytes()
    np.testing.assert_array_equal(decode_image(gray).pixels, _show(RAMP, 0, 4095))


def test_avif_of_ten_bits() -> None:
    dark = np.dstack([RAMP // 32] * 3)  # 7 bits of 10
    found = decode_image(_write_cv(dark, ".avif", cv2.IMWRITE_AVIF_DEPTH, 10))
    assert found.pixels.max() == 255
    np.testing.assert_allclose(found.pixels, _show(RAMP, 0, 4095), atol=20)  # it is lossy


def test_sgi_of_sixteen_bits_is_refused_by_name() -> None:
    head = struct.pack(">HBBHHHHII", 474, 0, 2, 2, 56, 40, 1, 0, 4095).ljust(512, b"\0")
    assert "SGI file of 16 bits" in _refuse(head + RAMP.astype(">u2").tobytes())


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\xff\xd8\xff\xc1\x00\x0b\x0c\x00\x28\x00\x38\x01\x01\x11\x00", "JPEG file of 12 bits"),
        (b"\xff\xd8\xff\xf7" + bytes(90), "JPEG-LS"),
        (b"P7\nWIDTH 56\n", "PAM"),
        (b"PF\n56 40\n-1\n", "PFM file in colors"),
        (b"\xff\n" + bytes(90), "JPEG XL"),
        (b"\0\0\0\x18ftypheic" + bytes(90), "HEIF"),
        (b"\0\0\0\x18ftypmsf1" + bytes(90), "HEIF"),
    ],
)
def test_formats_that_are_not_supported_are_named(content: bytes, what: str) -> None:
    reason = _refuse(content)
    assert what in reason
    assert "not supported; save it as PNG or TIFF" in reason


def test_a_pointer_of_git_lfs_is_told_from_an_image() -> None:
    content = b"version https://git-lfs.github.com/spec/v1\noid sha256:5d41402a\nsize 9\n"
    assert _refuse(content) == "not an image but a pointer to one; fetch it by `git lfs pull`"


# TIFF

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def _make_samples(dtype: str, channels: int) -> np.ndarray:
    kind = np.dtype(dtype)
    samples = np.dstack([COLOUR, RAMP[::-1, ::-1]])[..., :channels].astype(float)
    if kind.kind == "f":
        return (samples / 4095 - 0.25).astype(kind)
    if kind.itemsize == 1:
        samples /= 32
    return (samples - (60 if kind.kind == "i" else 0)).astype(kind)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_tiff_of_any_sample_type_and_layout(dtype: str, channels: int) -> None:
    samples = _make_samples(dtype, channels)
    shown = samples[..., 0] if channels == 1 else samples
    usual = dtype == "u1"
    expected = shown if usual else _show(shown, float(shown.min()), float(shown.max()))
    if usual and channels == 3:
        expected = shown @ np.array([0.299, 0.587, 0.114])
    planes = np.moveaxis(samples, -1, 0) if channels == 3 else shown
    photometric = "rgb" if channels == 3 else "minisblack"
    for layout in (
        {"data": shown},
        {"data": shown, "byteorder": ">"},
        {"data": shown, "tile": (16, 32)},
        {"data": shown, "rowsperstrip": 7, "compression": "zlib"},
        {"data": shown, "bigtiff": True, "tile": (16, 16), "compression": "zlib"},
        *([{"data": planes, "planarconfig": "separate"}] if channels == 3 else []),
    ):
        content = _write_tiff(layout.pop("data"), photometric=photometric, **layout)
        with tifffile.TiffFile(io.BytesIO(content)) as file:  # the second decoder agrees
            again = file.pages.first.asarray()
        assert np.array_equal(again, shown) or np.array_equal(again, planes)
        found = decode_image(content)
        np.testing.assert_allclose(found.pixels, expected, atol=1, err_msg=str(layout))
        assert found.format == "TIFF"


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f2", "f4", "f8"])
@pytest.mark.parametrize("channels", [2, 4])
def test_tiff_with_opacity(dtype: str, channels: int) -> None:
    samples = _make_samples(dtype, channels)
    kind = np.dtype(dtype)
    samples[..., -1] = np.iinfo(kind).max if kind.kind == "u" else 1
    samples[:, 40:, -1] = 0
    colours = samples[..., : channels - 1].squeeze()
    low, high = (0, 255) if dtype == "u1" else (float(colours.min()), float(colours.max()))
    expected = _show(colours, low, high)
    expected[:, 40:] = 0
    photometric = "rgb" if channels == 4 else "minisblack"
    options = {"photometric": photometric, "planarconfig": "contig"}
    found = decode_image(_write_tiff(samples, extrasamples=["unassalpha"], **options))
    np.testing.assert_allclose(found.pixels, expected, atol=1)
    # A channel without a meaning, or an opacity that has darkened the colors already, changes none.
    for extra in ("unspecified", "assocalpha"):
        found = decode_image(_write_tiff(samples, extrasamples=[extra], **options))
        if not (dtype == "u1" and channels == 4):  # which Pillow reads
            np.testing.assert_allclose(found.pixels, _show(colours, low, high), atol=1)


@pytest.mark.parametrize("kind", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd"])
def test_tiff_by_another_writer_in_other_compressions(kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(RAMP.astype(np.float32)).save(file, "TIFF", compression=kind)
    np.testing.assert_allclose(decode_image(file.getvalue()).pixels, _show(RAMP, 0, 4095), atol=1)


@pytest.mark.parametrize("samples", [RAMP, COLOUR])
def test_tiff_by_a_third_writer_compressed_with_differences(samples: np.ndarray) -> None:
    content = _write_cv(samples, ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, 5)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        assert (file.pages.first.compression, file.pages.first.predictor) == (5, 2)
    np.testing.assert_allclose(decode_image(content).pixels, _show(samples, 0, 4095), atol=1)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_differences_of_floats_by_byte(dtype: str, channels: int) -> None:
    samples = _make_samples(dtype, channels)
    order = np.ascontiguousarray(samples.astype(f">{dtype}")).view(np.uint8)
    width = np.dtype(dtype).itemsize
    planes = np.moveaxis(order.reshape(40, -1, width), 2, 1).reshape(40, -1, channels)
    steps = planes.copy()
    steps[:, 1:] -= planes[:, :-1]  # as Adobe's note on TIFF has it: differences of bytes, wrapped
    layout = tiff._Layout(
        *(56, 40, channels, 1, np.dtype(f"<{dtype}"), 8, 3, False, (40, 56), False, [])
    )
    found = tiff._undo_differences(steps.reshape(40, -1), layout, channels)
    np.testing.assert_array_equal(found.reshape(samples.shape), samples)


def test_tiff_with_white_as_zero() -> None:
    for samples in (RAMP, (RAMP / 4095).astype(np.float16), RAMP.astype(np.int32) - 9):
        found = decode_image(_write_tiff(samples, photometric="miniswhite")).pixels
        np.testing.assert_allclose(found, 255 - _show(RAMP, 0, 4095), atol=1)


def test_packed_tiff_of_twelve_bits() -> None:
    pairs = RAMP.reshape(-1, 2).astype(np.uint32)
    joined = pairs[:, 0] << 12 | pairs[:, 1]
    packed = np.stack([joined >> 16, joined >> 8 & 255, joined & 255], 1).astype(np.uint8)
    tags = {256: 56, 257: 40, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 40, 279: packed.size}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack("<2sHI", b"II", 42, 8 + packed.size)
    content = head + packed.tobytes() + struct.pack("<H", len(tags)) + entries + bytes(4)
    np.testing.assert_allclose(decode_image(content).pixels, _show(RAMP, 0, 4095), atol=1)


def test_tiff_orientation() -> None:
    for orientation, turn in ((3, 2), (6, -1), (8, 1)):
        extra = [(274, "H", 1, orientation, True)]
        content = _write_tiff(RAMP.astype(np.float64), extratags=extra)
        plain = decode_image(_write_tiff(RAMP.astype(np.float64))).pixels
        np.testing.assert_array_equal(decode_image(content).pixels, np.rot90(plain, turn))


@pytest.mark.parametrize(
    ("samples", "options", "reason"),
    [
        (RAMP.astype(np.complex64), {}, "64 bits in a sample format that is not supported"),
        (np.dstack([RAMP] * 5), {"planarconfig": "contig"}, "5 channels"),
        (np.dstack([COLOUR, RAMP]), {"photometric": "separated"}, "color space 5"),
        (RAMP.astype(np.float64) * np.nan, {}, "not finite"),
        (np.dstack([RAMP.astype(np.int32)] * 2), {"extrasamples": ["unassalpha"]}, "opacity"),
    ],
)
def test_tiffs_that_are_not_supported_say_why(
    samples: np.ndarray, options: dict[str, object], reason: str
) -> None:
    if samples.ndim == 3:
        options = {"planarconfig": "contig", "photometric": "minisblack", **options}
    assert reason in _refuse(_write_tiff(samples, **options))


def test_large_big_endian_tiff_is_refused_by_name() -> None:
    assert "big-endian" in _refuse(_write_tiff(RAMP, bigtiff=True, byteorder=">"))


def test_tiff_cut_short_or_swollen() -> None:
    for options in ({}, {"compression": "zlib"}, {"tile": (16, 16)}):
        content = _write_tiff(RAMP.astype(np.float64), **options)
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            start = file.pages.first.dataoffsets[-1]
        assert _refuse(content[: start + 9])
    flood = zlib.compress(bytes(50 << 20))
    layout = tiff._unpack(flood, 8, 40, 448)
    assert len(layout) == 40 * 448  # libtiff never writes more than was stated


# Remarks


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_several_pages_are_stated(dtype: type) -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in (RAMP // 16, RAMP[::-1] // 16):
            writer.write(page.astype(dtype), contiguous=False)
    found = decode_image(file.getvalue())
    np.testing.assert_allclose(found.pixels, _show(RAMP // 16, 0, 255), atol=1)
    assert found.remarks == (SEVERAL_PAGES,)


@pytest.mark.parametrize(
    ("text", "personal"),
    [
        ("Patient's Name: Muster", True),
        ("MUSTER^HANS", True),
        ("(0010,0010) x", True),
        ("DOB 1970-01-01", True),
        ("Knee AP, left", False),
        ("made with Photoshop", False),
    ],
)
def test_names_in_headers_of_exported_files(text: str, personal: bool) -> None:
    image, expected = Image.fromarray(RAMP.astype(np.uint8)), (NAMED_IN_HEADER,) * personal
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    exif, windows = Image.Exif(), Image.Exif()
    exif[0x010E], windows[0x9C9C] = text, text.encode("utf-16-le")
    tags = [(270, "s", 0, text, True)]
    for kind, options in (
        ("PNG", {"pnginfo": info}),
        ("PNG", {"exif": exif}),
        ("JPEG", {"comment": text}),
        ("JPEG", {"exif": exif}),
        ("JPEG", {"exif": windows}),
        ("TIFF", {"tiffinfo": {270: text}}),
    ):
        file = io.BytesIO()
        image.save(file, kind, **options)
        assert decode_image(file.getvalue()).remarks == expected, (kind, options)
    deep = _write_tiff(RAMP.astype(np.float64), extratags=tags, metadata=None)
    assert decode_image(deep).remarks == expected


def test_arrays_agree_with_files() -> None:
    deep = np.dstack([COLOUR, np.full_like(RAMP, 4095)])
    expected = decode_image(_write_png(deep, 6)).pixels
    np.testing.assert_array_equal(convert_array(deep).pixels, expected)
