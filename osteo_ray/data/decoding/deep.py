"""Decode files with several channels of more than 8 bits, which Pillow would cut to 8 bits."""

import re

import cv2
import numpy as np
from PIL import Image, ImageOps

from osteo_ray.data.decoding.grays import mix_channels
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.decoding.signatures import read_jpeg2000_size
from osteo_ray.data.pixels import Bits

EXIF_ORIENTATION = 0x0112
_PNG_DEPTH_AT = 24
_NETPBM_MAXIMUM = re.compile(
    rb"P[36]\s(?:\s|#[^\n]*\n)*\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d+)"
)
_SGI_BYTES_AT = 3


def find_depth(content: bytes, name: str) -> int:
    """Return the bits of a channel of an image file, as far as Pillow would hide them; else 8.

    Args:
        content: The file.
        name: Its format, as Pillow calls it.
    """
    if name == "PNG":
        return content[_PNG_DEPTH_AT]
    if name == "JPEG2000":
        return read_jpeg2000_size(content)[3]
    if name == "PPM":
        found = _NETPBM_MAXIMUM.match(content)
        return int(found[1]).bit_length() if found else 8
    if name == "SGI":
        return 8 * content[_SGI_BYTES_AT]
    if name == "AVIF":
        place = content.find(b"av1C") + 6
        return 10 if place > 6 and content[place] & 0x40 else 8  # or 12
    return 8


def decode_deep(content: bytes, name: str, bits: Bits = 8) -> tuple[np.ndarray, str]:
    """Decode a file with more than 8 bits; return gray of so many bits, and its mode.

    The caller has seen to it that the file is whole, since OpenCV makes do with a part of one.

    Raises:
        UnreadableImageError: The file is of a kind that is not supported.
    """
    if name == "SGI":
        raise UnreadableImageError("an SGI file of 16 bits, which is not supported; save it as PNG")
    samples = decode_with_opencv(content)
    colours = min(samples.shape[2], 3)
    opacity = samples[..., 3] if samples.shape[2] == 4 else None
    gray = mix_channels(samples[..., :colours], opacity, bits)
    return gray, f"{samples.dtype}x{samples.shape[2]}"


def decode_with_opencv(content: bytes) -> np.ndarray:
    """Decode an image file as it is stored: (height, width, channels); red, green, blue, opacity.

    Raises:
        UnreadableImageError: OpenCV cannot decode it.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    samples = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None:
        raise UnreadableImageError("damaged, or stored in a way that is not supported")
    samples = samples.reshape(*samples.shape[:2], -1)
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(samples.shape[2])
    if order is None:
        raise UnreadableImageError(f"{samples.shape[2]} channels; expected gray or RGB")
    return np.asarray(samples[..., order])


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn gray pixels, (height, width), as an EXIF orientation, 1 to 8, asks."""
    if orientation == 1:
        return pixels
    image = Image.fromarray(pixels)
    image.getexif()[EXIF_ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))
