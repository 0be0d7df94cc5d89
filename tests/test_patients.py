"""Who is on an image: as columns say, as users say, or as paths suggest; never without a word."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corpus import make_dicom, make_picture

from osteo_ray.base.errors import InputError
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.columns import choose_columns
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.options import SourceOptions, check_pattern
from osteo_ray.data.sources.patient_forms import apply_pattern
from osteo_ray.data.sources.patients import know_patient
from osteo_ray.pipeline.compare.cohort import describe_reading, list_cohort
from osteo_ray.pipeline.ingest.blocks import decode_block, veil_patient
from osteo_ray.pipeline.ingest.findings import doubt_patients
from osteo_ray.pipeline.ingest.reading import _join_patients, _tabulate_rows


def open_files(root: Path, paths: list[str], **options: object) -> Source:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"any")
    return open_source(str(root), SourceOptions(**options))  # type: ignore[arg-type]


def open_table(root: Path, table: dict[str, list[object]], **options: object) -> Source:
    n = len(next(iter(table.values())))
    columns = {"path": [f"{row:03}.png" for row in range(n)], "label": (["a", "b"] * n)[:n]}
    pd.DataFrame({**columns, **table}).to_csv(root / "t.csv", index=False)
    return open_source(str(root / "t.csv"), SourceOptions(**options))  # type: ignore[arg-type]


def group(source: Source) -> set[frozenset[str]]:
    """Return the images of each patient."""
    known = source.items[source.items["patient_id"] != ""]
    return {frozenset(of_one) for _, of_one in known.groupby("patient_id")["path"]}


def tell(source: Source) -> str:
    return "\n".join((*source.notes, *source.doubts))


class TestColumns:
    @pytest.mark.parametrize(
        "name",
        [
            *("patient_id", "PatientID", "Patient ID", "patientId", "PATIENT-ID"),
            *("subject_id", "SubjectID", "Subject", "subject ID", "MRN", "case_id", "Pat_ID"),
            *("participant_id", "person_id", "Patient No.", "patient number", "USUBJID", "eid"),
            *("src_subject_id", "subjectkey", "f.eid", "Patient's ID", "Patients ID", "id_patient"),
            *("PatientName", "pt_no", "pt_id", "Study Subject ID"),
            *("Patient\u00a0ID", "\ufeffPatient ID", " patient id ", "medical_record_number"),
        ],
    )  # fmt: skip
    def test_usual_names(self, tmp_path: Path, name: str) -> None:
        source = open_table(tmp_path, {name: ["A", "A", "B", "C"]})
        assert source.items["patient_id"].tolist() == ["A", "A", "B", "C"]
        assert not source.guessed
        assert "Patients named by the source: 3, on 4 of 4 images; 2 share theirs" in tell(source)

    def test_other_columns_are_named(self, tmp_path: Path) -> None:
        source = open_table(tmp_path, {"bmi": [1, 2, 3, 4], "Knee Pain": list("wxyz")})
        assert "Columns not read: `bmi`, `Knee Pain`." in source.notes
        assert "Patients are not known" in tell(source)
        assert not group(source)

    def test_the_better_name_wins(self) -> None:
        columns = choose_columns(["MRN", "Patient ID", "image_path", "filename", "class"], {}, "x")
        assert columns.names == {"patient": "Patient ID", "path": "filename", "label": "class"}
        assert list(columns.unread) == ["MRN", "image_path"]

    @pytest.mark.parametrize(
        "name", ["referring_physician", "patient_age", "subject_line", "site_id", "name", "ptosis"]
    )
    def test_names_of_something_else(self, name: str) -> None:
        assert "patient" not in choose_columns([name], {}, "x").names

    def test_a_name_counts_only_where_no_identifier_does(self) -> None:
        columns = choose_columns(["Patient's Name", "case_id"], {}, "x")
        assert columns.names == {"patient": "case_id"}

    @pytest.mark.parametrize(
        "name", ["StudyID", "study_id", "Study Instance UID", "AccessionNumber"]
    )
    def test_a_study_is_not_a_patient_but_keeps_images_together(
        self, tmp_path: Path, name: str
    ) -> None:
        source = open_table(tmp_path, {name: [7, 7, 8, 8, 9, 10]})
        assert source.guessed
        assert len(group(source)) == 4
        (doubt,) = source.doubts
        assert f"the column `{name}` may name them: 4 on 6 of 6 images" in doubt
        assert f"write --columns patient='{name}'; if not, --patient-pattern none." in doubt
        both = open_table(tmp_path, {name: [7, 7, 8, 8, 9, 10], "patient": list("AAAABB")})
        assert (both.guessed, len(group(both))) == (False, 2)

    def test_a_column_is_accepted_as_a_column_though_paths_say_the_same(
        self, tmp_path: Path
    ) -> None:
        paths = [f"{k // 2}_{k}.png" for k in range(12)]
        source = open_table(tmp_path, {"path": [*paths], "ID": [k // 2 for k in range(12)]})
        assert "the column `ID` may name them: 6 on 12" in source.doubts[0]
        assert "write --columns patient='ID'; if not," in source.doubts[0]

    def test_a_study_of_which_all_are_a_part_joins_nothing(self, tmp_path: Path) -> None:
        source = open_table(tmp_path, {"study": ["OAI"] * 6})
        assert (source.guessed, group(source)) == (False, set())

    @pytest.mark.parametrize("cells", [["case", "control"], [0, 1]])
    def test_a_column_of_cases_and_controls_is_asked_about(
        self, tmp_path: Path, cells: list[object]
    ) -> None:
        (doubt,) = open_table(tmp_path, {"case": cells * 10}).doubts
        assert doubt.startswith("Only 2 patients are named, on 20 images, no more than there are")
        assert open_table(tmp_path, {"case": cells * 9}).doubts == ()
        assert open_table(tmp_path, {"case": [*cells, "P3"] * 10}).doubts == ()

    def test_a_bare_identifier_that_repeats_is_asked_about(self, tmp_path: Path) -> None:
        source = open_table(tmp_path, {"ID": [1, 1, 2, 2, 3, 3, 4, 4]})
        assert (source.guessed, len(group(source))) == (True, 4)
        assert "the column `ID` may name them" in tell(source)
        rows = open_table(tmp_path, {"ID": list(range(8))})
        assert (rows.guessed, group(rows)) == (False, set())

    def test_a_user_says_which_column(self, tmp_path: Path) -> None:
        table: dict[str, list[object]] = {"x": list("AABB"), "patient": list("CDEF")}
        source = open_table(tmp_path, table, columns={"patient": "x"})
        assert source.items["patient_id"].tolist() == list("AABB")
        none = open_table(tmp_path, table, columns={"patient": ""})
        assert not group(none)
        assert "Columns not read: `x`, `patient`." in none.notes


class TestUnknown:
    @pytest.mark.parametrize(
        "word",
        [
            *("NaN", "nan", "N/A", "n/a", "NA", "-", "--", "?", "unknown", "Unknown", "None"),
            *("null", "<NA>", "#N/A", "not known", "not_available", "."),
            *("Anonymous Patient", "anonymized^name", "Unknown_ID", "patient removed"),
            *("-1,0", "0,0", "9999,0"),
            *("(unknown)", "-1", "0", "0.0", "000000", "9999", "unbekannt", "невідомо", "[]"),
        ],
    )  # fmt: skip
    def test_words_for_nobody(self, tmp_path: Path, word: str) -> None:
        source = open_table(tmp_path, {"PatientID": ["P1", word, "P2", word, "P1", word]})
        assert source.items["patient_id"].tolist() == ["P1", "", "P2", "", "P1", ""]
        assert f"`{word}` (3) name nobody" in tell(source)

    def test_empty_cells(self, tmp_path: Path) -> None:
        source = open_table(tmp_path, {"patient": ["P1", None, "P1", " "]})
        assert source.items["patient_id"].tolist() == ["P1", "", "P1", ""]
        assert "empty for 2 images" in tell(source)

    @pytest.mark.parametrize(
        ("cells", "unknown"),
        [
            ([0, 0, 1, 1, 2, 2], set()),  # patients are counted from 0
            (["0,0", "0,0", "1,0", "1,0", "2,0", "2,0"], set()),
            ([0, 0, 0, 0, 1, 1, 2, 2], {0}),  # more often than anybody
            ([0, 0, 9000001, 9000001, 9000007, 9000009], {0}),
            ([999, 999, 1, 1, 2, 2], {999}),
            ([998, 999, 999, 1000, 1000, 1001], set()),
            ([-1, 0, 0, 1, 1, -1], {-1}),
            ([1234, 12, 13, 1234, 14, 15], {1234}),
        ],
    )
    def test_numbers_for_nobody(
        self, tmp_path: Path, cells: list[object], unknown: set[object]
    ) -> None:
        source = open_table(tmp_path, {"patient": list(cells)})
        expected = ["" if cell in unknown else str(cell) for cell in cells]
        assert source.items["patient_id"].tolist() == expected

    def test_spellings_of_a_patient(self, tmp_path: Path) -> None:
        cells = ["p-1", "P-1", " P-1", "17", "17.0", "17,0", "017"]
        source = open_table(tmp_path, {"patient": [*cells]})
        assert source.items["patient_id"].tolist() == ["p-1"] * 3 + ["17"] * 3 + ["017"]

    def test_headers(self) -> None:
        for name in ("Patient A", "Anonymous 7", "ANON1234", "Anna^Name"):
            assert know_patient(name) == name
        for name in (
            "Anonymous^Patient",
            "",
            "Anonymous",
            "0000",
            "UNKNOWN",
            "-",
            "N/A",
            "anonymized",
        ):
            assert know_patient(name) == ""
        assert know_patient("10") == "10"


def spread(form: str, n: int = 12, views: tuple[str, ...] = ("1", "2")) -> list[str]:
    """Return paths in two class folders; each of n patients has an image per view."""
    return [
        f"{('normal', 'worn')[k % 2]}/"
        + form.format(
            n=k,
            seven=9000001 + 7 * k,
            view=view,
            hash=f"{k * 7919 + 65537:x}",
            name=f"{['Anna', 'Jan', 'Eva'][k % 3]}_{chr(ord('A') + k // 3)}ert",
        )
        for k in range(n)
        for view in views
    ]


FORMS = {
    "oai": ("{seven}{view}.png", ("L", "R")),
    "oai images": ("{seven}_{view}.png", ("1", "2")),
    "biobank": ("{seven}_study1_{view}.png", ("1", "2")),
    "chexpert": ("patient{n:05}/study1/view{view}_frontal.jpg", ("1", "2")),
    "mura": ("XR_KNEE/patient{n:05}/study1_positive/image{view}.png", ("1", "2")),
    "nih": ("{n:08}_00{view}.png", ("0", "1", "2")),
    "spine": ("{n:04}-F-037Y{view}.jpg", ("0", "1")),
    "mimic": ("p10/p{seven}/s50414267/{view}.dcm", ("a", "b")),
    "kermany": ("person{n}_bacteria_{view}.jpeg", ("1", "2")),
    "oct": ("CNV-{seven}-{view}.jpeg", ("1", "2", "3")),
    "eyepacs": ("{n}_{view}.jpeg", ("left", "right")),
    "wrist": ("{n:04}_1297860395_0{view}_WRI-L1_M014.png", ("1", "2")),
    "bids": ("sub-{n:02}/ses-0{view}/anat/sub-{n:02}_ses-0{view}_xr.png", ("1", "2")),
    "ddsm": ("Mass-Training_P_{n:05}_LEFT_{view}.png", ("CC", "MLO")),
    "copies in parentheses": ("{n} ({view}).png", ("1", "2")),
    "side first": ("{view}_{seven}.png", ("L", "R")),
    "side after a word": ("knee{n}-{view}.png", ("left", "RIGHT")),
    "sides as folders": ("{view}/{n:03}.png", ("Left", "Right")),
    "views as folders": ("{view}/{seven}.dcm", ("AP", "LAT")),
    "letters": ("{seven}{view}.png", ("a", "b")),
    "folder of a number": ("{n:04}/image{view}.png", ("1", "2", "3")),
    "folder of a hash": ("{hash}/{view}.png", ("1", "2")),
    "word and number": ("knee_{n}_{view}.png", ("1", "2")),
    "second part": ("2{seven}{view}_{hash}9_MG_R_{view}_ANON.dcm", ("1", "2")),
    "side and visit": ("{seven}{view}.png", ("L_V00", "R_V00", "L_V01", "R_V01")),
    "side in a word and visit": ("{seven}{view}.png", ("left_0", "right_0", "left_1", "right_1")),
    "side and copies": ("{seven}{view}.png", ("L (1)", "R (1)", "L (2)", "R (2)")),
    "side and visit after words": ("OAI-{seven}{view}.png", ("L-0", "R-0", "L-1", "R-1")),
    "side between separators": ("Study {seven}-{view}.png", ("L-0", "R-0", "L-1", "R-1")),
    "side of a knee and visit": ("k{seven}_{view}.png", ("LKnee_0", "RKnee_0", "LKnee_1")),
    "side at once before the number": ("{view}{seven}.png", ("L", "R")),
    "side in a word before it": ("{view}{seven}.png", ("left", "right")),
    "side before number and visit": ("{view[0]}{seven}_{view[1]}.png", ("L0", "R0", "L1", "R1")),
    "name of a person": ("{name}_{view}.png", ("L", "R")),
    "name of a person, side in a word": ("{name} - {view} knee.png", ("left", "Right")),
    "versions beside their picture": ("{n}{view}.png", ("", "_aug1", "_aug2")),
    "versions named before": ("{view}{n}.png", ("", "rotated_", "flipped_")),
    "versions named before and after": ("{view[0]}{n}{view[1]}.png", (("", ""), ("aug_", "_1"))),
    "versions of a word and a number": ("knee_{n}{view}.png", ("", "_aug")),
    "copies beside their picture": ("Knee {n}{view}.png", ("", " (1)", " - Copy")),
    "versions by augmentor": ("x_original_IMG{n}.jpg_{view}e7fab12-{hash}.jpg", ("a", "b")),
    "short second part": ("KNEE_P{n:03}_{view}.png", ("V00_L", "V00_R", "V01_L", "V01_R")),
    "side before it": ("{view[0]}_P{n:03}_{view[1]}.png", ("L0", "R0", "L1", "R1")),
    "versions by roboflow": ("IMG_{n}_jpg.rf.{view}e7f{hash}.jpg", ("a", "b", "c")),
}


@pytest.mark.parametrize("name", FORMS)
def test_usual_forms_of_paths(tmp_path: Path, name: str) -> None:
    form, views = FORMS[name]
    paths = spread(form, views=views)
    source = open_files(tmp_path, paths)
    n = len(views)
    assert group(source) == {frozenset(paths[k : k + n]) for k in range(0, len(paths), n)}
    assert source.guessed
    (doubt,) = source.doubts
    assert f"12 on {12 * n} of {12 * n} images, at most {n} images each, 0 of them" in doubt
    assert doubt.endswith("if not, --patient-pattern none.")
    # What it says to write accepts the same, and the refusal refuses.
    pattern = doubt.partition("--patient-pattern '")[2].partition("'")[0]
    accepted = open_files(tmp_path, [], patient_pattern=pattern)
    assert (group(accepted), accepted.guessed, accepted.doubts) == (group(source), False, ())
    assert f"Patients by --patient-pattern '{pattern}': 12, on {12 * n}" in tell(accepted)
    refused = open_files(tmp_path, [], patient_pattern="none")
    assert (group(refused), refused.guessed, refused.doubts) == (set(), False, ())
    assert "Patients are not known: --patient-pattern none says so." in refused.notes


@pytest.mark.parametrize(
    "paths",
    [
        [f"{label}/{k}.png" for label in ("normal", "worn") for k in range(30)],  # counted anew
        [f"{label}/{label[0].upper()}{k}.jpg" for label in ("normal", "worn") for k in range(30)],
        [f"{label}/{label} {k}.jpg" for label in ("normal", "worn") for k in range(30)],
        [f"{label}/{j}_{k}.png" for j, label in enumerate(("n", "w")) for k in range(30)],  # class
        [f"{'nw'[k % 2]}/202401{k % 9 + 1:02}_{k:06}.png" for k in range(60)],  # days
        [f"{'nw'[k % 2]}/IMG_202401{k % 9 + 1:02}_{k:06}.png" for k in range(60)],
        [f"{'nw'[k % 2]}/{2015 + k % 9}/{k}.png" for k in range(60)],  # folders of years
        [f"{'nw'[k % 2]}/site{k % 4}/{k}.png" for k in range(60)],
        [f"img/{k % 5}/{k}.png" for k in range(60)],  # grades
        [f"train-{k % 8:05}-of-00008.parquet/{k}.png" for k in range(60)],
        [f"shard-{k % 8:06}.tar/{k}.png" for k in range(60)],
        [f"{'nw'[k % 2]}/{k % 3}/{k}.png" for k in range(200)],  # few folders with many images
        [f"{'nw'[k % 2]}/{k * 7919:x}.png" for k in range(60)],  # hashes
        [f"{'nw'[k % 2]}/scan_{k}.png" for k in range(60)],
        [f"{'nw'[k % 2]}/{k}_{'nw'[k % 2]}.png" for k in range(60)],  # nothing is shared
        [f"{label}/{label} {side}.png" for label in ("normal", "worn") for side in "LR"],
        [f"{'nw'[k % 2]}/{'abcdef'[k % 6] * (1 + k // 6)}l.png" for k in range(60)],
        [f"{'nw'[k % 2]}/{k}normal.png" for k in range(60)],  # an l at the end is no side
        [*(f"{c}/{k}.png" for c in "nw" for k in range(30)), "n/1_aug.png", "n/2_aug.png"],
    ],
)
def test_names_that_tell_no_patients(tmp_path: Path, paths: list[str]) -> None:
    source = open_files(tmp_path, paths)
    assert (group(source), source.guessed, source.doubts) == (set(), False, ())
    assert "Patients are not known: no column names them" in tell(source)


def test_the_coarser_form_wins(tmp_path: Path) -> None:
    paths = [f"{'nw'[k % 2]}/{k}_{v}_{s}.png" for k in range(9) for v in "12" for s in "LR"]
    assert {len(of_one) for of_one in group(open_files(tmp_path, paths))} == {4}


def test_a_word_in_few_names_does_not_hide_what_joins_more(tmp_path: Path) -> None:
    pairs = [f"{c}/{9000001 + k}{s}.png" for k in range(45) for c, s in (("n", "L"), ("w", "R"))]
    worded = [f"n/patient{k}_{v}.png" for k in range(5) for v in (1, 2)]
    found = group(open_files(tmp_path, [*pairs, *worded]))
    assert {frozenset(pairs[k : k + 2]) for k in range(0, 90, 2)} <= found


def test_a_word_in_most_names_counts_before_numbers_of_sites(tmp_path: Path) -> None:
    paths = [f"{'nw'[k % 2]}/site{k % 12:02}_case{k}_{v}.png" for k in range(48) for v in (1, 2)]
    found = group(open_files(tmp_path, [*paths, "n/x.png"]))
    assert found == {frozenset(paths[k : k + 2]) for k in range(0, 96, 2)}


@pytest.mark.parametrize(
    "form",
    ["{}{}_{}.png", "{}_{:02}/{}.png", "sub-{:.3}{:02}/ses-{}/x.png", "{}{:02}-1-{}.png"],
)
def test_controls_beside_patients_are_told_as_these_are(tmp_path: Path, form: str) -> None:
    people = [("a", "control", k) for k in range(12)] + [("b", "patient", k) for k in range(18)]
    paths = [f"{c}/{form.format(word, k, s)}" for c, word, k in people for s in "LR"]
    found = group(open_files(tmp_path, paths))
    assert found == {frozenset(paths[k : k + 2]) for k in range(0, 60, 2)}


def test_patients_in_several_classes_are_counted(tmp_path: Path) -> None:
    paths = [f"{c}/{9000001 + k}{s}.png" for k in range(8) for c, s in (("0", "L"), ("1", "R"))]
    assert "8 of them in several classes; 16 images share" in tell(open_files(tmp_path, paths))


def test_paths_do_not_count_beside_a_column(tmp_path: Path) -> None:
    rows = [f"{k}{s}.png" for k in range(8) for s in "LR"]
    table = {"path": rows, "label": ["a", "b"] * 8, "patient": [f"P{k}" for k in range(16)]}
    source = open_table(tmp_path, table)  # type: ignore[arg-type]
    assert (source.guessed, len(group(source))) == (False, 16)
    given = open_table(tmp_path, table, patient_pattern="([0-9]+)[LR]")  # type: ignore[arg-type]
    assert (given.guessed, len(group(given))) == (False, 8)
    assert "It replaces the column of patients." in tell(given)
    unknown = open_table(tmp_path, {**table, "patient": ["unknown"] * 16})  # type: ignore[arg-type]
    assert (unknown.guessed, len(group(unknown))) == (True, 8)


def test_halves_and_slices_are_of_one_patient_whoever_is_named() -> None:
    patients = ["A", "", "", "B", "", "", "C", "D", "E"]
    people = ["", "1", "1", "2", "2", "", "3", "3", ""]
    found = _join_patients(pd.Series(patients), pd.Series(people))
    # The cell of one row is empty, as where cells of a sheet are merged; those of `3` contradict.
    assert found == ["A", "1", "1", "B", "B", "", "C", "C", "E"]
    assert _join_patients(pd.Series([], dtype=str), pd.Series([], dtype=str)) == []


class TestHeaders:
    """What paths suggest counts only where a DICOM header names nobody."""

    def read(self, folder: Path, headers: list[str], **options: object) -> list[str]:
        rng = np.random.default_rng(0)
        for number, name in enumerate(headers):
            path = folder / f"{'nw'[number % 2]}/{number // 2:03}_{number % 2}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make_dicom(make_picture(rng), PatientID=name))
        source = open_source(str(folder), SourceOptions(**options))  # type: ignore[arg-type]
        batch = _tabulate_rows(source, b"k", b"own").to_pydict()
        columns = {name: np.asarray(cells, object) for name, cells in batch.items()}
        named = {"reader": source.reader, "key": b"k", "own_key": b"own", "pixels": None}
        named |= {"image_size": None}
        named |= {"laterality": "whole", "bits": 8}
        table = decode_block(columns, **named).to_pandas()  # type: ignore[arg-type]
        assert set(table["failure"].fillna("")) == {""}
        found = dict(zip(table["path"], table["patient"], strict=True))
        return [
            found[f"{'nw'[number % 2]}/{number // 2:03}_{number % 2}.dcm"]
            for number in range(len(headers))
        ]

    def test_headers_count_before_paths(self, tmp_path: Path) -> None:
        headers = ["A", "A", "A", "", "Anonymous", "0", "-", "B"]
        found = self.read(tmp_path, headers)
        wanted = ["A", "A", "A", "001", "002", "002", "003", "B"]
        # Who is only suggested equals nobody in another set: another key veils them.
        keys = [b"k" if name.isalpha() else b"own" for name in wanted]
        assert found == [veil_patient(*one) for one in zip(wanted, keys, strict=True)]

    def test_a_user_counts_before_headers(self, tmp_path: Path) -> None:
        found = self.read(tmp_path, list("ABABAB"), patient_pattern=r"(\d+)_")
        assert found == [veil_patient(f"00{k // 2}", b"k") for k in range(6)]
        none = self.read(tmp_path, list("ABABAB"), patient_pattern="none")
        assert none == [veil_patient(name, b"k") for name in "ABABAB"]

    def test_spellings_of_a_header(self, tmp_path: Path) -> None:
        found = self.read(tmp_path, ["AB12", "ab12", " Ab12", "17.0", "17", "017"])
        assert found == [veil_patient(name, b"k") for name in ("ab12",) * 3 + ("17", "17", "017")]
        assert len(set(found)) == 3

    def test_they_are_mentioned(self, tmp_path: Path) -> None:
        paths = [f"{'nw'[k % 2]}/{k}.dcm" for k in range(6)]
        assert "; headers of DICOM files may name them." in tell(open_files(tmp_path, paths))


def test_spellings_of_a_patient_in_two_sets(tmp_path: Path) -> None:
    found = []
    for folder, cells in (("a", ["17", "18", "P-7", "19"]), ("b", ["17.0", "18.0", "p-7", ""])):
        (tmp_path / folder).mkdir()
        source = open_table(tmp_path / folder, {"patient": cells})  # type: ignore[dict-item]
        assert source.items["patient_id"].tolist() == cells  # as they are spelled
        found.append(_tabulate_rows(source, b"k", folder.encode())["patient"].to_pylist())
    assert found[0][:3] == found[1][:3]
    assert (len(set(found[0])), found[1][3]) == (4, "")


def test_spellings_of_a_patient_in_paths(tmp_path: Path) -> None:
    paths = [f"{'nw'[k % 2]}/{k}{v}_{w}.png" for k in range(6) for w, v in enumerate("HHh")]
    asked = open_files(tmp_path, paths)
    given = open_files(tmp_path, [], patient_pattern=r"/([^/_]+)_")
    for source in (asked, given):
        assert len(group(source)) == 6
    assert "Patients by --patient-pattern '/([^/_]+)_': 6, on 18 of 18 images" in tell(given)


def test_what_is_assumed_is_a_finding_and_said_before_training(tmp_path: Path) -> None:
    paths = [f"{'nw'[k % 2]}/{k}_{v}.png" for k in range(6) for v in (1, 2)]
    source = open_files(tmp_path, paths)
    lines = describe_reading(source, source)
    assert [line.partition(": ")[0] for line in lines] == ["--data", "--test-data"]
    assert all("No patients are named, but a number at the beginning" in line for line in lines)
    assert describe_reading(PhantomSettings()) == []


def test_guesses_of_two_sets_are_never_compared(tmp_path: Path) -> None:
    names = [f"{'nw'[k % 2]}/{k}_{v}.png" for k in range(6) for v in (1, 2)]
    for folder in ("one", "other"):
        open_files(tmp_path / folder, names)
    for pattern, n_shared in ((None, 0), ("([0-9]+)_", 6)):
        config = CompareConfig(
            data=str(tmp_path / "one"), test_data=str(tmp_path / "other"), patient_pattern=pattern
        )
        known = open_source(config.data, config.source_options)
        cohort = list_cohort(config, known)
        assert cohort is not None
        veiled = [
            {*rows["patient"].to_pylist(), *rows["suggested"].to_pylist()} - {""}
            for rows in (_tabulate_rows(known, b"k", b"1"), _tabulate_rows(cohort, b"k", b"2"))
        ]
        assert [len(one) for one in veiled] == [6, 6]
        assert len(veiled[0] & veiled[1]) == n_shared


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ([12] + [2] * 20, True),
        ([12] + [3] * 20, False),  # four times as many
        ([9] + [1] * 20, False),  # too few to tell
        ([12] + [1] * 300, False),  # hardly any of the images
        ([40, 2], False),
    ],
)
def test_a_patient_with_far_too_many_images(sizes: list[int], found: bool) -> None:
    patients = pd.Series(np.repeat(np.arange(len(sizes)), sizes))
    said = doubt_patients(patients)
    assert bool(said) == found
    if found:
        assert said[0].startswith("12 of 52 images are said to be of one patient, who usually ")


class TestPatterns:
    def test_groups_are_joined_and_a_named_one_counts_alone(self) -> None:
        paths = ["a/x1-7.png", "b/y2.png"]
        assert apply_pattern(r"([a-z])(\d)", paths) == ["x/1", "y/2"]
        assert apply_pattern(r"([a-z])(?P<patient>\d)", paths) == ["1", "2"]
        assert apply_pattern(r"x\d", paths) == ["x1", ""]

    @pytest.mark.parametrize(
        ("pattern", "words"),
        [(r"case(\d+)", "matches none of them"), (r"^(kn)", "gives all that it matches one")],
    )
    def test_patterns_that_do_not_fit(self, tmp_path: Path, pattern: str, words: str) -> None:
        with pytest.raises(InputError) as caught:
            open_files(tmp_path, ["kn1/1.png", "kn2/2.png"], patient_pattern=pattern)
        message = str(caught.value)
        assert message.startswith(f"Expected --patient-pattern '{pattern}' to tell the patients")
        assert words in message
        assert "such as `kn1/1.png`" in message
        assert message.endswith("or write --patient-pattern none.")

    @pytest.mark.parametrize(
        ("pattern", "words"), [("(", "a regular expression such as"), ("", "matches none at all")]
    )
    def test_patterns_that_are_none(self, pattern: str, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            check_pattern(pattern)
