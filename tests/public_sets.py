"""Public sets of radiographs and the like, as small folders that are called as theirs.

The names are those that the sets' own descriptions give. Only names count when a set is listed, so
files hold nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

Table = list[str]


@dataclass(frozen=True)
class PublicSet:
    """A public set, rebuilt in small, and what reading it gives.

    Attributes:
        name: What it is called.
        files: The paths of its images.
        tables: Its tables, by path, in lines.
        data: What is given as `--data`, within its folder.
        columns: What is given as `--columns`.
        pattern: What is given as `--patient-pattern`.
        classes: Images of each class, as found.
        patients: How many there are.
        guessed: Whether they are what paths or studies suggest, which the audit says and asks.
        splits: Images of each part of a split that it brings.
        refused: Images that cannot be used.
        says: A part of what is said of it.
        remark: What to know, for the documentation.
        fails: Part of the message if it cannot be read without the flags.
    """

    name: str
    files: tuple[str, ...]
    classes: Mapping[str, int]
    patients: int = 0
    guessed: bool = False
    splits: Mapping[str, int] = field(default_factory=dict)
    refused: int = 0
    tables: Mapping[str, Table] = field(default_factory=dict)
    data: str = ""
    columns: tuple[str, ...] = ()
    pattern: str | None = None
    says: str = ""
    remark: str = ""
    fails: str = ""

    def write(self, folder: Path) -> Path:
        """Write the set into a folder; return what is given as `--data`."""
        for path in self.files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(b"any")
        for path, lines in self.tables.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder / self.data if self.data else folder

    @property
    def flags(self) -> str:
        """The flags that it is read with, as one types them."""
        columns = " ".join(f"'{one}'" if " " in one else one for one in self.columns)
        words = [f"--columns {columns}" if columns else ""]
        words.append(f"--patient-pattern '{self.pattern}'" if self.pattern else "")
        return " ".join(filter(None, words))


def _spread(template: str, *ranges: tuple[object, ...]) -> tuple[str, ...]:
    """Fill a template with all combinations of what stands in its places `{0}`, `{1}` …."""
    return tuple(template.format(*values) for values in product(*ranges))


def _number(n: int, start: int = 0) -> tuple[int, ...]:
    return tuple(range(start, start + n))


_OAI = tuple(
    f"{part}/{grade}/{9000000 + 100 * start + 10 * grade + k}{side}.png"
    for part, n, start in (("train", 4, 0), ("val", 2, 1), ("test", 2, 2))
    for grade, k, side in product(range(5), range(n), "LR")
)
_GORNALE = ("0Normal", "1Doubtful", "2Mild", "3Moderate", "4Severe")
_HALVES = (("train", 4, 0), ("test", 2, 50), ("val", 2, 70))
_KERMANY = tuple(
    path
    for part, n, start in _HALVES
    for k in range(start, start + n)
    for path in (
        f"chest_xray/{part}/NORMAL/IM-{100 + k:04}-0001.jpeg",
        f"chest_xray/{part}/PNEUMONIA/person{k + 1}_bacteria_{2 * k}.jpeg",
        f"chest_xray/{part}/PNEUMONIA/person{k + 1}_virus_{2 * k + 1}.jpeg",
    )
)
_CHEXPERT = tuple(
    f"CheXpert-v1.0-small/train/patient{p:05}/study{s}/view1_frontal.jpg"
    for p, s in product(range(1, 7), (1, 2))
)
_COVID = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
_ISIC = tuple(f"ISIC_{k:07}" for k in range(12))
_CBIS = tuple(f"P_{k // 2:05}_LEFT_{('CC', 'MLO')[k % 2]}" for k in range(12))

PUBLIC_SETS = (
    PublicSet(
        "Osteoporosis Knee X-ray (Kaggle; 372 + 372)",
        (*_spread("normal/{0}.jpg", _number(6)), *_spread("osteoporosis/{0}.png", _number(6))),
        {"normal": 6, "osteoporosis": 6},
        says="Patients are not known",
        remark="every radiograph about twice, some in both classes: measured, see below",
    ),
    PublicSet(
        "Knee X-ray Osteoporosis Database (Mendeley; Multi-class on Kaggle)",
        tuple(
            f"OS Collected Data/{name}/{start}{k}.{end}"
            for name, start, end in (
                ("Normal", "N", "JPEG"),
                ("Osteopenia", "OP", "jpg"),
                ("Osteoporosis", "OS", "jpg"),
            )
            for k in range(1, 6)
        ),
        {"Normal": 5, "Osteopenia": 5, "Osteoporosis": 5},
        says="those in the folder `OS Collected Data`",
        remark="grades: `--ordinal 'Normal<Osteopenia<Osteoporosis'`",
    ),
    PublicSet(
        "Knee Osteoarthritis Severity Grading (Chen; OAI)",
        _OAI,
        dict.fromkeys("01234", 16),
        patients=40,
        guessed=True,
        splits={"train": 40, "validation": 20, "test": 20},
        pattern=None,
        says=r"--patient-pattern '([^/]+)[LR]\.'",
        remark="both knees of a person; the published parts were dealt by image",
    ),
    PublicSet(
        "Knee Osteoarthritis Severity Grading with `auto_test/`",
        (*_OAI, *_spread("auto_test/{0}/99{1}L.png", (0, 1, 2, 3, 4), _number(2))),
        dict.fromkeys("01234", 16),
        patients=40,
        guessed=True,
        splits={"train": 40, "validation": 20, "test": 20},
        refused=10,
        says="parts of a split",
        remark="`auto_test/` is no part by its name, and is refused image by image",
    ),
    PublicSet(
        "Digital Knee X-ray (Gornale, Mendeley)",
        tuple(
            f"MedicalExpert-I/{grade}/{grade[1:]}G{grade[0]} ({k}).png"
            for grade, k in product(_GORNALE, range(1, 4))
        ),
        dict.fromkeys(_GORNALE, 3),
        data="MedicalExpert-I",
        fails="name it in --data",
        says="Patients are not known",
        remark="the second expert: `--against MedicalExpert-II`",
    ),
    PublicSet(
        "ChestX-ray14 (NIH)",
        _spread("images_00{1}/images/0000000{0}_00{1}.png", _number(4, 1), _number(3)),
        {"No Finding": 4, "Cardiomegaly": 4, "Effusion|Mass": 4},
        patients=4,
        tables={
            "Data_Entry_2017.csv": [
                "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
                "View Position,OriginalImage[Width,Height]",
                *(
                    f"0000000{p}_00{k}.png,{('No Finding', 'Cardiomegaly', 'Effusion|Mass')[k]},"
                    f"{k},{p},058Y,M,PA,2682,2749"
                    for p, k in product(range(1, 5), range(3))
                ),
            ]
        },
        data="Data_Entry_2017.csv",
        columns=("label=Finding Labels",),
        fails="--columns label=COLUMN",
        says="are taken for the files of the same name in `images_000/images`",
        remark="several findings joined by a bar are one class; the audit asks",
    ),
    PublicSet(
        "CheXpert (small)",
        _CHEXPERT,
        {"0": 6, "1": 6},
        patients=6,
        guessed=True,
        tables={
            "CheXpert-v1.0-small/train.csv": [
                "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly",
                *(f"{path},Female,68,Frontal,AP,,{k % 2}.0" for k, path in enumerate(_CHEXPERT)),
            ]
        },
        data="CheXpert-v1.0-small/train.csv",
        columns=("label=Cardiomegaly",),
        fails="label is missing",
        says="12 of 12 paths are read without `CheXpert-v1.0-small/`, at which they begin.",
        remark="one finding at a time; empty cells are no class",
    ),
    PublicSet(
        "MURA",
        tuple(
            f"MURA-v1.1/{part}/XR_{bone}/patient{p:05}/study1_{('positive', 'negative')[p % 2]}"
            f"/image{k}.png"
            for part, ps in (("train", range(1, 5)), ("valid", range(11, 13)))
            for bone, p, k in product(("ELBOW", "WRIST"), ps, (1, 2))
        ),
        {"XR_ELBOW": 12, "XR_WRIST": 12},
        patients=6,
        guessed=True,
        splits={"train": 16, "validation": 8},
        says=r"--patient-pattern 'patient(\d+)'",
        remark="the folders are parts of the body; positive and negative need a table",
    ),
    PublicSet(
        "Chest X-Ray Images (Pneumonia) (Kermany)",
        _KERMANY,
        {"NORMAL": 8, "PNEUMONIA": 16},
        patients=8,
        guessed=True,
        splits={"train": 12, "validation": 6, "test": 6},
        says="on 16 of 24 images",
        remark="patients of NORMAL are not named",
    ),
    PublicSet(
        "Retinal OCT (Kermany)",
        tuple(
            f"OCT2017/{part}/{name}/{name}-{start + 10 * number + k}-{image}.jpeg"
            for part, n, start in (("train", 4, 1000), ("test", 2, 5000))
            for (number, name), k, image in product(
                enumerate(("CNV", "DME", "DRUSEN", "NORMAL")), range(n), (1, 2)
            )
        ),
        dict.fromkeys(("CNV", "DME", "DRUSEN", "NORMAL"), 12),
        patients=24,
        guessed=True,
        splits={"train": 32, "test": 16},
        says="a word and a number at the beginning",
    ),
    PublicSet(
        "HAM10000",
        (
            *_spread("HAM10000_images_part_1/{0}.jpg", _ISIC[:6]),
            *_spread("HAM10000_images_part_2/{0}.jpg", _ISIC[6:]),
        ),
        {"nv": 6, "mel": 6},
        patients=6,
        tables={
            "HAM10000_metadata.csv": [
                "lesion_id,image_id,dx,dx_type,age,sex,localization",
                *(
                    f"HAM_{k // 2:07},{name},{('nv', 'mel')[k // 2 % 2]},histo,80.0,male,scalp"
                    for k, name in enumerate(_ISIC)
                ),
            ]
        },
        data="HAM10000_metadata.csv",
        columns=("path=image_id", "label=dx", "patient=lesion_id"),
        fails="path and label are missing",
        says="in `HAM10000_images_part_1`, `HAM10000_images_part_2`",
        remark="images of one lesion stay together",
    ),
    PublicSet(
        "SIIM-ISIC 2020",
        _spread("train/{0}.jpg", _ISIC),
        {"0": 6, "1": 6},
        patients=6,
        tables={
            "train.csv": [
                "image_name,patient_id,sex,age_approx,diagnosis,benign_malignant,target",
                *(
                    f"{name},IP_{k // 2:07},male,45.0,unknown,x,{k // 2 % 2}"
                    for k, name in enumerate(_ISIC)
                ),
            ]
        },
        data="train.csv",
        says="Patients named by the source: 6",
    ),
    PublicSet(
        "Diabetic Retinopathy Detection (EyePACS)",
        _spread("train/{0}_{1}.jpeg", _number(10, 10), ("left", "right")),
        dict.fromkeys("01234", 4),
        patients=10,
        guessed=True,
        tables={
            "trainLabels.csv": [
                "image,level",
                *(f"{k}_{side},{k % 5}" for k in range(10, 20) for side in ("left", "right")),
            ]
        },
        data="trainLabels.csv",
        columns=("label=level",),
        fails="--columns label=level",
        says="20 of 20 paths lead to no file and are taken for the files",
        remark="both eyes of a person",
    ),
    PublicSet(
        "APTOS 2019",
        _spread("train_images/00a{0}.png", _number(12, 10)),
        dict.fromkeys("012", 4),
        tables={
            "train.csv": [
                "id_code,diagnosis",
                *(f"00a{k},{k % 3}" for k in range(10, 22)),
            ]
        },
        data="train.csv",
        columns=("path=id_code", "label=diagnosis"),
        fails="path and label are missing",
        says="Patients are not known",
    ),
    PublicSet(
        "RSNA Pneumonia Detection",
        _spread("stage_2_train_images/{0}-ab.dcm", _number(12, 10)),
        {"0": 6, "1": 6},
        refused=1,
        tables={
            "stage_2_train_labels.csv": [
                "patientId,x,y,width,height,Target",
                *(f"{k}-ab,1,2,3,4,{k % 2}" for k in (*range(10, 22), 11)),
            ]
        },
        data="stage_2_train_labels.csv",
        columns=("path=patientId", "label=Target"),
        fails="Say which of them hold what",
        says="headers of DICOM files may name them",
        remark="a row per box: further rows of an image are refused as listed twice",
    ),
    PublicSet(
        "COVID-19 Radiography Database",
        _spread(
            "COVID-19_Radiography_Dataset/{0}/{1}/{0}-{2}.png",
            _COVID,
            ("images", "masks"),
            _number(4, 1),
        ),
        dict.fromkeys(_COVID, 4),
        says="is taken as one of masks",
    ),
    PublicSet(
        "FracAtlas",
        (
            *_spread("FracAtlas/images/Fractured/IMG00{0}.jpg", _number(6, 10)),
            *_spread("FracAtlas/images/Non_fractured/IMG00{0}.jpg", _number(6, 50)),
            "FracAtlas/Annotations/YOLO/IMG0010.txt",
        ),
        {"Fractured": 6, "Non_fractured": 6},
        data="FracAtlas/images",
        says="Patients are not known",
    ),
    PublicSet(
        "Versions made by Roboflow",
        tuple(
            f"{part}/{name}/{name[0]}{k}_jpg.rf.{made}{k:02}.jpg"
            for part, n, start in (("train", 4, 10), ("valid", 2, 20), ("test", 2, 30))
            for name, k, made in product(
                ("Normal", "Osteoporosis"), range(start, start + n), ("3f", "a9")
            )
        ),
        {"Normal": 16, "Osteoporosis": 16},
        patients=16,
        splits={"train": 16, "validation": 8, "test": 8},
        pattern=r"([^/]+)\.rf\.",
        remark="copies of one picture, augmented, under one name before `.rf.`",
    ),
    PublicSet(
        "CBIS-DDSM",
        tuple(f"Calc-Training_{name}/1.3.6/1.3.7/000000.dcm" for name in _CBIS),
        {"MALIGNANT": 6, "BENIGN": 6},
        patients=6,
        tables={
            "calc_case_description_train_set.csv": [
                "patient_id,left or right breast,image view,pathology,image file path,"
                "ROI mask file path",
                *(
                    f"{name[:7]},LEFT,{name[13:]},{('MALIGNANT', 'BENIGN')[k // 2 % 2]},"
                    f"Calc-Training_{name}/1.3.6/1.3.7/000000.dcm,x.dcm"
                    for k, name in enumerate(_CBIS)
                ),
            ]
        },
        data="calc_case_description_train_set.csv",
        columns=("path=image file path", "label=pathology"),
        fails="path and label are missing",
        says="patient from `patient_id`",
    ),
    PublicSet(
        "Image folders of Hugging Face",
        tuple(f"{part}/{k}.png" for part, n in (("train", 6), ("test", 4)) for k in range(n)),
        {"a": 5, "b": 5},
        patients=5,
        splits={"train": 6, "test": 4},
        tables={
            f"{part}/metadata.csv": [
                "file_name,label,patient_id",
                *(f"{k}.png,{'ab'[k % 2]},{part}{k // 2}" for k in range(n)),
            ]
            for part, n in (("train", 6), ("test", 4))
        },
        says="train/metadata.csv: Columns read",
    ),
)


def tabulate_sets() -> str:
    """Return the table of docs/data.md, one row a set, without a final line break."""
    lines = [
        "| set | `--data`, if not its folder | flags | patients | its own split | what to know |",
        "|---|---|---|---|---|---|",
    ]
    for one in PUBLIC_SETS:
        patients = "asked" if one.guessed else "named" if one.patients else "not known"
        parts = ", ".join(one.splits) or "–"
        data, flags = (f"`{text}`" if text else "–" for text in (one.data, one.flags))
        flags = flags.replace("|", "\\|")
        lines.append(
            f"| {one.name} | {data} | {flags} | {patients} | {parts} | {one.remark or '–'} |"
        )
    return "\n".join(lines)
