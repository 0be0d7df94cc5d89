"""Decoding of DICOM files: the way from stored values to grays worked out by hand."""

import dataclasses
import io
import os
import signal
import warnings

import numpy as np
import pydicom
import pytest
from corpus import (
    PATIENT_NAME,
    encode_with_gdcm,
    make_compressed_dicoms,
    make_dicom,
    make_picture,
    make_report,
)
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from osteo_ray.data.decoding import dicom, gdcm_apart
from osteo_ray.data.decoding.content import decode
from osteo_ray.data.decoding.dicom import decode_dicom
from osteo_ray.data.decoding.images import decode_image
from osteo_ray.data.decoding.remarks import BURNED_IN, NO_SIGN, OVERLAY, POLARITY
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.decoding.signatures import is_dicom

PICTURE = make_picture(np.random.default_rng(3))
TWELVE = np.linspace(0, 4095, 40 * 56).astype(np.uint16).reshape(40, 56)
FULL = {"WindowCenter": 2048, "WindowWidth": 4096}  # 0..4095 to 0..255


def _pixels(stored: np.ndarray, **options: object) -> np.ndarray:
    found = decode_dicom(make_dicom(stored, **options)).pixels
    assert found.dtype == np.uint8
    return found


def _refuse(content: bytes) -> str:
    with pytest.raises(UnreadableImageError) as error:
        decode_dicom(content)
    return str(error.value)


def _linear(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Work out the linear window of the standard, part 3, C.11.2.1.2.1, case by case."""
    between = ((values - (centre - 0.5)) / (width - 1) + 0.5) * 255
    dark = values <= centre - 0.5 - (width - 1) / 2
    bright = values > centre - 0.5 + (width - 1) / 2
    return np.round(np.where(dark, 0, np.where(bright, 255, between))).astype(np.uint8)


def _table(entries: list[int], first: int, bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = np.array(entries, "<u2").tobytes()
    return item


# What is DICOM


def test_content_shows_what_is_dicom() -> None:
    content = make_dicom(PICTURE)
    assert is_dicom(content)
    assert not is_dicom(content[140:])
    assert not is_dicom(b"")
    assert "not a DICOM file" in _refuse(content[140:])
    with pytest.raises(UnreadableImageError):
        decode_image(content)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
@pytest.mark.parametrize("kept", ["mark", "description", "data"])
def test_files_without_a_preamble(syntax: UID, kept: str) -> None:
    content = make_dicom(TWELVE, bits=12, syntax=syntax, **FULL)
    meta = 144 + int.from_bytes(content[140:144], "little")
    bare = content[{"mark": 128, "description": 132, "data": meta}[kept] :]
    assert is_dicom(bare)
    np.testing.assert_array_equal(decode(bare).pixels, decode_dicom(content).pixels)


def test_compressed_pixels_without_any_description_are_refused() -> None:
    content = make_compressed_dicoms(np.random.default_rng(0))["jpeg-lossless"]
    bare = content[144 + int.from_bytes(content[140:144], "little") :]
    assert "no transfer syntax" in _refuse(bare)


# Stored values to grays


def test_inverted_image_of_12_bits_with_rescale_and_window() -> None:
    found = decode_dicom(
        make_dicom(
            TWELVE,
            bits=12,
            PhotometricInterpretation="MONOCHROME1",
            RescaleSlope=2,
            RescaleIntercept=-1000,
            WindowCenter=[3000, 40],  # the first of two windows counts
            WindowWidth=[2000, 400],
        )
    )
    assert (found.format, found.mode) == ("DICOM", "MONOCHROME1/12")
    values = 2.0 * TWELVE - 1000
    np.testing.assert_array_equal(found.pixels, 255 - _linear(values, 3000, 2000))
    # By hand: 2000 is stored, 3000 the value, the middle of the window: (0.5/1999 + 0.5) * 255.
    middle = np.abs(TWELVE.astype(int) - 2000).argmin()
    assert found.pixels.flat[middle] in (127, 128)
    assert found.pixels.flat[0] == 255
    assert found.pixels.flat[-1] == 0


@pytest.mark.parametrize("width", [1, 2, 500])
def test_window_of_any_width(width: int) -> None:
    found = _pixels(TWELVE, bits=12, WindowCenter=2000, WindowWidth=width)
    if width == 1:
        expected = np.where(TWELVE > 1999.5, 255, 0)
    else:
        expected = _linear(TWELVE.astype(float), 2000, width)
    np.testing.assert_array_equal(found, expected)


def test_window_whose_ends_are_exact() -> None:
    found = _pixels(
        TWELVE, bits=12, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT"
    )
    expected = np.round(np.clip((TWELVE - 1500.0) / 1000, 0, 1) * 255)
    np.testing.assert_array_equal(found, expected)


def test_curved_window() -> None:
    found = _pixels(TWELVE, bits=12, WindowCenter=2000, WindowWidth=800, VOILUTFunction="SIGMOID")
    expected = np.round(255 / (1 + np.exp(-4 * (TWELVE - 2000.0) / 800)))
    np.testing.assert_array_equal(found, expected)


def test_table_in_place_of_a_window() -> None:
    # Values up to 10 take the first entry, from 13 on the last; 4 bits short of 16 are used.
    item = _table([0, 1000, 3000, 4095], 10, 12)
    stored = np.tile(np.array([0, 10, 11, 12, 13, 14, 99, 200], np.uint8), (8, 1))
    found = _pixels(stored, VOILUTSequence=Sequence([item]))
    expected = np.round(np.array([0, 0, 1000, 3000, 4095, 4095, 4095, 4095]) / 4095 * 255)
    np.testing.assert_array_equal(found[0], expected)


def test_modality_table_comes_before_the_window() -> None:
    item = _table(list(range(4095, -1, -1)), 0, 16)
    found = _pixels(TWELVE, bits=12, ModalityLUTSequence=Sequence([item]), **FULL)
    np.testing.assert_array_equal(found, _linear(4095.0 - TWELVE, 2048, 4096))


def test_without_a_window_the_middle_of_the_values_is_stretched() -> None:
    rng = np.random.default_rng(0)
    stored = np.round(rng.normal(2000, 300, (70, 90))).astype(np.uint16)
    stored[0, :5] = 4095  # outliers
    low, high = np.percentile(stored, [0.5, 99.5])
    expected = np.round(np.clip((stored - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(_pixels(stored, bits=12), expected)


@pytest.mark.parametrize("width", [0.5, 0.9])
def test_windows_narrower_than_one(width: float) -> None:
    scale = {"RescaleSlope": 0.0001, "RescaleIntercept": 0}
    found = _pixels(TWELVE, bits=12, WindowCenter=0.2, WindowWidth=width, **scale)
    expected = np.clip((TWELVE * 0.0001 - 0.2) / width + 0.5, 0, 1) * 255
    np.testing.assert_allclose(found, expected, atol=0.51)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_decimal_commas(syntax: UID) -> None:
    point = {"WindowCenter": "1000.5", "WindowWidth": "1500.5", "RescaleSlope": "0.9"}
    comma = {"WindowCenter": "1111.5", "WindowWidth": "2222.5", "RescaleSlope": "3.3"}
    content = make_dicom(TWELVE, bits=12, syntax=syntax, RescaleIntercept="0", **comma)
    for name, value in point.items():  # pydicom does not write what it does not read
        content = content.replace(comma[name].encode(), value.replace(".", ",").encode())
    expected = _pixels(TWELVE, bits=12, syntax=syntax, RescaleIntercept="0", **point)
    np.testing.assert_array_equal(decode_dicom(content).pixels, expected)


def test_numbers_that_are_none_are_named() -> None:
    content = make_dicom(TWELVE, bits=12, WindowCenter="1111.5", WindowWidth="2222")
    assert _refuse(content.replace(b"1111.5", b"1,1,.5")) == "a WindowCenter that is no number"


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", ["INVERSE", "IDENTITY", None])
def test_presentation_and_photometric_interpretation_invert_once(
    photometric: str, shape: str | None
) -> None:
    given = {} if shape is None else {"PresentationLUTShape": shape}
    content = make_dicom(TWELVE, bits=12, PhotometricInterpretation=photometric, **given, **FULL)
    found = decode_dicom(content)
    plain = _linear(TWELVE.astype(float), 2048, 4096)
    inverted = photometric == "MONOCHROME1" or shape == "INVERSE"
    np.testing.assert_array_equal(found.pixels, 255 - plain if inverted else plain)
    contradict = photometric == "MONOCHROME1" and shape == "IDENTITY"
    assert found.remarks == ((POLARITY,) if contradict else ())


def test_presentation_table_is_refused_by_name() -> None:
    item = _table([0, 255], 0, 8)
    content = make_dicom(PICTURE, PresentationLUTSequence=Sequence([item]))
    assert _refuse(content) == "a presentation lookup table, which is not supported"


@pytest.mark.parametrize("window", [{"WindowCenter": 40, "WindowWidth": 0}, {"WindowCenter": 40}])
def test_useless_window_counts_as_none(window: dict[str, object]) -> None:
    np.testing.assert_array_equal(_pixels(TWELVE, bits=12, **window), _pixels(TWELVE, bits=12))


@pytest.mark.parametrize("limit", [None, 1])
def test_padding_does_not_count(limit: int | None) -> None:
    stored = make_picture(np.random.default_rng(1), 60, 80).astype(np.int16) + 500
    inner = stored[:, 10:]
    stored[:, :10] = -2000
    further = {} if limit is None else {"PixelPaddingRangeLimit": -1990}
    # A writer may declare the negative value as an unsigned one: -2000 + 65 536.
    found = _pixels(stored, PixelPaddingValue=-2000, **further)
    low, high = np.percentile(inner, [0.5, 99.5])
    expected = np.round(np.clip((inner - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(found[:, 10:], expected)
    np.testing.assert_array_equal(found[:, :10], 0)


def test_image_of_nothing_but_padding() -> None:
    found = _pixels(np.full((8, 9), 7, np.uint16), PixelPaddingValue=7)
    assert len(np.unique(found)) == 1


def test_signed_values() -> None:
    stored = TWELVE.astype(np.int16) - 2048
    found = _pixels(stored, bits=12, WindowCenter=0, WindowWidth=4096)
    np.testing.assert_array_equal(found, _linear(stored.astype(float), 0, 4096))


def test_bits_beyond_those_stored_are_ignored() -> None:
    overlay = (TWELVE | 0xF000).astype(np.uint16)
    np.testing.assert_array_equal(
        _pixels(overlay, bits=12, **FULL), _pixels(TWELVE, bits=12, **FULL)
    )


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
@pytest.mark.parametrize("high", [12, 15])
@pytest.mark.parametrize("signed", [False, True])
def test_values_at_the_upper_end_of_their_word(syntax: UID, high: int, signed: bool) -> None:
    stored = TWELVE.astype(np.int16) - 2048 if signed else TWELVE
    window = {"WindowCenter": 0 if signed else 2048, "WindowWidth": 4096}
    above = high - 11
    raised = np.left_shift(stored, above)
    raised |= 2 ** (above - 1)  # what lies below is not part of the value
    stream = None
    if syntax == RLELossless:
        stream = RLELosslessEncoder.encode(
            raised.tobytes(),
            rows=40,
            columns=56,
            samples_per_pixel=1,
            number_of_frames=1,
            bits_allocated=16,
            bits_stored=16,
            pixel_representation=int(signed),
            photometric_interpretation="MONOCHROME2",
        )
    found = _pixels(raised, bits=12, HighBit=high, syntax=syntax, codestream=stream, **window)
    np.testing.assert_array_equal(found, _pixels(stored, bits=12, **window))


def test_high_bits_that_cannot_be_true_are_refused_by_name() -> None:
    low = make_dicom(TWELVE, bits=12, HighBit=15)
    assert "HighBit 15 with 12 bits stored, but the values lie in the lowest 12" in _refuse(low)
    for high in (10, 16):
        reason = _refuse(make_dicom(TWELVE, bits=12, HighBit=high))
        assert reason == f"HighBit {high}, which does not fit 12 bits stored of 16 allocated"
    stream = encode_with_gdcm(TWELVE, JPEGLosslessSV1, 12)
    content = make_dicom(TWELVE, bits=12, HighBit=15, syntax=JPEGLosslessSV1, codestream=stream)
    assert "HighBit 15 with 12 bits stored in compressed pixels" in _refuse(content)


@pytest.mark.parametrize("name", [None, "jpeg-lossless", "jpeg-2000", "rle"])
def test_missing_sign_is_stated_and_missing_high_bit_is_the_usual_one(name: str | None) -> None:
    content = make_dicom(TWELVE, bits=12)
    if name:
        content = make_compressed_dicoms(np.random.default_rng(0))[name]
    header = pydicom.dcmread(io.BytesIO(content))
    del header.PixelRepresentation
    del header.HighBit
    file = io.BytesIO()
    header.save_as(file)
    found = decode_dicom(file.getvalue())
    np.testing.assert_array_equal(found.pixels, decode_dicom(content).pixels)
    assert found.remarks == (NO_SIGN,)


@pytest.mark.parametrize("missing", ["BitsStored", "BitsAllocated", "SamplesPerPixel"])
def test_other_missing_elements_are_named(missing: str) -> None:
    assert _refuse(make_dicom(TWELVE, **{missing: None})) == f"no {missing} in the header"


def test_colours_need_to_say_how_they_lie() -> None:
    reason = _refuse(make_dicom(COLOUR, PlanarConfiguration=None))
    assert reason == "no PlanarConfiguration in the header"


def test_deep_colours_are_scaled_from_their_own_range() -> None:
    deep = COLOUR.astype(np.uint16) * 16  # 12 bits, declared as 16
    low, high = deep.min(), deep.max()
    np.testing.assert_allclose(_pixels(deep), (LUMINANCE * 16 - low) / (high - low) * 255, atol=1.5)


def test_what_the_audit_is_to_know_of_a_header() -> None:
    assert decode_dicom(make_dicom(PICTURE, BurnedInAnnotation="YES")).remarks == (BURNED_IN,)
    assert decode_dicom(make_dicom(PICTURE, BurnedInAnnotation="NO")).remarks == ()
    header = pydicom.dcmread(io.BytesIO(make_dicom(PICTURE)))
    for group in (0x6000, 0x6004):
        header.add_new((group, 0x0010), "US", 40)
        header.add_new((group, 0x3000), "OW", bytes(40 * 56 // 8))
    file = io.BytesIO()
    header.save_as(file)
    found = decode_dicom(file.getvalue())
    assert found.remarks == (OVERLAY,)
    np.testing.assert_array_equal(found.pixels, _pixels(PICTURE))


def test_float_pixels() -> None:
    values = np.linspace(-1, 1, 80).reshape(8, 10)
    content = make_dicom(
        np.zeros((8, 10), np.uint16),
        PixelData=None,
        BitsAllocated=64,
        DoubleFloatPixelData=values.tobytes(),
        WindowCenter=0,
        WindowWidth=2,
        VOILUTFunction="LINEAR_EXACT",
    )
    found = decode_dicom(content)
    assert found.mode == "MONOCHROME2/float64"
    np.testing.assert_array_equal(found.pixels, np.round((values + 1) / 2 * 255))


# Colours

COLOUR = np.dstack([make_picture(np.random.default_rng(seed)) for seed in range(3)])
LUMINANCE = COLOUR @ np.array([0.299, 0.587, 0.114])


def test_colours_become_luminance() -> None:
    np.testing.assert_allclose(_pixels(COLOUR), LUMINANCE, atol=1)


def test_colours_in_planes() -> None:
    planes = np.ascontiguousarray(np.moveaxis(COLOUR, 2, 0)).reshape(COLOUR.shape)
    np.testing.assert_allclose(_pixels(planes, PlanarConfiguration=1), LUMINANCE, atol=1)


def test_luminance_and_colour_differences() -> None:
    ybr = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    found = _pixels(ybr, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_allclose(found, LUMINANCE, atol=2)


@pytest.mark.parametrize("scale", [257, 1])  # 1: bytes in words of 16 bits, as some write
def test_palette(scale: int) -> None:
    levels = np.arange(256, dtype="<u2")
    columns = {"Red": levels, "Green": levels[::-1], "Blue": np.zeros_like(levels)}
    palette: dict[str, object] = {}
    for name, column in columns.items():
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"{name}PaletteColorLookupTableData"] = (column * scale).astype("<u2").tobytes()
    found = _pixels(PICTURE, PhotometricInterpretation="PALETTE COLOR", **palette)
    np.testing.assert_allclose(found, 0.299 * PICTURE + 0.587 * (255.0 - PICTURE), atol=1)


# Transfer syntaxes


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_uncompressed_pixels(syntax: UID) -> None:
    found = _pixels(TWELVE, bits=12, syntax=syntax, **FULL)
    np.testing.assert_array_equal(found, _linear(TWELVE.astype(float), 2048, 4096))


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1, JPEGLSLossless])
@pytest.mark.parametrize("rows", [40, 39])
def test_losslessly_compressed_pixels(syntax: UID, rows: int) -> None:
    stored = TWELVE[:rows].copy()
    stream = encode_with_gdcm(stored, syntax, 12)
    found = _pixels(stored, bits=12, syntax=syntax, codestream=stream, **FULL)
    np.testing.assert_array_equal(found, _linear(stored.astype(float), 2048, 4096))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_jpeg_2000(kind: type) -> None:
    stored = PICTURE.astype(kind)
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "JPEG2000", no_jp2=True)
    found = _pixels(
        stored,
        syntax=JPEG2000Lossless,
        codestream=file.getvalue(),
        WindowCenter=128,
        WindowWidth=256,
    )
    np.testing.assert_array_equal(found, PICTURE)


@pytest.mark.parametrize("stored", [PICTURE, COLOUR])
def test_jpeg(stored: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "JPEG", quality=100, subsampling=0)
    window = {} if stored.ndim == 3 else {"WindowCenter": 128, "WindowWidth": 256}
    if stored.ndim == 3:
        window = {"PhotometricInterpretation": "YBR_FULL_422"}
    found = _pixels(stored, syntax=JPEGBaseline8Bit, codestream=file.getvalue(), **window)
    np.testing.assert_allclose(found, LUMINANCE if stored.ndim == 3 else PICTURE, atol=4)


def test_run_lengths() -> None:
    stream = RLELosslessEncoder.encode(
        TWELVE.tobytes(),
        rows=40,
        columns=56,
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=16,
        bits_stored=12,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
    )
    found = _pixels(TWELVE, bits=12, syntax=RLELossless, codestream=stream, **FULL)
    np.testing.assert_array_equal(found, _linear(TWELVE.astype(float), 2048, 4096))


@pytest.mark.parametrize("name", ["jpeg-baseline", "jpeg-2000", "jpeg-lossless", "jpeg-ls"])
def test_compressed_pixels_cut_short(name: str) -> None:
    header = pydicom.dcmread(io.BytesIO(make_compressed_dicoms(np.random.default_rng(0))[name]))
    stream = pydicom.encaps.get_frame(header.PixelData, 0, number_of_frames=1)
    header.PixelData = pydicom.encaps.encapsulate([stream[: len(stream) * 2 // 3]])
    file = io.BytesIO()
    header.save_as(file)
    assert "truncated pixel data" in _refuse(file.getvalue())


@pytest.mark.parametrize("name", ["jpeg-2000", "jpeg-lossless", "jpeg-ls"])
def test_compressed_pixels_with_more_bits_than_the_header_states(name: str) -> None:
    header = pydicom.dcmread(io.BytesIO(make_compressed_dicoms(np.random.default_rng(0))[name]))
    header.BitsAllocated, header.BitsStored, header.HighBit = 8, 8, 7
    file = io.BytesIO()
    header.save_as(file)
    assert _refuse(file.getvalue()) == "compressed pixels with more bits than the header states"


def test_decoder_that_breaks_off_costs_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    good = make_compressed_dicoms(np.random.default_rng(0))["jpeg-lossless"]
    expected = decode_dicom(good).pixels
    helper = gdcm_apart._start_helper()
    helper.kill()  # as GDCM does to its process on some damaged files
    helper.wait()
    np.testing.assert_array_equal(decode_dicom(good).pixels, expected)
    os.kill(gdcm_apart._start_helper().pid, signal.SIGSTOP)
    monkeypatch.setattr(gdcm_apart, "TIMEOUT_S", 0.2)
    assert "damaged" in _refuse(good)
    monkeypatch.undo()
    np.testing.assert_array_equal(decode_dicom(good).pixels, expected)
    gdcm_apart.stop_helper()


# Header


def test_patient_and_side() -> None:
    found = decode_dicom(make_dicom(PICTURE, PatientID=" 0815 ", ImageLaterality="L"))
    assert (found.patient_id, found.side) == ("0815", "L")
    found = decode_dicom(make_dicom(PICTURE, PatientID="", Laterality="R"))
    assert (found.patient_id, found.side) == (None, "R")
    found = decode_dicom(make_dicom(PICTURE, ImageLaterality="L", Laterality="R"))
    assert found.side == "L"
    found = decode_dicom(make_dicom(PICTURE, PatientID=None, ImageLaterality="B"))
    assert (found.patient_id, found.side) == (None, None)


def test_institution() -> None:
    assert decode_dicom(make_dicom(PICTURE, InstitutionName=" Clinic ")).institution == "Clinic"
    assert decode_dicom(make_dicom(PICTURE, InstitutionName="")).institution is None


def test_names_are_neither_read_nor_returned() -> None:
    content = make_dicom(PICTURE, PatientBirthDate="19700101", PatientAddress="Hauptstr. 1")
    header = dicom._read_header(content)
    assert {"PatientName", "PatientBirthDate", "PatientAddress"}.isdisjoint(header.dir())
    found = dataclasses.asdict(decode_dicom(content))
    del found["pixels"]
    assert "Muster" not in str(found)
    assert found.keys() == {
        *("format", "mode", "patient_id", "side", "left_edge", "institution"),
        *("attributes", "remarks"),
    }


@pytest.mark.parametrize(
    "keyword",
    [
        "WindowCenter",
        "RescaleSlope",
        "NumberOfFrames",
        "PhotometricInterpretation",
        "VOILUTFunction",
    ],
)
def test_reasons_do_not_quote_the_header(keyword: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(io.BytesIO(make_dicom(PICTURE)))
        header.add_new(pydicom.datadict.tag_for_keyword(keyword), "LO", PATIENT_NAME)
        file = io.BytesIO()
        header.save_as(file)
    try:
        found = str(decode_dicom(file.getvalue()))
    except UnreadableImageError as error:
        found = str(error)
    assert "Muster" not in found


# Refusals


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"NumberOfFrames": 12}, "several frames (12); expected one"),
        ({"Rows": 41}, "truncated pixel data: 2240 of 2296 bytes"),
        ({"Rows": 10}, "pixel data of 2240 bytes"),
        ({"PixelData": b""}, "truncated pixel data: 0 of 2240 bytes"),
        ({"PixelData": None}, "no pixel data"),
        ({"Rows": 65_535, "Columns": 65_535}, "too large"),
        ({"Rows": 19_000, "Columns": 19_000}, "too many pixels"),
        ({"Rows": None}, "no Rows"),
        ({"BitsAllocated": 32}, "32 bits"),
        ({"PhotometricInterpretation": "HSV"}, "not supported"),
        ({"RescaleSlope": 0}, "slope"),
    ],
)
def test_files_that_are_refused(elements: dict[str, object], reason: str) -> None:
    assert reason in _refuse(make_dicom(PICTURE, **elements))


def test_size_is_checked_before_pixels_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "_decode_pixels", lambda *_: pytest.fail("decoded"))
    assert "too large" in _refuse(make_dicom(PICTURE, Rows=65_535, Columns=65_535))


def test_a_little_padding_after_the_pixels_is_common() -> None:
    found = _pixels(PICTURE, PixelData=PICTURE.tobytes() + bytes(100))
    np.testing.assert_array_equal(found, _pixels(PICTURE))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_float_pixels_that_are_not_numbers(value: float) -> None:
    values = np.zeros((8, 10), np.float32)
    values[2, 3] = value
    content = make_dicom(
        np.zeros((8, 10), np.uint16),
        PixelData=None,
        BitsAllocated=32,
        FloatPixelData=values.tobytes(),
    )
    assert "not finite" in _refuse(content)


def test_reports_hold_no_pixels() -> None:
    assert "no pixel data" in _refuse(make_report())
