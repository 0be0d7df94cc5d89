"""What decoding ends in: an image, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


class UnreadableImageError(Exception):
    """The file holds no usable image; the message becomes the reason in the rejects table."""


@dataclass(frozen=True)
class Decoded:
    """A decoded image, and what its file says about it.

    Attributes:
        pixels: uint8 or uint16, as was asked for; (height, width); upright.
        format: Format of the file: "PNG", "JPEG", "TIFF", "DICOM", "ARRAY" and so on.
        mode: How the file stores its pixels: Pillow's mode ("RGB", "L", "I;16"); for DICOM, the
            photometric interpretation and the bits stored ("MONOCHROME2/12"); for an array, its
            type and its number of channels ("uint16x1").
        patient_id: Patient's identifier from a DICOM header. It stays in memory, where it keeps
            the images of a patient together; never store it.
        side: Side of the body from a DICOM header: "L" or "R".
        left_edge: Side of the body towards which the left edge of the image lies, from a DICOM
            header: "L" or "R".
        institution: Name of the institution from a DICOM header. It stays in memory; tables number
            institutions.
        attributes: What a DICOM header says of device, view and person, by name: maker, device,
            view, age, sex, as far as it does. It stays in memory, and tables count it.
        remarks: What is to be known of the file though it can be read, as an audit counts it: a
            sentence each without its end, and without anything that the file says of a person.
    """

    pixels: np.ndarray
    format: str
    mode: str
    patient_id: str | None = None
    side: str | None = None
    left_edge: str | None = None
    institution: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
