"""Decode whatever a reader has fetched: its content, not its name, says what it is."""

import numpy as np

from osteo_ray.data.decoding.arrays import convert_array
from osteo_ray.data.decoding.images import decode_image
from osteo_ray.data.decoding.nifti import decode_nifti, is_nifti
from osteo_ray.data.decoding.result import Decoded, UnreadableImageError
from osteo_ray.data.decoding.signatures import is_dicom
from osteo_ray.data.pixels import Bits


def decode(content: bytes | np.ndarray, bits: Bits = 8, number: int | None = None) -> Decoded:
    """Decode the bytes of a file, or an array, into a grayscale image.

    Args:
        content: The bytes or the array.
        bits: Of the gray values.
        number: Number of the slice of a volume, from 0; None for an image.

    Raises:
        UnreadableImageError: The content is no usable image.
    """
    if isinstance(content, bytes) and is_nifti(content):
        return decode_nifti(content, number, bits)
    if number is not None:
        raise UnreadableImageError("has a slice in its row, but is no NIfTI volume")
    if isinstance(content, np.ndarray):
        return convert_array(content, bits)
    if not is_dicom(content):
        return decode_image(content, bits)
    # Imported here: importing pydicom takes a second, and most data sets hold no DICOM file.
    from osteo_ray.data.decoding.dicom import decode_dicom

    return decode_dicom(content, bits)
