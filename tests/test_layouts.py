"""Layouts as people have them: each is a small set of files, with what must be made of it."""

import unicodedata
from pathlib import Path

import pytest

from osteo_ray.base.errors import InputError
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.sources.classes import doubt_classes, join_spellings
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.layouts import read_folders
from osteo_ray.data.sources.masks_beside import leave_out_masks
from osteo_ray.data.sources.parts import tell_parts_of_paths
from osteo_ray.data.sources.words import is_sentinel, names_masks, read_split, says_no_class
from osteo_ray.pipeline.compare.cohort import list_cohort

T, V, S = "train", "validation", "test"


def put(root: Path, *paths: str, content: bytes = b"any") -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def lay(*paths: str) -> list[tuple[str, str, str]]:
    """Return path, class and part of each image, as its folders tell."""
    files, _ = leave_out_masks([(path, 1) for path in sorted(paths)])
    rows = read_folders(files, "knees").rows
    return sorted((row["path"], row["label"], row["split"]) for row in rows)


def tell(root: Path) -> str:
    source = open_source(str(root))
    return "\n".join((*source.notes, *source.doubts))


@pytest.mark.parametrize(
    ("names", "split"),
    [
        ("train Training TRAIN train_set TrainingSet Train-Images imagesTr train_data train1", T),
        ("trn X_train train2024 trainset.v2 1_train knee_train", None),
        ("val valid validation Validation_Set imagesVal dev dev_set tuning internal-validation", V),
        ("test Testing TestSet imagesTs test1 test_2 hold-out Holdout held_out hidden_test", S),
        ("trainset traindata trainimages", T),
        ("valset devset", V),
        ("testset testdata test_imgs", S),
        ("external_validation external_test private_test PublicTest testA unseen", S),
        ("normal osteoporosis tr va test_positive trainee latest contest valve image set", ""),
        ("control tested_positive validity developer train_test images data 1 left ts", ""),
    ],
)  # fmt: skip
def test_words_of_parts(names: str, split: str | None) -> None:
    found = {name: read_split(name) for name in names.split()}
    if split is None:  # what is train beyond doubt, and what has a word too many
        assert found == {
            "trn": T, "X_train": T, "train2024": T, "trainset.v2": T, "1_train": T,
            "knee_train": "",
        }  # fmt: skip
    else:
        assert set(found.values()) == {split}, found


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        ("knee-train-0.tar knee-train-1.tar knee-eval-0.tar", (T, T, S)),
        ("a/knee_train.csv a/knee_val.csv b/test/knee.csv", ("", "", S)),  # that one is named alone
        ("knee_train.csv knee.csv", ("", "")),
        ("knee_train.csv", ("",)),
        ("normal_train.csv worn_test.csv", ("", "")),  # classes, too
        ("", ()),
    ],
)
def test_parts_are_what_tells_names_apart(names: str, parts: tuple[str, ...]) -> None:
    assert tuple(tell_parts_of_paths(names.split()).values()) == parts


@pytest.mark.parametrize(
    ("tops", "splits"),
    [
        (("train", "val", "holdout"), (T, V, S)),
        (("Training Set", "Testing Set"), (T, S)),
        (("train_set", "valid_set"), (T, V)),
        (("imagesTr", "imagesTs"), (T, S)),
        (("train", "dev", "test1"), (T, V, S)),
        (("train", "eval"), (T, S)),
        (("train", "eval", "test"), (T, V, S)),
        (("TRAIN",), (T,)),
        (("Tr", "Ts"), (T, S)),
        (("train", "train_augmented", "Independent"), (T, T, S)),
    ],
)
def test_folders_of_parts(tops: tuple[str, ...], splits: tuple[str, ...]) -> None:
    paths = [f"{top}/{label}/1.png" for top in tops for label in ("normal", "worn")]
    expected = {
        (f"{top}/{label}/1.png", label, split)
        for top, split in zip(tops, splits, strict=True)
        for label in ("normal", "worn")
    }
    assert set(lay(*paths)) == expected
    for folder in ("masks", "labelsTr", "segmentations"):  # beside them, it is no class
        assert set(lay(*paths, f"{folder}/1.png", f"{folder}/normal/2.png")) == expected
    assert {row[1:] for row in lay(*(f"knee data/{path}" for path in paths))} == {
        row[1:] for row in expected
    }
    inner = [path.replace("/", "/images/", 1) for path in paths]
    assert {row[1:] for row in lay(*inner)} == {row[1:] for row in expected}
    below = {
        (f"{label}/{top}/1.png", label, split)
        for top, split in zip(tops, splits, strict=True)
        for label in ("normal", "worn")
    }
    if len(tops) > 1:
        assert set(lay(*(row[0] for row in below))) == below


@pytest.mark.parametrize(
    ("paths", "rows"),
    [
        (("train/train/A/1.png", "test/test/B/2.png"), [("B", S), ("A", T)]),
        (("Training Set/train/A/1.png", "test_set/test_set/B/2.png"), [("A", T), ("B", S)]),
        (("train/train/A/1.png", "test/B/2.png"), [("B", S), ("A", T)]),
        (("x data/train/train/A/1.png", "x data/eval/eval/B/2.png"), [("B", S), ("A", T)]),
        (
            ("train/train/images/A/1.png", "test/test/images/B/2.png"),
            [("B", S), ("A", T)],
        ),
    ],
)
def test_parts_within_themselves(paths: tuple[str, ...], rows: list[tuple[str, str]]) -> None:
    assert [row[1:] for row in lay(*paths)] == rows


def test_class_and_part_in_one_name() -> None:
    paths = ("train_normal/1.png", "train_worn/2.png", "test_normal/3.png", "test_worn/4.png")
    assert [row[1:] for row in lay(*paths)] == [
        ("normal", S), ("worn", S), ("normal", T), ("worn", T)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (("train/1.png", "test/2.png"), ("hold no class folders", "`test` (test)", "PART/CLASS/")),
        (("imagesTr/1.png", "imagesTs/2.png", "labelsTr/1.png"), ("hold no class folders",)),
        (("train/images/1.png", "val/images/2.png", "train/labels/1.txt"), ("no class folders",)),
        (("train/a/1.png", "other/b/2.png"), ("`train` names a part (train)", "`other` none")),
        (("normal/1.png", "worn/2.png", "test/3.png"), ("`test` names a part (test)",)),
        (("train/train/1.png", "test/test/2.png"), ("hold no class folders", "PART/CLASS/")),
        (("train/test/1.png", "train/val/2.png"), ("name parts of a split", "PART/CLASS/")),
        (
            ("train/a/1.png", "train/b/2.png", "train/val/a/3.png", "test/a/4.png"),
            ("`val` names a part (validation) within another", "PART/CLASS/"),
        ),
        (("fold1/a/1.png", "fold2/a/2.png"), ("named as folds: `fold1`, `fold2`",)),
    ],
)
def test_parts_that_are_no_classes_are_refused(tmp_path: Path, paths, words) -> None:
    with pytest.raises(InputError) as caught:
        open_source(str(put(tmp_path, *paths)))
    message = str(caught.value)
    assert message.startswith("Expected ")
    assert str(tmp_path) in message
    for word in words:
        assert word in message


def test_what_lies_beside_parts_is_refused_with_a_reason(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png", "extra/4.png", "docs/x.pdf")
    source = open_source(str(tmp_path))
    assert dict(source.refused.to_numpy().tolist()) == {
        "extra/4.png": "beside the folders of parts (`test`, `train`), so in none of them"
    }
    assert "The folder `docs` holds no images and is passed over." in source.notes


@pytest.mark.parametrize("folder", ["segmented", "old", "Augmented"])
def test_a_folder_that_repeats_the_classes_beside_it_is_none(tmp_path: Path, folder: str) -> None:
    put(tmp_path, "normal/1.png", "worn/2.png", "worn/left/3.png", f"{folder}/Normal/1.png")
    put(tmp_path, f"{folder}/worn/IM2")
    source = open_source(str(tmp_path))
    assert source.items["label"].tolist() == ["normal", "worn", "worn"]
    reason = f"in `{folder}`, which repeats the classes beside it, so in none of them"
    assert dict(source.refused.to_numpy().tolist()) == {
        f"{folder}/Normal/1.png": reason, f"{folder}/worn/IM2": reason
    }  # fmt: skip


@pytest.mark.parametrize("folder", ["images", "test_images", "Test Data"])
def test_images_of_a_part_without_classes_are_refused(tmp_path: Path, folder: str) -> None:
    put(tmp_path, *(f"{part}/{c}/1.png" for part in ("train", "val") for c in "nw"))
    put(tmp_path, f"test/{folder}/1.png")
    source = open_source(str(tmp_path))
    assert set(source.items["label"]) == {"n", "w"}
    assert source.refused.to_numpy().tolist() == [[f"test/{folder}/1.png", "not in a class folder"]]


def test_classes_that_are_called_images_of_something(tmp_path: Path) -> None:
    names = ("Normal images", "Osteoporosis images")
    put(tmp_path, *(f"{part}/{name}/1.png" for part in ("train", "test") for name in names))
    assert open_source(str(tmp_path)).items["label"].tolist() == [*names, *names]


def test_annotations_beside_images_without_classes(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "1.txt", "p1/IM1", "p1/IM1.json", "p1/2.dcm", "p1/2.xml", "p1/notes.txt")
    source = open_source(str(tmp_path), labels_needed=False)
    assert source.items["path"].tolist() == ["1.png", "p1/2.dcm", "p1/IM1", "p1/notes.txt"]
    assert source.notes[0].startswith("3 files that are named like an image beside them")


class TestMasks:
    def test_folders_of_masks_are_no_classes(self, tmp_path: Path) -> None:
        put(tmp_path, "normal/images/1.png", "normal/masks/1.png", "worn/images/2.png")
        put(tmp_path, "worn/masks/2.png", "Ground Truth/1.png")
        source = open_source(str(tmp_path))
        assert source.items["path"].tolist() == ["normal/images/1.png", "worn/images/2.png"]
        told = [note for note in source.notes if "masks" in note]
        assert [note.split("`")[1] for note in told] == [
            "Ground Truth", "normal/masks", "worn/masks"
        ]  # fmt: skip
        assert all("1 files are passed over" in note for note in told)

    def test_images_beside_masks(self) -> None:
        paths = ("images/normal/1.png", "images/worn/2.png", "masks/normal/1.png", "masks/worn/2")
        assert lay(*paths) == [(paths[0], "normal", ""), (paths[1], "worn", "")]

    def test_a_folder_of_masks_beside_that_of_each_class(self) -> None:
        paths = ("x/normal/1.png", "x/Worn/2.png", "x/normal_masks/1.png", "x/worn-mask/2.png")
        kept, notes = leave_out_masks([(path, 1) for path in paths])
        assert [path for path, _ in kept] == list(paths[:2])
        assert "`x/normal_masks`" in notes[0]
        alone = [("with_mask/1.png", 1), ("without_mask/2.png", 1), ("segmented/3.png", 1)]
        assert leave_out_masks(alone) == (alone, [])

    @pytest.mark.parametrize("above", ["", "knees/", "a/b/"])
    def test_a_folder_that_repeats_the_images(self, above: str) -> None:
        names = ("normal/1.png", "worn/2.png", "worn/3.jpg")
        images = [(f"{above}images/{name}", 1) for name in names]
        regions = [(f"{above}regions/normal/1.png", 1), (f"{above}regions/worn/3.png", 1)]
        kept, notes = leave_out_masks([*images, *regions])
        assert kept == images
        assert f"`{above}regions`" in notes[0]

    @pytest.mark.parametrize(
        "paths",
        [
            # Of which there is none in `images`.
            ("images/normal/1.png", "images/worn/2.png", "regions/normal/9.png"),
            # A part of the split, whose numbers begin anew.
            ("images/normal/1.png", "images/worn/2.png", "test/normal/1.png", "test/worn/2.png"),
            # Classes, whose numbers do so.
            ("images/1.png", "images/2.png", "normal/1.png", "worn/2.png"),
            # Nothing is called images.
            ("left/normal/1.png", "left/worn/2.png", "right/normal/1.png", "right/worn/2.png"),
        ],
    )
    def test_other_folders_stay(self, paths: tuple[str, ...]) -> None:
        files = [(path, 1) for path in paths]
        assert leave_out_masks(files) == (files, [])

    def test_masks_by_their_names(self) -> None:
        files = (
            "a/x (1).png",
            "a/x (1)_mask.png",
            "a/x (1)_mask_1.png",
            "a/y_mask.png",
            "a/z-seg.png",
        )
        kept, notes = leave_out_masks([(path, 1) for path in files])
        assert [path for path, _ in kept] == ["a/x (1).png", "a/y_mask.png", "a/z-seg.png"]
        assert notes[0].startswith("2 files that are named like an image beside them")

    def test_classes_about_masks_stay(self) -> None:
        assert not any(map(names_masks, ("with_mask", "unmasked", "normal", "contoured", "labels")))

    def test_files_of_operating_systems(self, tmp_path: Path) -> None:
        put(tmp_path, "a/1.png", "b/2.png", "a/Thumbs.db", "b/desktop.ini", "__MACOSX/a/x.png")
        put(tmp_path, "a/DICOMDIR", "DICOMDIR")
        source = open_source(str(tmp_path))
        assert source.items["path"].tolist() == ["a/1.png", "b/2.png"]
        assert source.refused.empty

    def test_folders_of_operating_systems_are_no_classes(self, tmp_path: Path) -> None:
        put(tmp_path, "a/1.png", "b/2.png", "$RECYCLE.BIN/S-1/$R1.png", "lost+found/1.png")
        put(tmp_path, "System Volume Information/IndexerVolumeGuid", "a/@eaDir/1.png/THUMB_M.png")
        put(tmp_path, "#recycle/b/3.png", "~$train.xlsx")
        for labels_needed in (True, False):
            source = open_source(str(tmp_path), labels_needed=labels_needed)
            assert source.items["path"].tolist() == ["a/1.png", "b/2.png"]
            assert source.refused.empty


def test_images_of_other_names_beside_classes_are_not_lost_without_a_word(tmp_path: Path) -> None:
    put(tmp_path, "a/1.JFIF", "b/2.jpe", "3.jfif", "4.HEIC", "notes.txt")
    source = open_source(str(tmp_path))
    assert source.items["path"].tolist() == ["a/1.JFIF", "b/2.jpe"]
    assert sorted(source.refused["path"]) == ["3.jfif", "4.HEIC"]
    put(tmp_path, "t.csv", content=b"path,label\n1,x\n2,y\n")
    named = open_source(str(tmp_path / "t.csv"))  # by their names, wherever they lie
    assert named.items["path"].tolist() == ["a/1.JFIF", "b/2.jpe"]


def test_files_as_of_pacs_exports_are_listed_where_no_classes_are_needed(tmp_path: Path) -> None:
    images = ["1.2.840.113.7", "IM0001", "knee.heic", "knee.jfif", "p1/IM0002"]
    put(tmp_path, *images, "DICOMDIR", "notes.txt", "p1/Thumbs.db", "README", "tour.mp4")
    source = open_source(str(tmp_path), labels_needed=False)
    assert source.items["path"].tolist() == images


class TestClasses:
    @pytest.mark.parametrize(
        "spellings",
        [
            ("normal", "Normal", "NORMAL", " normal ", "nor\u200bmal"),
            ("no finding", "No_Finding", "no-finding", "no  finding", "no\u00a0finding"),
            ("1", "1.0", "01", "1.", "1.00"),
            ("Grade 1", "Grade1", "grade-1", "GRADE_1"),
            ("KL1", "KL 1", "KL-1", "kl_1"),
            ("2 b", "2b", "2-B"),
            ("ostéoporose", unicodedata.normalize("NFD", "ostéoporose")),
            ("true", "True", "TRUE"),
            ("größe", "GRÖSSE"),
        ],
    )
    def test_spellings_of_a_class_are_one(self, spellings: tuple[str, ...]) -> None:
        labels = [*spellings, spellings[0], "worn"]
        names, notes = join_spellings(labels, "x")
        assert {names[label] for label in spellings} == {spellings[0]}
        assert names["worn"] == "worn"
        assert notes[0].startswith("The labels ")
        assert notes[0].endswith(f"are taken as one class, `{spellings[0]}`.")

    @pytest.mark.parametrize(
        "labels",
        [
            *(("a", "b"), ("1", "10"), ("0.5", "0"), ("A1", "A 11"), ("Grade 1", "Grade11")),
            *(("Grade 1 1", "Grade 11"), ("KL1", "K L 1"), ("1 1", "11"), ("none", "mild")),
        ],
    )
    def test_classes_stay_apart(self, labels: tuple[str, ...]) -> None:
        assert join_spellings(labels, "x") == ({label: label for label in labels}, [])

    @pytest.mark.parametrize(
        "label",
        [
            *("nan", "NaN", "NA", "N/A", "-", "?", "unlabeled", "<NA>", "", "Not applicable"),
            *("not provided", "not_given", "unbekannt", "#N/A", "#REF!", "#VALUE!", "#NAME?"),
            *("#DIV/0!", "#NUM!", "#NULL!", "#WERT!", "Err:502"),
        ],
    )
    def test_a_missing_label_is_no_class(self, label: str) -> None:
        names, notes = join_spellings(["a", label, "b", label], "x")
        assert names == {"a": "a", label: "", "b": "b"}
        expected = [f"The labels `{label}` (2) say that there is none: not a class."]
        assert notes == (expected if label else [])
        assert says_no_class(label)
        assert is_sentinel(label) or label == "unlabeled"

    def test_folders_in_several_spellings(self, tmp_path: Path) -> None:
        composed, apart = "ostéo", unicodedata.normalize("NFD", "ostéo")
        put(
            tmp_path,
            "train/Normal/1.png",
            "test/normal/2.png",
            "test/normal/3.png",
            "val/nan/4.png",
        )
        put(tmp_path, f"train/{composed}/5.png", f"test/{apart}/6.png")
        source = open_source(str(tmp_path))
        assert source.items["label"].value_counts().to_dict() == {"normal": 3, composed: 2}
        assert source.refused.to_numpy().tolist() == [["val/nan/4.png", "no label"]]
        assert "`normal` (2) and `Normal` (1) are taken as one class, `normal`" in tell(tmp_path)

    def test_yes_and_no(self) -> None:
        names, _ = join_spellings(["Yes", "No", "yes", "NO", "Y", "Yes", "N", "true"], "x")
        assert {name: names[name] for name in ("Y", "true", "N", "NO")} == {
            "Y": "Yes", "true": "Yes", "N": "N", "NO": "N"
        }  # fmt: skip
        names, _ = join_spellings(["N", "F", "F", "N"], "x")  # letters for two findings
        assert names == {"N": "N", "F": "F"}
        names, _ = join_spellings(["N", "T", "F"], "x")
        assert len(set(names.values())) == 3
        names, _ = join_spellings(["n", "no", "worn"], "x")  # other words, other meanings
        assert names == {"n": "n", "no": "no", "worn": "worn"}

    def test_signs_are_no_hyphens(self) -> None:
        labels = ["A", "A-", "A+", "T-1.5", "T1.5", "T-2,5", "T 2,5"]
        assert len(set(join_spellings(labels, "x")[0].values())) == len(labels)
        names, _ = join_spellings(["no-finding", "No finding", "KL-1", "KL1", "kl 1"], "x")
        assert len(set(names.values())) == 2

    def test_numbers_beside_words_are_refused(self) -> None:
        with pytest.raises(InputError, match=r"by words and by numbers\. Write them all"):
            join_spellings(["True", "False", "1", "0"], "x.csv")

    def test_words_of_parts_are_no_classes(self) -> None:
        with pytest.raises(InputError, match=r"all of them name parts of a split: Test, train\."):
            join_spellings(["train", "Test", "train"], "x.csv")

    def test_doubts(self) -> None:
        assert "misspelling" in doubt_classes(["osteoporosis"] * 3 + ["osteoporsis"])[0]
        assert "misspelling" in doubt_classes(["osteopenia"] * 3 + ["osetopenia"])[0]
        assert "without a finding" in doubt_classes(["None", "mild"])[0]
        for one, other in (("KL2", "2"), ("KL 2", "Grade 2"), ("Kellgren-Lawrence grade 0", "0")):
            assert "both may be one grade" in doubt_classes([one, other])[0]
        for one, other in (("Neg", "negative"), ("Osteoporotic", "osteoporosis")):
            assert "both may be forms of one word" in doubt_classes([one, other])[0]
        for one, other in (("worn", "worn_aug"), ("Original Images", "Augmented Images")):
            assert "one may hold versions of the images" in doubt_classes([one, other])[0]
        for one, other in (
            ("no", "normal"), ("A", "A-"), ("grade", "+"),
            ("KL2", "3"), ("worn", "worn 2"), ("T1.5", "T-1.5"),
            ("grade 1", "grade 2"), ("symptomatic", "asymptomatic"), ("normal", "abnormal"),
            ("left", "lift"), ("osteopenia", "osteoporosis"),
        ):  # fmt: skip
            assert doubt_classes([one, other]) == []


@pytest.mark.parametrize("labels", [["a, b", "a", "b"], ["['a']", "['a', 'b']"], ["a/b", "b"]])
def test_classes_that_join_others_are_asked_about(labels: list[str]) -> None:
    [doubt] = doubt_classes(labels)
    assert "joins the classes `a` and `b`, on 1 images, and is taken as a class of its own" in doubt


@pytest.mark.parametrize("name", ["{}", "sub-{:02}", "patient{:03}", "P{:02}A", "knee {} L"])
def test_folders_that_look_like_patients_are_asked_about(tmp_path: Path, name: str) -> None:
    put(tmp_path, *(f"{name.format(k)}/{view}.png" for k in range(24) for view in "123"))
    told = tell(tmp_path)
    assert f"The 24 classes mostly bear numbers, such as `{name.format(0)}`, with 3.0" in told


@pytest.mark.parametrize(
    ("lower", "told"),
    [
        (("normal", "worn"), True),
        (("0", "1"), True),
        (("left", "right"), False),
        (("P1", "P2"), False),
    ],
)
def test_lower_classes_are_pointed_out(tmp_path: Path, lower: tuple[str, ...], told: bool) -> None:
    put(tmp_path, *(f"clinic {c}/{name}/1.png" for c in "ab" for name in lower))
    named = ", ".join(f"`{name}`" for name in lower)
    assert (f"each of which holds {named}" in tell(tmp_path)) == told


def test_parts_in_a_folder_of_any_name() -> None:
    paths = [f"KneeXray/{top}/0/1.png" for top in ("train", "val", "test")]
    assert [row[1:] for row in lay(*paths)] == [("0", S), ("0", T), ("0", V)]


def test_the_only_folder_is_named(tmp_path: Path) -> None:
    put(tmp_path, "knees/normal/1.png", "knees/worn/2.png")
    with pytest.raises(InputError, match=r"found one: knees\..* If knees is no class but holds"):
        open_source(str(tmp_path))
    put(tmp_path / "x", "OS Collected Data/normal/1.png", "OS Collected Data/worn/2.png")
    assert "in the folder `OS Collected Data`" in tell(tmp_path / "x")


def test_volumes_are_refused_by_name(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/2.png", "b/3.nrrd", "a/4.MHA", "a/5.nii.gz", "a/6.NII")
    source = open_source(str(tmp_path))
    assert source.items["path"].tolist() == ["a/1.png", "a/5.nii.gz", "a/6.NII", "b/2.png"]
    assert dict(source.refused.to_numpy().tolist()) == dict.fromkeys(
        ("a/4.MHA", "b/3.nrrd"),
        "a volume, not an image; save it as .nii.gz, or export the slices to use as PNG or DICOM "
        "files",
    )


def test_nifti_files_stand_like_any_images(tmp_path: Path) -> None:
    parts = [f"{part}/{label}" for part in ("imagesTr", "imagesTs") for label in "nw"]
    put(tmp_path, *(f"{part}/{number}.nii.gz" for part in parts for number in "12"))
    put(tmp_path, "labelsTr/n/1.nii.gz", "imagesTr/n/1_mask.nii.gz")
    source = open_source(str(tmp_path))
    assert len(source.items) == 8
    assert set(source.items["split"]) == {"train", "test"}
    assert any("named like an image beside them" in note for note in source.notes)


def test_classes_of_a_cohort_are_spelled_as_in_the_run(tmp_path: Path) -> None:
    known = open_source(str(put(tmp_path / "run", "normal/1.png", "no finding/2.png")))
    put(tmp_path / "cohort", "Normal/1.png", "No_Finding/2.png")
    config = CompareConfig(data=str(tmp_path / "run"), test_data=str(tmp_path / "cohort"))
    cohort = list_cohort(config, known)
    assert cohort is not None
    assert set(cohort.items["label"]) == {"normal", "no finding"}
    assert "The class `Normal` is that which --data calls `normal`." in cohort.notes
    put(tmp_path / "cohort", "worn/3.png")
    with pytest.raises(InputError, match="also has worn"):
        list_cohort(config, known)


@pytest.mark.parametrize("form", ["knee_{}", "{}_512px", "{}set", "xr {} final", "{}data"])
def test_folders_that_only_differ_in_the_part(tmp_path: Path, form: str) -> None:
    paths = [f"{form.format(p)}/{c}/{k}.png" for p in ("train", "test") for c in "nw" for k in "12"]
    source = open_source(str(put(tmp_path, *paths)))
    found = source.items[["path", "label", "split"]].to_numpy().tolist()
    assert found == [[path, path.split("/")[1], read_part(path)] for path in sorted(paths)]


def read_part(path: str) -> str:
    return "train" if "train" in path else "test"


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["knee_train/1.png", "knee_test/2.png"], "no class folders"),
        (
            ["train_n/1.png", "train_w/2.png", "test_n/3.png", "test_w/4.png", "extra_w/5.png"],
            "`test_n`, `test_w`, `train_n`, `train_w` name parts, and `extra_w` none",
        ),
    ],
)
def test_parts_are_no_classes(tmp_path: Path, paths: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_source(str(put(tmp_path, *paths)))


def test_folders_of_images_under_several_names(tmp_path: Path) -> None:
    paths = [f"{p}/{c}/1.png" for p in ("train/images", "test/imgs") for c in ("normal", "worn")]
    source = open_source(str(put(tmp_path, *paths)))
    assert source.items["label"].tolist() == ["normal", "worn"] * 2
    assert source.items["split"].tolist() == ["test"] * 2 + ["train"] * 2
