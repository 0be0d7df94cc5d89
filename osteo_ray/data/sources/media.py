"""DICOM media, as disks of hospitals are: a file DICOMDIR that lists patients and images."""

import io
from collections.abc import Iterator
from typing import Any

from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import split_uri
from osteo_ray.data.sources.listing import Source, list_refused, tabulate_items
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.readers import FileReader, open_input
from osteo_ray.data.sources.unreadable import expecting

DICOMDIR = "dicomdir"


def open_media(uri: str, options: SourceOptions, *, labels_needed: bool) -> Source:
    """List the images that a DICOMDIR names, with their patients.

    Args:
        uri: The file DICOMDIR.
        options: What the user says; a DICOMDIR has no columns.
        labels_needed: Whether classes are needed, of which a DICOMDIR knows none.

    Raises:
        InputError: The file cannot be read, or classes are needed.
    """
    # Imported here: importing pydicom takes a second, and most data sets hold no DICOM file.
    import pydicom

    # What pydicom raises of a damaged file has no narrower base.
    advice = "Copy the disk again, or give the folder of its images."
    with expecting("a DICOMDIR", uri, advice, (Exception,)), open_input(uri) as file:
        header = pydicom.dcmread(io.BytesIO(file.read()))
        rows = list(_list_images(header.DirectoryRecordSequence))
    if labels_needed:
        example = rows[0]["path"] if rows else "DICOM/IM00001"
        patients = len({row["patient_id"] for row in rows} - {""})
        raise InputError(
            f"Expected the class of each image, but {uri} lists {len(rows)} images of {patients} "
            "patients and no classes. Write a table beside it with the columns path (such as "
            f"{example}) and label, and give that as --data."
        )
    place, query = split_uri(uri)
    root = (place.rpartition("/")[0] or "/") + query
    return Source(uri, "list", tabulate_items(rows), list_refused([]), FileReader(root))


def _list_images(records: Any) -> Iterator[dict[str, Any]]:
    """Go through the records, each of which belongs to the latest patient before it."""
    patient = ""
    for record in records:
        if record.DirectoryRecordType == "PATIENT":
            patient = str(record.get("PatientID") or "")
        named = record.get("ReferencedFileID")
        if record.DirectoryRecordType == "IMAGE" and named:
            parts = [named] if isinstance(named, str) else named
            yield {"path": "/".join(map(str, parts)), "label": "", "patient_id": patient}
