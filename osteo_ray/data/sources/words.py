"""What the words of people's folders, columns and cells mean: parts of a split, masks, unknowns."""

import re
import unicodedata
from pathlib import PurePosixPath


def _collect(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SPLIT_WORDS = {
    "train": "train training trained trn tr learn learning derivation xtrain",
    "validation": "val valid validation validate validating vld va dev devel tune tuning xval",
    "test": "test testing tests tst ts holdout holdouts heldout unseen xtest",
}
_SPLITS = {word: split for split, words in _SPLIT_WORDS.items() for word in words.split()}
_EVALUATION = frozenset({"eval", "evaluate", "evaluation"})
_INDEPENDENT = frozenset({"external", "independent"})  # an external validation set is a test set
_TOO_SHORT = frozenset({"tr", "va", "ts"})  # to be anything without `images` beside them
_NOISE = _collect(
    "set sets data dataset datasets image images img imgs picture pictures photo photos file files "
    "split splits part subset partition folder dir fold cohort sample samples cases case x ray "
    "rays xray xrays xr radiograph radiographs the all new final hidden internal public private "
    "original raw clean resized cropped processed preprocessed png jpg jpeg dicom dcm nii full "
    "version v a b c i ii iii aug augmented augmentation balanced extra small reduced more"
)
_DATA = _collect(
    "data dataset datasets database image images img imgs picture pictures photos files archive "
    "collection download downloads unzipped extracted radiographs xrays"
)
_MASKS = _collect(
    "mask masks msk segmentation segmentations seg segs segm annotation annotations annot contour "
    "contours roi rois groundtruth gt heatmap heatmaps overlay overlays bbox bboxes polygon "
    "polygons"
)
_OF_MASKS = _NOISE | {"manual", "binary", "lesion", "bone", "knee", "lung", "left", "right"}
_SYSTEM_FILES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "folder.jpg", "icon\r", "dicomdir"}
)
_SYSTEM_FOLDERS = frozenset(  # the last two hold thumbnails, and what was deleted, on a NAS
    {"__macosx", "$recycle.bin", "recycler", "system volume information", "lost+found"}
    | {"@eadir", "#recycle"}
)
_OPEN_IN_OFFICE = "~$"
_UNKNOWN = _collect(
    "nan na n/a n.a. n.a n\\a <na> #n/a #nv nat null nil - -- --- – — _ ? ?? ??? . .. ... unknown "
    "unkown unk unkn unspecified undefined unidentified unavailable unassigned missing tbd "
    "notavailable notknown notrecorded notspecified notapplicable notgiven notprovided notassigned "
    "nodata novalue unbekannt inconnu inconnue desconocido desconocida sconosciuto nieznany "
    "невідомо неизвестно 不明 未知"
)
_NOBODY = _UNKNOWN | _collect(
    "none void inf * / x xx xxx xxxx uk blank empty tba anonymous anonymized anonymised anonym "
    "anon deid deidentified de-identified redacted removed withheld hidden masked dummy default "
    "noid noname nopatient"
)
_OF_PEOPLE = _collect("patient patients pat subject person people id name")
_NO_CLASS = _UNKNOWN | _collect(
    "unlabelled unlabeled unlabel nolabel unclassified notlabelled notlabeled todo"
)
_ERROR = re.compile(r"#[^\W_][\w/]*[!?]|err:\d+")
"""What spreadsheets show where a formula fails, in any language: `#REF!`, `#NAME?`, `#WERT!`."""
_ZIPPED = ".nii.gz"
_SHARD = re.compile(r"[-_. ]*\d+(?:[-_ ]*of[-_ ]*\d+(?:-[0-9a-f]{16})?)?$")  # with the Hub's digest
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_GLUED = re.compile(r"(?<=...)(?:sets?|data|images?|imgs?)$")  # as in `trainset`


def tidy(text: str) -> str:
    """Return a text in one spelling: composed, without invisible characters, with single spaces.

    Example:
        >>> tidy(" Cafe\u0301\u00a0\u200b normal ") == "Caf\u00e9 normal"
        True
    """
    composed = unicodedata.normalize("NFKC", text)
    visible = "".join(c for c in composed if unicodedata.category(c) != "Cf")
    return " ".join(visible.split())


def read_suffix(path: str) -> str:
    """Return the end of the name of a file from its last point on, in small letters, or "".

    Example:
        >>> [read_suffix(path) for path in ("a.b/1.PNG", "a.b/1", ".png", "1.", "1.nii.gz")]
        ['.png', '', '', '', '.nii.gz']
    """
    name = path.rpartition("/")[2].lower()  # pathlib takes ten times as long, for each file
    if name.endswith(_ZIPPED):
        return _ZIPPED
    at = name.rfind(".")
    return name[at:] if 0 < at < len(name) - 1 else ""


def cut_suffix(path: str) -> str:
    """Return a path without what `read_suffix` returns.

    Example:
        >>> [cut_suffix(path) for path in ("a.b/1.PNG", "a.b/1", "1_mask.nii.gz")]
        ['a.b/1', 'a.b/1', '1_mask']
    """
    return path[: len(path) - len(read_suffix(path))]


def is_of_system(path: str) -> bool:
    """Tell whether a file, or a folder that it lies in, is one that systems leave behind.

    Example:
        >>> paths = ("a/Thumbs.db", "__MACOSX/1.png", "$RECYCLE.BIN/1.png", "~$t.xlsx", "a/1.png")
        >>> [is_of_system(path) for path in paths]
        [True, True, True, True, False]
    """
    *folders, name = path.lower().split("/")
    is_left = name in _SYSTEM_FILES or name.startswith(_OPEN_IN_OFFICE)
    return is_left or not _SYSTEM_FOLDERS.isdisjoint(folders)


def list_words(name: str) -> list[str]:
    """Split a name into words and numbers, in small letters.

    Example:
        >>> list_words("imagesTr"), list_words("Training Set"), list_words("X-ray_test1")
        (['images', 'tr'], ['training', 'set'], ['x', 'ray', 'test', '1'])
    """
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", tidy(name)))]


def read_split(name: str) -> str:
    """Return the part of a split that a name stands for: train, validation, test, or "".

    `eval` stands for validation; see `parts.tell_parts` for names beside each other.

    Example:
        >>> [*map(read_split, ("Training Set", "imagesTs", "testset", "dev", "hold-out"))]
        ['train', 'test', 'test', 'validation', 'test']
        >>> [read_split(name) for name in ("normal", "tr", "test positive", "trainees", "images")]
        ['', '', '', '', '']
    """
    found, rest = _divide_name(name)
    return "" if rest else found


def read_split_of_path(path: str) -> str:
    """Return the part of a split that the name of a file stands for, or a folder that it lies in.

    Numbers of shards at the end of the name count for nothing.

    Example:
        >>> read_split_of_path("data/train-00001-of-00002.parquet"), read_split_of_path("val/x.csv")
        ('train', 'validation')
    """
    file = PurePosixPath(path)
    own = read_split(cut_shard(file.stem))
    return own or next(filter(None, map(read_split, file.parts[:-1])), "")


def cut_shard(name: str) -> str:
    """Return a name without the number of a shard at its end.

    Example:
        >>> cut_shard("knees-train-000"), cut_shard("train-00001-of-00002"), cut_shard("train")
        ('knees-train', 'train', 'train')
    """
    return _SHARD.sub("", name)


def read_split_within(name: str) -> str:
    """Return the part of a split that a name speaks of, whatever else it says, or "".

    Example:
        >>> [read_split_within(name) for name in ("trainLabels", "stage_2_test_images", "labels")]
        ['train', 'test', '']
    """
    return _divide_name(name)[0]


def separate_split(name: str) -> tuple[str, str]:
    """Separate the part of a split at either end of a name from the class beside it.

    Example:
        >>> separate_split("train_normal"), separate_split("mild-osteopenia_test")
        (('train', 'normal'), ('test', 'mild osteopenia'))
        >>> separate_split("latest test normal")
        ('', '')
    """
    words = list_words(name)
    for end, rest in ((words[:1], words[1:]), (words[-1:], words[:-1])):
        split = _SPLITS.get("".join(end), "")
        if split and rest and end[0] not in _TOO_SHORT and not any(map(_SPLITS.get, rest)):
            return split, " ".join(rest)
    return "", ""


def _divide_name(name: str) -> tuple[str, list[str]]:
    """Return the part of a split that a name contains, and the words that are not about splits."""
    words = list_words(name)
    joined = " ".join(words).replace("hold out", "holdout").replace("held out", "heldout")
    words = [_cut_glued(word) for word in joined.split()]
    if _INDEPENDENT & set(words) and set(words) <= _INDEPENDENT | _NOISE:
        return "test", []
    splits = [word for word in words if word in _SPLITS or word in _EVALUATION]
    rest = [
        word
        for word in words
        if word not in _SPLITS
        and word not in _EVALUATION | _INDEPENDENT | _NOISE
        and not word.isdigit()
    ]
    if not splits or (words[-1:] and set(words) <= _TOO_SHORT):
        return "", words
    kinds = {_SPLITS.get(word, "validation") for word in splits}
    if len(kinds) > 1:
        return "", words
    if _INDEPENDENT & set(words) and kinds == {"validation"}:
        return "test", rest
    return kinds.pop(), rest


def _cut_glued(word: str) -> str:
    stem = _GLUED.sub("", word)
    return stem if stem in _SPLITS else word


def read_short_split(name: str) -> str:
    """Return the part of a split that `Tr`, `Va` or `Ts` stands for beside another of them, or "".

    Example:
        >>> [read_short_split(name) for name in ("Tr", "Ts", "train", "normal")]
        ['train', 'test', '', '']
    """
    word = "".join(list_words(name))
    return _SPLITS[word] if word in _TOO_SHORT else ""


def separate_mask(name: str) -> str:
    """Return what stands before a word for masks at the end of a name, in small letters, or "".

    Example:
        >>> separate_mask("Normal_masks"), separate_mask("normal"), separate_mask("masks")
        ('normal', '', '')
    """
    words = list_words(name)
    return " ".join(words[:-1]) if words and words[-1] in _MASKS else ""


def is_evaluation(name: str) -> bool:
    """Tell whether a name says `evaluation`, which means validation or test."""
    return bool(_EVALUATION & set(list_words(name)))


def names_data(name: str) -> bool:
    """Tell whether a folder is named as one of data in general, not as a class.

    Example:
        >>> [names_data(name) for name in ("images", "Knee X-ray dataset", "normal", "left")]
        [True, True, False, False]
    """
    return bool(_DATA & set(list_words(name)))


def names_only_data(name: str) -> bool:
    """Tell whether all words of a folder are about data in general, so that none is of a class.

    Example:
        >>> [names_only_data(name) for name in ("images", "test_imgs 2", "Normal images", "test")]
        [True, True, False, False]
    """
    known = _DATA | _NOISE | _SPLITS.keys()
    return names_data(name) and all(w in known or w.isdigit() for w in list_words(name))


def names_masks(name: str) -> bool:
    """Tell whether a folder is named as one of masks, not of images.

    Example:
        >>> [names_masks(name) for name in ("Masks", "labelsTr", "lung_mask", "with mask", "seg")]
        [True, True, True, False, True]
    """
    words = list_words(name)
    if len(words) == 2 and words[0] == "labels" and words[1] in _SPLITS:  # nnU-Net's
        return True
    joined = " ".join(words).replace("ground truth", "groundtruth").split()
    if not set(joined) & _MASKS:
        return False
    return all(w in _MASKS | _OF_MASKS or w in _SPLITS or w.isdigit() for w in joined)


def is_sentinel(text: str) -> bool:
    """Tell whether a cell says that it has no value, as far as words go.

    Example:
        >>> [is_sentinel(text) for text in ("", "N/A", "[Unknown]", "not known", "#REF!", "P-7")]
        [True, True, True, True, True, False]
        >>> is_sentinel("Anonymous^Patient"), is_sentinel("Patient X")
        (True, False)
    """
    rest = set(list_words(text)) - _OF_PEOPLE
    of_nobody = bool(rest) and all(len(word) > 2 and word in _NOBODY for word in rest)
    return of_nobody or _is_among(text, _NOBODY)


def says_no_class(text: str) -> bool:
    """Tell whether a label says that there is none. `none` itself may be a class.

    Example:
        >>> [says_no_class(text) for text in ("NaN", "?", "Not given", "none", "no finding")]
        [True, True, True, False, False]
    """
    return _is_among(text, _NO_CLASS)


def _is_among(text: str, words: frozenset[str]) -> bool:
    plain = tidy(text).casefold().strip("()[]{}\"'")
    if not plain or plain in words or re.sub(r"[\s_-]+", "", plain) in words:
        return True
    return _ERROR.fullmatch(plain) is not None
