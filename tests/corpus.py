"""Files as collections hold them: good ones of every kind, and broken ones of every kind.

All are made anew from a random generator, so that nothing is stored; the same generator makes the
same files.
"""

import base64
import gzip
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gdcm
import numpy as np
from PIL import Image, ImageCms
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG4HP41,
    UID,
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

PATIENT_NAME = "Mustermann^Erika"
HEIGHT, WIDTH = 40, 56


@dataclass(frozen=True)
class CorpusFile:
    """A file to be read or refused.

    Attributes:
        name: Without a folder; unique within the corpus.
        content: Of the file.
        good: Whether it is to be read.
        why: What is special about it.
        size: Of the picture: (height, width), upright; of good files only.
    """

    name: str
    content: bytes
    good: bool
    why: str
    size: tuple[int, int] | None = None


def make_corpus(rng: np.random.Generator) -> list[CorpusFile]:
    """Return good and broken files of all kinds, named apart, no two pictures alike."""
    files = [*_make_good_files(rng), *_make_broken_files(rng)]
    assert len({file.name for file in files}) == len(files)
    return files


# Building blocks


def make_picture(rng: np.random.Generator, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return a smooth picture with a little noise; uint8, (height, width)."""
    coarse = Image.fromarray(rng.integers(20, 236, (4, 5), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)


def write_image(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write_float_tiff(values: np.ndarray) -> bytes:
    return write_image(Image.fromarray(values.astype(np.float32)), "TIFF")


def make_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file, with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_png(width: int, height: int, *chunks: bytes, depth: int = 8) -> bytes:
    """Return a PNG file with a header of any size and the given chunks, without an end."""
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + make_chunk(b"IHDR", header) + b"".join(chunks)


def encode_with_gdcm(stored: np.ndarray, syntax: UID, bits: int) -> bytes:
    """Return a codestream that pydicom and Pillow cannot write: JPEG-LS or lossless JPEG."""
    writer = gdcm.ImageWriter()  # owns the image: one made without it is freed too early
    image = writer.GetImage()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((stored.shape[1], stored.shape[0], 1))
    kinds = gdcm.PhotometricInterpretation
    image.SetPhotometricInterpretation(kinds(kinds.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.ExplicitVRLittleEndian))
    signed = int(stored.dtype.kind == "i")
    image.SetPixelFormat(gdcm.PixelFormat(1, stored.itemsize * 8, bits, bits - 1, signed))
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetByteStringValue(stored.tobytes())
    image.SetDataElement(element)
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(image)
    assert change.Change()
    output = change.GetOutput()
    fragments = output.GetDataElement().GetSequenceOfFragments()
    encoded: bytes = (
        fragments.GetFragment(0).GetByteValue().GetBuffer().encode("utf-8", "surrogateescape")
    )
    return encoded


def make_dicom(
    stored: np.ndarray,
    *,
    bits: int | None = None,
    syntax: UID = ExplicitVRLittleEndian,
    codestream: bytes | None = None,
    **elements: object,
) -> bytes:
    """Return a DICOM file.

    Args:
        stored: uint8, int8, uint16 or int16, (height, width), or uint8 (height, width, 3).
        bits: Stored; all that are allocated if not given.
        syntax: The transfer syntax.
        codestream: The compressed pixels, where the syntax compresses.
        elements: Further elements of the header by keyword; None removes one.
    """
    header = Dataset()
    header.SOPClassUID = DigitalXRayImageStorageForPresentation
    header.SOPInstanceUID = "1.2.3.4"
    header.PatientName = PATIENT_NAME
    header.PatientID = "P-17"
    header.Modality = "DX"
    header.Rows, header.Columns = stored.shape[:2]
    header.SamplesPerPixel = 3 if stored.ndim == 3 else 1
    if stored.ndim == 3:
        header.PlanarConfiguration = 0
    header.PhotometricInterpretation = "RGB" if stored.ndim == 3 else "MONOCHROME2"
    header.BitsAllocated = stored.itemsize * 8
    header.BitsStored = bits or header.BitsAllocated
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(stored.dtype.kind == "i")
    if codestream is not None:
        header.PixelData = encapsulate([codestream])
        header["PixelData"].VR = "OB"
        header["PixelData"].is_undefined_length = True
    else:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
        header.PixelData = data + bytes(len(data) % 2)
        header["PixelData"].VR = "OB" if stored.itemsize == 1 else "OW"
    for name, value in elements.items():
        if value is None:
            delattr(header, name)
        else:
            setattr(header, name, value)
    return write_dicom(header, syntax)


def write_dicom(header: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """Return the bytes of a file with a header."""
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    file = io.BytesIO()
    header.save_as(file, enforce_file_format=True)
    return file.getvalue()


def make_compressed_dicoms(rng: np.random.Generator) -> dict[str, bytes]:
    """Return a file of each compressing transfer syntax that can be written, by its name."""
    eight = make_picture(rng)
    twelve = make_picture(rng).astype(np.uint16) * 16 + 5
    rle = RLELosslessEncoder.encode(
        twelve.tobytes(),
        rows=HEIGHT,
        columns=WIDTH,
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=16,
        bits_stored=12,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
    )
    jpeg = write_image(Image.fromarray(eight), "JPEG", quality=95)
    jpeg2000 = write_image(Image.fromarray(twelve), "JPEG2000", no_jp2=True)
    files = {
        "jpeg-baseline": make_dicom(eight, syntax=JPEGBaseline8Bit, codestream=jpeg),
        "jpeg-extended": make_dicom(eight, syntax=JPEGExtended12Bit, codestream=jpeg),
        # Pillow writes 16 bits, whatever is stored.
        "jpeg-2000": make_dicom(twelve, syntax=JPEG2000Lossless, codestream=jpeg2000),
        "rle": make_dicom(twelve, bits=12, syntax=RLELossless, codestream=rle),
    }
    for name, syntax in (
        ("jpeg-lossless", JPEGLossless),
        ("jpeg-lossless-sv1", JPEGLosslessSV1),
        ("jpeg-ls", JPEGLSLossless),
    ):
        stream = encode_with_gdcm(twelve, syntax, 12)
        files[name] = make_dicom(twelve, bits=12, syntax=syntax, codestream=stream)
    return files


def make_report() -> bytes:
    """Return a DICOM file without pixels."""
    header = Dataset()
    header.SOPClassUID = BasicTextSRStorage
    header.SOPInstanceUID = "1.2.3.5"
    header.PatientName = PATIENT_NAME
    header.PatientID = "P-17"
    header.Modality = "SR"
    return write_dicom(header)


def make_still_images(rng: np.random.Generator) -> dict[str, bytes]:
    """Return an image of each format and compression, none of which survives being cut short."""

    def gray() -> Image.Image:
        return Image.fromarray(make_picture(rng))

    def colour() -> Image.Image:
        return Image.merge("RGB", [gray(), gray(), gray()])

    def deep() -> Image.Image:
        return Image.fromarray(make_picture(rng).astype(np.uint16) * 200 + 77)

    files = {
        "gray.png": write_image(gray(), "PNG"),
        "colour.png": write_image(colour(), "PNG"),
        "deep.png": write_image(deep(), "PNG"),
        "gray.jpg": write_image(gray(), "JPEG"),
        "colour.jpg": write_image(colour(), "JPEG"),
        "progressive.jpg": write_image(colour(), "JPEG", progressive=True),
        "print.jpg": write_image(colour().convert("CMYK"), "JPEG"),
        "deep.tif": write_image(deep(), "TIFF"),
        "float.tif": write_float_tiff(make_picture(rng) / 7),
        "gray.bmp": write_image(gray(), "BMP"),
        "colour.bmp": write_image(colour(), "BMP"),
        "gray.gif": write_image(gray(), "GIF"),
        "lossy.webp": write_image(colour(), "WEBP"),
        "lossless.webp": write_image(colour(), "WEBP", lossless=True),
        "colour.avif": write_image(colour(), "AVIF"),
        "colour.jp2": write_image(colour(), "JPEG2000"),
        "lossy.jp2": write_image(gray(), "JPEG2000", irreversible=True),
        "deep.j2k": write_image(deep(), "JPEG2000", no_jp2=True),
        "colour.ppm": write_image(colour(), "PPM"),
        "gray.pgm": write_image(gray(), "PPM"),
        "colour.qoi": write_image(colour(), "QOI"),
        "gray.sgi": write_image(gray(), "SGI"),
    }
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"{compression}.tiff"] = write_image(colour(), "TIFF", compression=compression)
    return files


# Good files


def _make_good_files(rng: np.random.Generator) -> Iterator[CorpusFile]:
    for name, content in make_still_images(rng).items():
        yield CorpusFile(f"still {name}", content, True, "each format", (HEIGHT, WIDTH))
    yield from _make_good_modes(rng)
    yield from _make_turned_images(rng)
    yield from _make_odd_names(rng)
    for name, content in make_compressed_dicoms(rng).items():
        yield CorpusFile(f"{name}.dcm", content, True, "a transfer syntax", (HEIGHT, WIDTH))
    yield from _make_good_dicoms(rng)


def _make_good_modes(rng: np.random.Generator) -> Iterator[CorpusFile]:
    def gray(height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
        return Image.fromarray(make_picture(rng, height, width))

    def colour() -> Image.Image:
        return Image.merge("RGB", [gray(), gray(), gray()])

    def see_through(mode: str) -> Image.Image:
        image = (gray() if mode == "LA" else colour()).convert(mode)
        image.putalpha(gray())
        return image

    lab = ImageCms.applyTransform(
        colour(),
        ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        ),
    )
    lab.info.clear()  # of the profile, which holds the time of day
    wide = Image.fromarray(make_picture(rng).astype(np.int32) * 70_000)
    more: dict[str, object] = {"save_all": True, "append_images": [gray(), gray()]}
    frames: dict[str, object] = {"save_all": True, "append_images": [colour()]}
    big_endian = Image.frombytes(
        "I;16B", (WIDTH, HEIGHT), make_picture(rng).astype(">u2").tobytes()
    )
    images = {
        "one-bit.png": write_image(gray().convert("1"), "PNG"),
        "one-bit.bmp": write_image(gray().convert("1"), "BMP"),
        "fax.tif": write_image(gray().convert("1"), "TIFF", compression="group4"),
        "palette.png": write_image(colour().quantize(64), "PNG"),
        "palette-see-through.png": write_image(colour().quantize(64), "PNG", transparency=3),
        "palette-see-through.gif": write_image(colour().quantize(64), "GIF", transparency=3),
        "colour-key.png": write_image(colour(), "PNG", transparency=(1, 2, 3)),
        "la.png": write_image(see_through("LA"), "PNG"),
        "rgba.png": write_image(see_through("RGBA"), "PNG"),
        "rgba.tif": write_image(see_through("RGBA"), "TIFF"),
        "rgba.webp": write_image(see_through("RGBA"), "WEBP"),
        "cmyk.tif": write_image(colour().convert("CMYK"), "TIFF"),
        "lab.tif": write_image(lab, "TIFF"),
        "wide.tif": write_image(wide, "TIFF"),
        "big-endian.tif": write_image(big_endian, "TIFF"),
        "animated.gif": write_image(gray(), "GIF", **more),
        "animated.png": write_image(colour(), "PNG", **frames),
        "animated.webp": write_image(colour(), "WEBP", **frames),
        "pages.tif": write_image(gray(), "TIFF", **more),
        "two-in-one.jpg": write_image(colour(), "MPO", **frames),
        "bits.pbm": write_image(gray().convert("1"), "PPM"),
        "bad-profile.png": write_image(colour(), "PNG", icc_profile=b"no profile at all"),
        "damaged-exif.jpg": write_image(gray(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
        "trailing-bytes.png": write_image(gray(), "PNG") + b"\0" * 512,
        "trailing-bytes.jpg": write_image(gray(), "JPEG") + b"after the end",
    }
    for name, content in images.items():
        yield CorpusFile(name, content, True, "each way to store pixels", (HEIGHT, WIDTH))
    for height, width in ((8, 8), (8, 400), (400, 8), (300, 200)):
        content = write_image(gray(height, width), "PNG")
        yield CorpusFile(f"{height}x{width}.png", content, True, "sizes", (height, width))


def _make_turned_images(rng: np.random.Generator) -> Iterator[CorpusFile]:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        kind, ending = (("JPEG", "jpg"), ("PNG", "png"), ("TIFF", "tif"))[orientation % 3]
        content = write_image(Image.fromarray(make_picture(rng)), kind, exif=exif)
        size = (HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT)
        yield CorpusFile(f"turned-{orientation}.{ending}", content, True, "orientation", size)


def _make_odd_names(rng: np.random.Generator) -> Iterator[CorpusFile]:
    names = (
        "صورة الركبة.png",
        "膝关节 X光片.png",
        "🦴🦵🏽.png",
        "cafe\u0301 gene\u0301ral.png",  # combining characters, not the composed ones
        "Ка\u0306рта.png",
        "  spaces  at both ends  .png",
        'it\'s "quoted" and `ticked`.png',
        "-rf.png",
        "--help.png",
        "$HOME & ; | * ? < > #.png",
        "100%25 100%.png",
        "back\\slash.png",
        "a=b,c;d.png",
        "[brackets] {braces} (1).png",
        "tab\there.png",
        "right\u202eto left.png",
        "x" * 196 + ".png",
        "膝" * 65 + ".png",  # 199 bytes
        "no-ending",
        "two.endings.jpg.png",
        "SHOUTING.PNG",
        "CON.png",
        "nan.png",
        "007.png",
    )
    for name in names:
        content = write_image(Image.fromarray(make_picture(rng)), "PNG")
        yield CorpusFile(name, content, True, "a name out of the ordinary", (HEIGHT, WIDTH))
    wrong = (
        ("png-inside.jpg", "PNG"),
        ("jpeg-inside.png", "JPEG"),
        ("tiff-inside.bmp", "TIFF"),
        ("webp-inside.jpeg", "WEBP"),
        ("gif-inside.txt", "GIF"),
        ("bmp-inside.dcm", "BMP"),
        ("jpeg-inside.zip", "JPEG"),
    )
    for name, kind in wrong:
        content = write_image(Image.fromarray(make_picture(rng)), kind)
        yield CorpusFile(name, content, True, "the wrong ending", (HEIGHT, WIDTH))
    for name in ("IM000001", "dicom-inside.png", "1.2.840.113619.2.55"):
        content = make_dicom(make_picture(rng))
        yield CorpusFile(name, content, True, "DICOM under another name", (HEIGHT, WIDTH))


def _make_good_dicoms(rng: np.random.Generator) -> Iterator[CorpusFile]:
    def eight() -> np.ndarray:
        return make_picture(rng)

    def twelve() -> np.ndarray:
        return make_picture(rng).astype(np.uint16) * 16

    colour = np.dstack([eight(), eight(), eight()])
    palette = {
        f"{name}PaletteColorLookupTable{part}": value
        for name in ("Red", "Green", "Blue")
        for part, value in (
            ("Descriptor", [256, 0, 16]),
            ("Data", np.arange(0, 65_536, 257, dtype="<u2").tobytes()),
        )
    }
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table.LUTData = np.arange(4095, -1, -1, dtype="<u2").tobytes()
    files = {
        "8-bit": make_dicom(eight()),
        "implicit": make_dicom(twelve(), bits=12, syntax=ImplicitVRLittleEndian),
        "big-endian": make_dicom(twelve(), bits=12, syntax=ExplicitVRBigEndian),
        "deflated": make_dicom(twelve(), bits=12, syntax=DeflatedExplicitVRLittleEndian),
        "12-bit": make_dicom(twelve(), bits=12),
        "16-bit": make_dicom(twelve() * 15),
        "signed": make_dicom(twelve().astype(np.int16) - 1024, bits=13),
        "signed-8-bit": make_dicom((eight().astype(np.int16) - 128).astype(np.int8)),
        "inverted": make_dicom(
            twelve(),
            bits=12,
            PhotometricInterpretation="MONOCHROME1",
            WindowCenter=[2048, 1000],
            WindowWidth=[4096, 100],
        ),
        "rescaled": make_dicom(twelve(), bits=12, RescaleSlope=2, RescaleIntercept=-1024),
        "table": make_dicom(twelve(), bits=12, VOILUTSequence=Sequence([table])),
        "padding": make_dicom(twelve(), bits=12, PixelPaddingValue=0),
        "colour": make_dicom(colour),
        "planes": make_dicom(
            np.moveaxis(colour, 2, 0).reshape(colour.shape).copy(), PlanarConfiguration=1
        ),
        "ybr": make_dicom(colour, PhotometricInterpretation="YBR_FULL"),
        "palette": make_dicom(eight(), PhotometricInterpretation="PALETTE COLOR", **palette),
        "left": make_dicom(eight(), ImageLaterality="L"),
        "nobody": make_dicom(eight(), PatientID=""),
        "one-frame": make_dicom(eight(), NumberOfFrames=1),
        "floats": _make_float_dicom(eight().astype(np.float32) / 9),
    }
    for name, content in files.items():
        yield CorpusFile(f"{name}.dcm", content, True, "each way of DICOM", (HEIGHT, WIDTH))


def _make_float_dicom(values: np.ndarray) -> bytes:
    return make_dicom(
        values.astype(np.float32).view(np.uint16)[:, : values.shape[1]],
        PixelData=None,
        PixelRepresentation=None,
        BitsAllocated=32,
        BitsStored=None,
        HighBit=None,
        FloatPixelData=values.astype("<f4").tobytes(),
    )


# Broken files


def _make_broken_files(rng: np.random.Generator) -> Iterator[CorpusFile]:
    yield from _cut_files(rng)
    groups: tuple[tuple[str, Callable[[np.random.Generator], dict[str, bytes]]], ...] = (
        ("no image at all", _make_other_files),
        ("a bomb", _make_bombs),
        ("sizes no radiograph has", _make_odd_sizes),
        ("not finite", _make_endless_numbers),
        ("damaged on the way", _damage_files),
        ("DICOM that is none of ours", _make_broken_dicoms),
    )
    for why, make in groups:
        for name, content in make(rng).items():
            yield CorpusFile(name, content, False, why)


def _cut_files(rng: np.random.Generator) -> Iterator[CorpusFile]:
    still = make_still_images(rng)
    dicoms = {f"{name}.dcm": content for name, content in make_compressed_dicoms(rng).items()}
    plain = {"plain.dcm": make_dicom(make_picture(rng)), "report-cut.dcm": make_report()}
    for name, content in {**still, **dicoms, **plain}.items():
        for percent in (25, 60, 95):
            short = content[: len(content) * percent // 100]
            yield CorpusFile(f"cut {percent} {name}", short, False, "cut short")


def _make_other_files(rng: np.random.Generator) -> dict[str, bytes]:
    picture = write_image(Image.fromarray(make_picture(rng)), "PNG")
    archive, tar = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo("word/document.xml"), "<document/>")  # without the time
    with tarfile.open(fileobj=tar, mode="w") as bundle:
        member = tarfile.TarInfo("image.png")
        member.size = len(picture)
        bundle.addfile(member, io.BytesIO(picture))
    arrays = io.BytesIO()
    np.save(arrays, make_picture(rng))
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n"
    files = {
        "empty.png": b"",
        "empty.jpg": b"",
        "empty.tif": b"",
        "empty.dcm": b"",
        "zeros.png": bytes(4096),
        "zeros.dcm": bytes(4096),
        "ones.jpg": b"\xff" * 4096,
        "newline.png": b"\n",
        "one-byte.gif": b"G",
        "noise.png": rng.bytes(4096),
        "noise.jpg": rng.bytes(4096),
        "noise.dcm": rng.bytes(4096),
        "table.png": b"patient,label\n1,normal\n2,osteoporosis\n",
        "utf-16.png": "patient;label\n1;normal\n".encode("utf-16"),
        "notes.jpg": "Röntgenbild fehlt, siehe Akte\n".encode(),
        "listing.tif": json.dumps({"images": [1, 2, 3]}).encode(),
        "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg' width='40' height='40'/>",
        "not-found.jpg": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "sign-in.png": b"\n <html><head><title>Sign in</title></head></html>",
        "pointer.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        "letters.png": base64.b64encode(picture),
        "address.png": b"data:image/png;base64," + base64.b64encode(picture),
        "document.jpg": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n",
        "document.tif": b"%PDF-1.4\n" + bytes(500),
        "archive.png": archive.getvalue(),
        "archive.jpg": archive.getvalue() + bytes(100),
        "bundle.png": tar.getvalue(),
        "packed.png": gzip.compress(picture, mtime=0),
        "postscript.png": postscript,
        "postscript.eps": postscript,
        "windows.eps": b"\xc5\xd0\xd3\xc6" + struct.pack("<7I", 32, 90, 0, 0, 0, 0, 0) + postscript,
        "metafile.wmf": b"\xd7\xcd\xc6\x9a" + bytes(60),
        "array.png": arrays.getvalue(),
        "program.png": b"\x7fELF" + bytes(500),
        "program.jpg": b"MZ" + bytes(500),
        "film.jpg": struct.pack(">I", 24) + b"ftypmp42" + bytes(400),
        "sound.webp": b"RIFF" + struct.pack("<I", 400) + b"WAVEfmt " + bytes(400),
        "database.tif": b"SQLite format 3\0" + bytes(500),
        "resource-fork.jpg": b"\0\5\x16\7" + bytes(200),
        "targa.tga": write_image(Image.fromarray(make_picture(rng)), "TGA"),
        "icon.ico": write_image(Image.fromarray(make_picture(rng)), "ICO"),
        "short-cut.png": b"[InternetShortcut]\r\nURL=file:///image.png\r\n",
        "bitmap.xbm": b"#define a_width 9\n#define a_height 9\nstatic char a_bits[] = {0};\n",
    }
    for name, signature in {
        "signature.png": b"\x89PNG\r\n\x1a\n",
        "signature.jpg": b"\xff\xd8\xff\xe0",
        "signature.gif": b"GIF89a",
        "signature.tif": b"II*\0",
        "signature.bmp": b"BM",
        "signature.webp": b"RIFF\x20\0\0\0WEBPVP8 ",
        "signature.jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
        "signature.dcm": bytes(128) + b"DICM",
    }.items():
        files[name] = signature
        files[f"zeros after {name}"] = signature + bytes(600)
    return files


def _make_bombs(rng: np.random.Generator) -> dict[str, bytes]:
    row = make_chunk(b"IDAT", zlib.compress(bytes(1000)))
    end = make_chunk(b"IEND", b"")
    picture = make_picture(rng)
    png, jpeg = (write_image(Image.fromarray(picture), kind) for kind in ("PNG", "JPEG"))
    flood = zlib.compress(bytes(3 << 20))
    head, tail = png[:33], png[33:]  # the header, of 25 bytes, comes after a signature of 8
    place = jpeg.index(b"\xff\xc0") + 5
    scan = jpeg.index(b"\xff\xda")
    codestream = write_image(Image.fromarray(picture), "JPEG2000", no_jp2=True)
    tiff = write_image(Image.fromarray(picture), "TIFF")
    bmp = write_image(Image.fromarray(picture), "BMP")
    gif = write_image(Image.fromarray(picture), "GIF")
    qoi = write_image(Image.fromarray(picture).convert("RGB"), "QOI")
    sgi = write_image(Image.fromarray(picture), "SGI")
    width, height = (
        struct.pack("<HHIHH", tag, 3, 1, side, 0) for tag, side in ((256, WIDTH), (257, HEIGHT))
    )
    if width not in tiff:  # written as a long number
        width, height = (
            struct.pack("<HHII", tag, 4, 1, side) for tag, side in ((256, WIDTH), (257, HEIGHT))
        )
    large = struct.pack("<I", 60_000)
    blank = np.zeros((HEIGHT, WIDTH), np.uint16)
    deflated = make_dicom(
        picture, syntax=DeflatedExplicitVRLittleEndian, PixelData=picture.tobytes()
    )
    start = _find_dataset(deflated)
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = squeezer.compress(bytes(1 << 20)) + squeezer.flush(zlib.Z_FULL_FLUSH)  # stands alone
    large_jpeg = jpeg[:place] + struct.pack(">HH", 65_000, 65_000) + jpeg[place + 4 :]
    return {
        "bomb-1.png": make_png(2**31 - 1, 2**31 - 1, row, end),
        "bomb-2.png": make_png(60_000, 60_000, row, end),
        "bomb-3.png": make_png(19_999, 19_999, row, end),
        "bomb-4.png": make_png(15_000, 15_000, row, end, depth=1),
        "bomb-5.png": make_png(9_459, 9_461, row, end, depth=16),
        "bomb-6.png": make_png(9_000, 9_000, row, end),
        "text-1.png": head + make_chunk(b"zTXt", b"note\0\0" + flood) + tail,
        "text-2.png": head + make_chunk(b"iTXt", b"note\0\1\0\0\0" + flood) + tail,
        "text-3.png": head + make_chunk(b"zTXt", b"note\0\0" + flood) * 3 + tail,
        "profile.png-bomb.png": head + make_chunk(b"iCCP", b"profile\0\0" + flood) + tail,
        "text-after.png": png[:-12] + make_chunk(b"zTXt", b"note\0\0" + flood) + end,
        "bomb-1.jpg": large_jpeg,
        "bomb-2.jpg": jpeg[:place] + struct.pack(">HH", 15_000, 15_000) + jpeg[place + 4 :],
        "scans.jpg": jpeg[:scan] + jpeg[scan:-2] * 600 + jpeg[-2:],
        "bomb-1.j2k": codestream[:8] + struct.pack(">II", 2**31, 2**31) + codestream[16:],
        "bomb-2.j2k": codestream[:8] + struct.pack(">II", 30_000, 9_000) + codestream[16:],
        "bomb.tif": tiff.replace(width, width[:8] + large).replace(height, height[:8] + large),
        "bomb.bmp": bmp[:18] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + bmp[26:],
        "bomb-2.bmp": bmp[:18] + struct.pack("<ii", 19_000, 19_000) + bmp[26:],
        "bomb.gif": gif[:6] + struct.pack("<HH", 65_535, 65_535) + gif[10:],
        "bomb.ppm": b"P6 999999 999999 255\n" + bytes(100),
        "bomb-2.ppm": b"P5 18000 18000 255\n" + bytes(100),
        "bomb.qoi": qoi[:4] + struct.pack(">II", 2**32 - 1, 2**32 - 1) + qoi[12:],
        "bomb.sgi": sgi[:6] + struct.pack(">HH", 65_535, 65_535) + sgi[10:],
        "bomb.webp": b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 12,
        "bomb-1.dcm": make_dicom(blank, Rows=65_535, Columns=65_535),
        "bomb-2.dcm": make_dicom(blank, Rows=19_000, Columns=19_000),
        "bomb-3.dcm": make_dicom(picture, syntax=JPEGBaseline8Bit, codestream=large_jpeg),
        "bomb-4.dcm": make_dicom(
            picture,
            syntax=JPEG2000Lossless,
            codestream=codestream[:8] + struct.pack(">II", 60_000, 60_000) + codestream[16:],
        ),
        "flood.dcm": deflated[:start] + piece * 80 + squeezer.flush(),
    }


def _find_dataset(content: bytes) -> int:
    """Return where a DICOM file's dataset starts, after the group that names the syntax."""
    return 144 + int(struct.unpack_from("<I", content, 140)[0])


def _make_odd_sizes(rng: np.random.Generator) -> dict[str, bytes]:
    sizes = ((1, 1), (4, 4), (7, 100), (100, 7), (8, 401), (401, 8), (8, 20_001), (401, 20_001))
    files = {}
    for height, width in sizes:
        blank = Image.fromarray(make_picture(rng, height, width))
        for kind in ("PNG", "TIFF", "BMP"):
            files[f"{height}x{width}.{kind.lower()}"] = write_image(blank, kind)
    for height, width in sizes[:5]:
        files[f"{height}x{width}.dcm"] = make_dicom(make_picture(rng, height, width))
    for height, width in sizes[1:6]:
        image = Image.fromarray(make_picture(rng, height, width))
        files[f"{height}x{width}.jpg"] = write_image(image, "JPEG")
        files[f"{height}x{width}.gif"] = write_image(image, "GIF")
    return files


def _make_endless_numbers(rng: np.random.Generator) -> dict[str, bytes]:
    files = {}
    for name, value in (("nan", np.nan), ("inf", np.inf), ("minus-inf", -np.inf)):
        values = make_picture(rng).astype(np.float32)
        values[3, 5] = value
        files[f"{name}.tif"] = write_float_tiff(values)
        files[f"{name}-all.tif"] = write_float_tiff(np.full_like(values, value))
        files[f"{name}.pfm"] = write_image(Image.fromarray(values), "PPM")
        files[f"{name}.dcm"] = _make_float_dicom(values)
    return files


def _damage_files(rng: np.random.Generator) -> dict[str, bytes]:
    png, jpeg, webp, gif = (
        write_image(Image.fromarray(make_picture(rng)), kind, **options)
        for kind, options in (("PNG", {}), ("JPEG", {}), ("WEBP", {"lossless": True}), ("GIF", {}))
    )
    tiff = write_image(Image.fromarray(make_picture(rng)), "TIFF", compression="tiff_adobe_deflate")
    middle = len(png) // 2
    data = png.index(b"IDAT")
    return {
        "checksum-header.png": png[:29] + bytes(4) + png[33:],
        "checksum-width.png": png[:19] + b"\x39" + png[20:],
        "flipped.png": png[:middle] + bytes([png[middle] ^ 0xFF]) + png[middle + 1 :],
        "no-pixels.png": png[: data - 4] + png[-12:],
        "line-ends.png": png.replace(b"\r\n", b"\n"),
        "as-text.png": png.decode("latin-1").encode("utf-8"),
        "as-text.jpg": jpeg.decode("latin-1").encode("utf-8"),
        "replaced.jpg": jpeg.decode("utf-8", "replace").encode("utf-8"),
        "replaced.png": png.decode("utf-8", "replace").encode("utf-8"),
        "seven-bits.png": bytes(byte & 0x7F for byte in png),
        "late-start.png": b"\0" + png,
        "late-start.jpg": b"\r\n" + jpeg,
        "no-start.jpg": jpeg[2:],
        "no-tables.jpg": jpeg[:2] + jpeg[jpeg.index(b"\xff\xc0") :],
        "no-scan.jpg": jpeg[: jpeg.index(b"\xff\xda")] + b"\xff\xd9",
        "zeroed.jpg": jpeg[: jpeg.index(b"\xff\xda")] + bytes(len(jpeg) - jpeg.index(b"\xff\xda")),
        "zeroed.png": png[:64] + bytes(len(png) - 64),
        "zeroed.webp": webp[:40] + bytes(len(webp) - 40),
        "zeroed.gif": gif[:13] + bytes(len(gif) - 13),
        "zeroed.tif": tiff[:8] + bytes(len(tiff) - 8),
        "offset.tif": tiff[:4] + b"\xff\xff\xff\x7f" + tiff[8:],
        "reversed.png": png[::-1],
        "halves-swapped.jpg": jpeg[len(jpeg) // 2 :] + jpeg[: len(jpeg) // 2],
    }


def _make_broken_dicoms(rng: np.random.Generator) -> dict[str, bytes]:
    def eight() -> np.ndarray:
        return make_picture(rng)

    picture = eight()
    plain = make_dicom(picture)
    jpeg = write_image(Image.fromarray(picture), "JPEG")
    small = write_image(Image.fromarray(make_picture(rng, 16, 16)), "JPEG")
    lossless = encode_with_gdcm(picture, JPEGLosslessSV1, 8)
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table.LUTData = bytes(100)
    colour = np.dstack([picture] * 3)
    return {
        "report.dcm": make_report(),
        "report.png": make_report(),
        "frames.dcm": make_dicom(picture, NumberOfFrames=12, PixelData=picture.tobytes() * 12),
        "frames-2.dcm": make_dicom(picture, NumberOfFrames=2),
        "frames-bad.dcm": make_dicom(picture, NumberOfFrames=-3, Rows=0),
        "no-start.dcm": plain[140:],
        "no-rows.dcm": make_dicom(picture, Rows=None),
        "no-columns.dcm": make_dicom(picture, Columns=None),
        "no-bits.dcm": make_dicom(picture, BitsAllocated=None),
        "no-interpretation.dcm": make_dicom(picture, PhotometricInterpretation=None),
        "zero-rows.dcm": make_dicom(picture, Rows=0),
        "no-pixels.dcm": make_dicom(picture, PixelData=b""),
        "few-pixels.dcm": make_dicom(picture, PixelData=picture.tobytes()[:-40]),
        "too-many-pixels.dcm": make_dicom(picture, PixelData=picture.tobytes() * 2),
        "more-rows.dcm": make_dicom(picture, Rows=HEIGHT + 1),
        "fewer-columns.dcm": make_dicom(picture, Columns=WIDTH // 2),
        "12-allocated.dcm": make_dicom(picture, BitsAllocated=12),
        "32-allocated.dcm": make_dicom(
            picture, BitsAllocated=32, PixelData=picture.astype("<u4").tobytes()
        ),
        "1-allocated.dcm": make_dicom(picture, BitsAllocated=1, BitsStored=1, HighBit=0),
        "stored-0.dcm": make_dicom(picture, BitsStored=0),
        "stored-60.dcm": make_dicom(picture, BitsStored=60),
        "two-samples.dcm": make_dicom(picture, SamplesPerPixel=2),
        "four-samples.dcm": make_dicom(picture, SamplesPerPixel=4),
        "unknown-colours.dcm": make_dicom(colour, PhotometricInterpretation="HSV"),
        "gray-as-colour.dcm": make_dicom(picture, PhotometricInterpretation="RGB"),
        "no-palette.dcm": make_dicom(picture, PhotometricInterpretation="PALETTE COLOR"),
        "flat-slope.dcm": make_dicom(picture, RescaleSlope=0, RescaleIntercept=5),
        "short-table.dcm": make_dicom(picture, VOILUTSequence=Sequence([table])),
        "short-modality.dcm": make_dicom(picture, ModalityLUTSequence=Sequence([table])),
        "unknown-syntax.dcm": plain.replace(b"10008.1.2.1\0", b"10008.9.9.9\0"),
        "film.dcm": make_dicom(picture, syntax=MPEG4HP41, codestream=bytes(500)),
        "raw-as-jpeg.dcm": make_dicom(
            picture, syntax=JPEGBaseline8Bit, codestream=picture.tobytes()
        ),
        "raw-as-rle.dcm": make_dicom(picture, syntax=RLELossless, codestream=picture.tobytes()),
        "other-size.dcm": make_dicom(picture, syntax=JPEGBaseline8Bit, codestream=small),
        "other-colours.dcm": make_dicom(colour, syntax=JPEGBaseline8Bit, codestream=jpeg),
        "half-jpeg.dcm": make_dicom(
            picture, syntax=JPEGBaseline8Bit, codestream=jpeg[: len(jpeg) // 2]
        ),
        "half-lossless.dcm": make_dicom(
            picture, syntax=JPEGLosslessSV1, codestream=lossless[: len(lossless) // 2]
        ),
        "empty-jpeg.dcm": make_dicom(picture, syntax=JPEGBaseline8Bit, codestream=bytes(2)),
        "12-bit-jpeg.dcm": make_dicom(
            picture,
            syntax=JPEGExtended12Bit,
            codestream=jpeg.replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc1\x00\x0b\x0c"),
        ),
        "noise-after.dcm": bytes(128) + b"DICM" + rng.bytes(2000),
        "text-after.dcm": bytes(128) + b"DICM" + b"patient,label\n1,normal\n" * 20,
        "zero-after-header.dcm": plain[:200] + bytes(len(plain) - 200),
        "deflate-broken.dcm": make_dicom(picture, syntax=DeflatedExplicitVRLittleEndian)[:420],
    }
