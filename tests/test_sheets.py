"""Tables in spreadsheets, and DICOM media: what is read, and what is refused with what to do."""

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import make_dicom, make_picture
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from osteo_ray.base.errors import InputError
from osteo_ray.data.decoding.content import decode
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.options import SourceOptions


def refuse(data: Path, *words: str, options: SourceOptions = SourceOptions()) -> str:
    with pytest.raises(InputError) as caught:
        open_source(str(data), options)
    message = str(caught.value)
    for word in ("Expected ", ", but", data.name, *words):
        assert word in message
    assert message.endswith(".")
    return message


# Spreadsheets

Sheets = dict[str, list[list[Any]]]
HEAD = ["path", "label", "Patient ID", "age"]
ROWS = [HEAD, ["1.png", 0, 17, 61.5], ["2.png", 1, None, None], ["3.png", "NA", "A-3", 70]]


def write_book(path: Path, sheets: Sheets) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    return path


def test_a_sheet_lists_images(tmp_path: Path) -> None:
    source = open_source(str(write_book(tmp_path / "knees.xlsx", {"Sheet1": ROWS})))
    assert source.kind == "manifest"
    found = source.items[["path", "label", "patient_id"]].to_numpy().tolist()
    assert found == [["1.png", "0", "17"], ["2.png", "1", ""]]
    assert source.refused.to_numpy().tolist() == [["3.png", "no label"]]
    assert source.attributes["age"] == {"1.png": "61.5", "2.png": ""}


def test_of_several_sheets_the_one_with_images_counts(tmp_path: Path) -> None:
    notes = [["What this is"], ["The knees of 2024"]]
    path = write_book(tmp_path / "k.xlsx", {"Read me": notes, "knees": ROWS, "old": ROWS[:2]})
    source = open_source(str(path))
    assert len(source.items) == 2
    assert "Sheet `knees` is read; not read: `Read me`, `old`." in source.notes


def test_columns_may_be_named_in_sheets_too(tmp_path: Path) -> None:
    rows = [["Bild", "Diagnose"], ["1.png", "normal"], ["2.png", "worn"]]
    path = write_book(tmp_path / "k.xlsx", {"a": [["x"]], "b": rows})
    options = SourceOptions({"path": "Bild", "label": "Diagnose"})
    assert open_source(str(path), options).items["label"].tolist() == ["normal", "worn"]
    refuse(path, "the columns found are: x", "--columns path=")


def test_a_workbook_in_a_folder_lists_its_images(tmp_path: Path) -> None:
    write_book(tmp_path / "set" / "metadata.xlsx", {"a": ROWS})
    for number in (1, 2, 3):
        (tmp_path / "set" / f"{number}.png").write_bytes(b"any")
    assert open_source(str(tmp_path / "set")).items["label"].tolist() == ["0", "1"]


def test_damaged_workbooks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"no workbook")
    refuse(tmp_path / "a.xlsx", "a workbook", "protected by a password", "save the sheet")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "b")
    (tmp_path / "b.xlsx").write_bytes(file.getvalue())
    refuse(tmp_path / "b.xlsx", "a workbook (.xlsx)", "Correct the workbook")


def test_without_openpyxl_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with zipfile.ZipFile(tmp_path / "k.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    refuse(tmp_path / "k.xlsx", "openpyxl", "Install osteo-ray[xlsx]", "as CSV")


# DICOM media


def write_media(root: Path) -> Path:
    """Write three images of two patients, and a directory of them as pydicom writes it."""
    records = []
    for patient, image in (("P-1", 1), ("P-1", 2), ("P-2", 3)):
        name = ("DICOM", f"IM{image:05}")
        (root / name[0]).mkdir(parents=True, exist_ok=True)
        picture = make_picture(np.random.default_rng(image))
        (root / name[0] / name[1]).write_bytes(make_dicom(picture, PatientID=patient))
        if image != 2:
            record = Dataset()
            record.DirectoryRecordType, record.PatientID = "PATIENT", patient
            records.append(record)
        for kind in ("STUDY", "SERIES", "IMAGE"):
            record = Dataset()
            record.DirectoryRecordType = kind
            if kind == "IMAGE":
                record.ReferencedFileID = list(name)
            records.append(record)
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    directory.DirectoryRecordSequence = records
    directory.save_as(root / "DICOMDIR", enforce_file_format=True)
    return root / "DICOMDIR"


def test_media_list_images_and_patients(tmp_path: Path) -> None:
    source = open_source(str(write_media(tmp_path)), labels_needed=False)
    assert source.items[["path", "patient_id"]].to_numpy().tolist() == [
        ["DICOM/IM00001", "P-1"],
        ["DICOM/IM00002", "P-1"],
        ["DICOM/IM00003", "P-2"],
    ]
    assert decode(source.reader.read("DICOM/IM00003", -1)).patient_id == "P-2"


def test_media_have_no_classes_and_a_table_gives_them(tmp_path: Path) -> None:
    said = refuse(write_media(tmp_path), "the class of each image", "3 images of 2 patients")
    assert "columns path (such as DICOM/IM00001) and label" in said
    rows = "path,label\nDICOM/IM00001,normal\nDICOM/IM00002,worn\nDICOM/IM00003,worn\n"
    (tmp_path / "labels.csv").write_text(rows)
    assert len(open_source(str(tmp_path / "labels.csv")).items) == 3


def test_media_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "DICOMDIR").write_bytes(b"no directory")
    refuse(tmp_path / "DICOMDIR", "a DICOMDIR", "Copy the disk again")


def test_volumes_are_refused_by_name_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label\n1.png,a\n2.nrrd,b\n3.png,b\n")
    source = open_source(str(tmp_path / "m.csv"))
    ((path, reason),) = source.refused.to_numpy().tolist()
    assert path == "2.nrrd"
    assert "a volume, not an image; save it as .nii.gz, or export the slices" in reason
