"""NIfTI files: images and chosen slices of volumes, held to SimpleITK and to bytes made by hand."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from osteo_ray.base.errors import InputError
from osteo_ray.data.decoding.content import decode
from osteo_ray.data.decoding.nifti import AS_STORED, is_nifti
from osteo_ray.data.decoding.remarks import NAMED_IN_HEADER
from osteo_ray.data.decoding.result import Decoded, UnreadableImageError
from osteo_ray.data.slices import name_slice, read_slice
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.pipeline.ingest.blocks import decode_block

CODES = {
    **{"u1": 2, "i2": 4, "i4": 8, "f4": 16, "c8": 32, "f8": 64, "i1": 256, "u2": 512},
    **{"u4": 768, "i8": 1024, "u8": 1280},
}
W, H = 12, 9


def make_nifti(
    values: np.ndarray,
    *,
    order: str = "<",
    scale: tuple[float, float] = (0.0, 0.0),
    version: int = 1,
    text: bytes = b"",
    code: int | None = None,
    magic: bytes | None = None,
) -> bytes:
    """Write a NIfTI file by hand; `values` has the axes of the file, the first the fastest."""
    shape = [values.ndim, *values.shape, *[1] * (7 - values.ndim)]
    code = code or CODES[values.dtype.str[1:]]
    bits = 8 * values.dtype.itemsize
    if version == 1:
        header = bytearray(352)
        struct.pack_into(order + "i", header, 0, 348)
        struct.pack_into(order + "8h", header, 40, *shape)
        struct.pack_into(order + "hh", header, 70, code, bits)
        struct.pack_into(order + "8f", header, 76, *[1.0] * 8)
        struct.pack_into(order + "3f", header, 108, 352.0, *scale)
        header[148 : 148 + len(text)] = text
        header[344:348] = magic or b"n+1\0"
    else:
        header = bytearray(544)
        struct.pack_into(order + "i", header, 0, 540)
        header[4:12] = b"n+2\0\r\n\x1a\n"
        struct.pack_into(order + "hh", header, 12, code, bits)
        struct.pack_into(order + "8q", header, 16, *shape)
        struct.pack_into(order + "8d", header, 104, *[1.0] * 8)
        struct.pack_into(order + "q2d", header, 168, 544, *scale)
    swapped = values if code in (128, 2304) else values.astype(values.dtype.newbyteorder(order))
    return bytes(header) + swapped.tobytes(order="F")


def make_values(kind: str, *shape: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return rng.normal(0, 50, shape).astype(dtype)
    limits = np.iinfo(dtype)
    low, high = max(limits.min, -30_000), min(limits.max, 30_000)
    return rng.integers(low, high, shape, endpoint=True).astype(dtype)


def stretch(values: np.ndarray) -> np.ndarray:
    real = values.astype(np.float64)
    scaled = (real - real.min()) / (real.max() - real.min()) * 255
    return np.round(scaled).astype(np.uint8)


def expect(found: Decoded, pixels: np.ndarray) -> None:
    assert found.pixels.shape == pixels.shape
    assert np.abs(found.pixels.astype(int) - pixels).max() <= 1  # of rounding
    assert AS_STORED in found.remarks


def refuse(content: bytes, words: str, number: int | None = None) -> None:
    with pytest.raises(UnreadableImageError, match=words):
        decode(content, number=number)


class TestPixels:
    """The pixels of one image."""

    @pytest.fixture(autouse=True)
    def need_nibabel(self) -> None:
        pytest.importorskip("nibabel")

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("version", [1, 2])
    @pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "i8", "u8", "f4", "f8"])
    def test_types_and_byte_orders(self, kind: str, version: int, order: str) -> None:
        values = make_values(kind, W, H)
        for content in (
            make_nifti(values, order=order, version=version),
            gzip.compress(make_nifti(values[:, :, None], order=order, version=version)),
        ):
            found = decode(content)
            expect(found, values.T if kind == "u1" else stretch(values.T))
            assert (found.format, found.mode) == ("NIFTI", np.dtype(kind).name)

    def test_sixteen_bits(self) -> None:
        values = make_values("i2", W, H)
        low, high = float(values.min()), float(values.max())
        wanted = np.round((values.T - low) / (high - low) * 65_535)
        found = decode(make_nifti(values), 16).pixels
        assert found.dtype == np.uint16
        assert np.abs(found - wanted).max() <= 1

    def test_the_first_axis_is_the_row(self) -> None:
        values = np.zeros((W, H), np.uint8)
        values[3, 7] = 200  # third column, seventh row
        assert decode(make_nifti(values)).pixels[7, 3] == 200

    @pytest.mark.parametrize("shape", [(1, W, H), (W, 1, H), (W, H, 1, 1)])
    def test_axes_of_length_one_do_not_count(self, shape: tuple[int, ...]) -> None:
        values = make_values("u1", W, H)
        expect(decode(make_nifti(values.reshape(shape))), values.T)

    @pytest.mark.parametrize(
        ("scale", "sign"),
        [((0.0, 7.0), 1), ((float("nan"), 1.0), 1), ((2.5, -1024.0), 1), ((-1.0, 10.0), -1)],
    )
    def test_slope_and_intercept(self, scale: tuple[float, float], sign: int) -> None:
        values = make_values("i2", W, H)
        expect(decode(make_nifti(values, scale=scale)), stretch(sign * values.astype(float).T))

    def test_bytes_with_a_slope_are_scaled(self) -> None:
        values = np.clip(make_values("u1", W, H), 10, 20)
        expect(decode(make_nifti(values, scale=(3.0, 0.0))), stretch(values.T))
        expect(decode(make_nifti(values, scale=(1.0, 0.0))), values.T)

    def test_colours(self) -> None:
        rng = np.random.default_rng(0)
        colours = rng.integers(0, 256, (W, H, 3), np.uint8)
        gray = (colours @ [0.299, 0.587, 0.114]).T
        packed = colours.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
        expect(decode(make_nifti(packed, code=128)), gray)
        alpha = rng.integers(0, 256, (W, H, 1), np.uint8)
        four = np.concatenate([colours, alpha], axis=2)
        names = [(name, "u1") for name in "RGBA"]
        found = decode(make_nifti(four.view(names)[..., 0], code=2304))
        shown = gray * alpha[..., 0].T / 255
        assert np.abs(found.pixels - shown).max() < 2

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_values_that_are_no_numbers(self, bad: float) -> None:
        values = make_values("f4", W, H)
        values[2, 2] = bad
        refuse(make_nifti(values), "not finite numbers")

    def test_what_is_refused(self) -> None:
        refuse(make_nifti(np.ones((W, H), np.complex64)), "a NIfTI file of complex64; expected")
        refuse(make_nifti(np.ones((W, H, 4), np.uint8)), r"a volume of 12 × 9 × 4 values; list it")
        refuse(make_nifti(np.ones((W, H, 1, 2), np.uint8)), r"a volume of 12 × 9 × 1 × 2 values")
        refuse(make_nifti(np.ones((W,), np.uint8)), "12 values; expected an image")
        refuse(make_nifti(np.ones((W, 5), np.uint8)), "too small")
        refuse(make_nifti(np.ones((W, H), np.uint8), magic=b"ni1\0"), "half of a NIfTI pair")
        whole = make_nifti(make_values("i2", W, H))
        refuse(whole[:-1], "truncated file")
        refuse(gzip.compress(whole)[:-20], "truncated file")
        refuse(gzip.compress(whole[:-4]), "truncated file")
        refuse(make_nifti(np.ones((W, H), np.uint8), code=77), "cannot be decoded|damaged")
        assert not is_nifti(gzip.compress(b"something else"))
        refuse(gzip.compress(b"something else"), "not an image, or of an unknown format")

    def test_names_in_headers(self) -> None:
        content = make_nifti(make_values("u1", W, H), text=b"MUSTER^HANS")
        assert decode(content).remarks == (AS_STORED, NAMED_IN_HEADER)

    def test_a_bomb_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("osteo_ray.data.decoding.nifti._MOST_BYTES", 400)
        refuse(gzip.compress(make_nifti(make_values("u2", W, H))), "once decompressed")


class TestSlices:
    """Slices that the column `slice` chooses."""

    @pytest.fixture(autouse=True)
    def need_nibabel(self) -> None:
        pytest.importorskip("nibabel")

    @pytest.mark.parametrize("shape", [(W, H, 5), (W, H, 5, 1), (W, H, 1)])
    def test_a_slice_along_the_third_axis(self, shape: tuple[int, ...]) -> None:
        values = make_values("i2", *shape)
        for number in range(shape[2]):
            plane = values.reshape(*shape[:3])[..., number]
            expect(decode(make_nifti(values, scale=(2.0, 1.0)), number=number), stretch(plane.T))

    def test_slices_that_are_not_there(self) -> None:
        volume = make_nifti(np.ones((W, H, 5), np.uint8))
        refuse(volume, r"has slice 5 in its row, but holds 12 × 9 × 5 values; expected 0 to 4", 5)
        refuse(make_nifti(np.ones((W, H), np.uint8)), "has a slice in its row, but holds 12 × 9", 0)
        refuse(b"\x89PNG\r\n\x1a\n", "has a slice in its row, but is no NIfTI volume", 0)

    def test_slices_of_one_volume_are_of_one_patient(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        for name in ("a", "b"):
            values = rng.integers(0, 256, (W, H, 4), np.uint8)
            (tmp_path / f"{name}.nii.gz").write_bytes(gzip.compress(make_nifti(values)))
        rows = ["a.nii.gz,0,x", "a.nii.gz,3,x", "b.nii.gz,1,y", "b.nii.gz,9,y", "b.nii.gz,1,y"]
        table = tmp_path / "knees.csv"
        table.write_text("\n".join(["path,slice,label", *rows]))
        source = open_source(str(table))
        assert source.items["path"].tolist() == [
            *("a.nii.gz#slice-0", "a.nii.gz#slice-3", "b.nii.gz#slice-1", "b.nii.gz#slice-9"),
        ]
        assert source.refused["reason"].tolist() == ["listed twice"]
        empty = np.full(len(source.items), "", object)
        batch = {name: source.items[name].to_numpy(object) for name in source.items}
        del batch["patient_id"]
        found, elsewhere = (
            decode_block(
                batch | {"patient": empty, "suggested": empty},
                reader=source.reader,
                key=b"k",
                own_key=own_key,
                pixels=None,
                image_size=None,
                laterality="whole",
            ).to_pandas()
            for own_key in (b"one", b"other")
        )
        assert found["failure"].isna().all()
        good = found[found["reason"] == ""].set_index("path")
        one, other, alone = good["person"].loc[source.items["path"][:3]]
        assert one == other != alone != ""
        # A volume of the same name in another set is another patient, whom nobody has named.
        assert not set(good["person"]) & set(elsewhere["person"])
        assert not good["is_named"].any()
        assert set(good["patient"]) == {""}
        assert "expected 0 to 3" in found["reason"].max()


def test_slices_that_are_no_numbers(tmp_path: Path) -> None:
    table = tmp_path / "knees.csv"
    table.write_text("path,slice,label\na.nii,middle,x\nb.nii,,y\n")
    with pytest.raises(InputError, match=r"the column slice of .* numbers from 0.*found `middle`"):
        open_source(str(table))


def test_numbers_of_slices_that_are_images_of_their_own_are_left_alone(tmp_path: Path) -> None:
    table = tmp_path / "slices.csv"
    table.write_text("path,slice,label\na/17.png,17,x\na/18.png,middle,y\nb.nii,2,x\n")
    source = open_source(str(table))
    assert source.items["path"].tolist() == ["a/17.png", "a/18.png", "b.nii#slice-2"]


@pytest.mark.parametrize("path", ["a.nii.gz", "a#slice-x", "#slice-1"])
def test_paths_without_a_slice(path: str) -> None:
    assert read_slice(path) == (path, None)
    assert read_slice(name_slice("a", 0)) == ("a", 0)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "float32"])
def test_against_simpleitk(tmp_path: Path, kind: str, dimensions: int) -> None:
    pytest.importorskip("nibabel")
    sitk = pytest.importorskip("SimpleITK")
    values = make_values(np.dtype(kind).str[1:], 4, H, W)  # as ITK shows them: slice, row, column
    image = sitk.GetImageFromArray(values if dimensions == 3 else values[0])
    image.SetDirection([-1, 0, 0, 0, 1, 0, 0, 0, 1] if dimensions == 3 else [-1, 0, 0, 1])
    place = str(tmp_path / "x.nii.gz")
    sitk.WriteImage(image, place)
    read = sitk.GetArrayFromImage(sitk.ReadImage(place))
    content = Path(place).read_bytes()
    for number in range(4 if dimensions == 3 else 1):
        plane = read[number] if dimensions == 3 else read
        found = decode(content, number=number if dimensions == 3 else None)
        expect(found, plane if kind == "uint8" else stretch(plane))
