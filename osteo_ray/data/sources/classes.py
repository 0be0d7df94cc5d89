"""Join the spellings of a class, and tell missing labels from classes."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from osteo_ray.base.errors import InputError
from osteo_ray.base.formatting import say_number
from osteo_ray.data.sources.words import list_words, read_split, says_no_class, tidy

_TRUTHS = {"true": "1", "yes": "1", "y": "1", "t": "1", "false": "0", "no": "0", "n": "0", "f": "0"}
_LETTERS = frozenset("yn"), frozenset("tf")  # beside each other, `N` and `F` are other words
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]0*)?")
_JOINED = re.compile(r"[|;+,&/]")
_AS_LIST = "[]'\" "  # around the names of classes where Python has written a list of them
_VERSIONS = frozenset(
    ("aug", "augmented", "augmentation", "original", "orig", "raw", "copy", "flipped", "rotated")
)
_OF_GRADES = frozenset(("kl", "kellgren", "lawrence", "grade", "stage", "class", "level", "score"))
_GRADE = re.compile(r"(?<=[^\W\d_]) (?=\d)|(?<=\d) (?=[^\W\d_])")  # between letter and digit
_GAP = re.compile(r"(?:[\s_]|-(?!\d+[.,]\d|$))+")  # but a sign, as in `T-1.5` or `A-`, is none
_MOST_TOLD = 3
_MOST_GRADES = 20  # that people number
_LEAST_LETTERS = 6  # of names that may be misspelled, and of what forms of a word share
_LEAST_STEM, _MOST_ENDING = 3, 3  # letters of a word that is cut short, and of endings


def join_spellings(labels: Iterable[str], uri: str) -> tuple[dict[str, str], list[str]]:
    """Give all spellings of a class one name: that of most images, of equals the first in order.

    Spellings differ in case, in how letters are composed, in spaces, hyphens and underscores, which
    may be missing between a letter and a digit, or in how a number is written.

    Args:
        labels: The label of each image; "" where there is none.
        uri: The source, for the message.

    Returns:
        The name of its class by label, "" for labels that are none; and what to tell the user.

    Raises:
        InputError: The labels are words of a split, or say the same by words and by numbers.

    Example:
        >>> names, notes = join_spellings(["Normal", "normal", "normal", "1.0", "1", "nan"], "x")
        >>> names
        {'Normal': 'normal', 'normal': 'normal', '1.0': '1', '1': '1', 'nan': ''}
        >>> notes[0]
        'The labels `normal` (2) and `Normal` (1) are taken as one class, `normal`.'
    """
    counts = Counter(labels)
    known = [label for label in counts if not says_no_class(label)]
    # Where all labels are yes or no, `Y` is `yes` too.
    folds = set(map(fold_label, known))
    are_truths = folds <= _TRUTHS.keys() and not all(folds & letters for letters in _LETTERS)
    truths = _TRUTHS if are_truths else {}
    spellings: dict[str, list[str]] = {}
    for label in sorted(known, key=lambda one: (-counts[one], one)):
        folded = fold_label(label)
        spellings.setdefault(truths.get(folded, folded), []).append(label)
    names = dict.fromkeys(counts, "")
    classes: dict[str, int] = {}
    notes = []
    for folded, of_class in spellings.items():
        # Of numbers, `1` rather than `1.0`; of words, the most frequent.
        name = tidy(of_class[0])
        if _NUMBER.fullmatch(name):
            name = folded if folded in of_class else re.split("[.,]", name)[0]
        names |= dict.fromkeys(of_class, name)
        classes[name] = sum(counts[label] for label in of_class)
        if len(of_class) > 1:
            told = _list_counts({label: counts[label] for label in of_class})
            notes.append(f"The labels {told} are taken as one class, `{name}`.")
    _check_words(classes, uri)
    none = {label: n for label, n in counts.items() if label and not names[label]}
    if none:
        notes.append(f"The labels {_list_counts(none)} say that there is none: not a class.")
    return names, notes


def fold_label(label: str) -> str:
    """Return what all spellings of a label have in common.

    Example:
        >>> [fold_label(label) for label in (" No_Finding ", "01.0", "KL-1", "Grade 1 1", "T-1.5")]
        ['no finding', '1', 'kl1', 'grade1 1', 't-1.5']
    """
    plain = tidy(label)
    if _NUMBER.fullmatch(plain):
        return str(int(re.split("[.,]", plain)[0])) if len(plain) < 19 else plain
    words = _GAP.sub(" ", plain.casefold()).strip()
    return _GRADE.sub("", words) or plain


def spell_as(labels: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return, for each label of one set, what another set calls the same class, or else the label.

    Example:
        >>> spell_as(["Normal", "worn out"], ["normal", "osteoporosis"])
        {'Normal': 'normal', 'worn out': 'worn out'}
        >>> spell_as(["no", "yes"], ["0", "1"])
        {'no': '0', 'yes': '1'}
    """
    ours, theirs = ({name: fold_label(name) for name in names} for names in (labels, known))
    folds = {*ours.values(), *theirs.values()}
    truths = _TRUTHS if folds <= {*_TRUTHS, *_TRUTHS.values()} else {}
    called = {truths.get(fold, fold): name for name, fold in theirs.items()}
    return {name: called.get(truths.get(fold, fold), name) for name, fold in ours.items()}


def _check_words(classes: Mapping[str, int], uri: str) -> None:
    parts = [name for name in classes if read_split(name)]
    if len(parts) >= 2 and len(parts) == len(classes):
        raise InputError(
            f"Expected labels in {uri} to name classes, but all of them name parts of a split: "
            f"{', '.join(sorted(parts))}. In a table, say which column holds the class, by "
            "--columns label=COLUMN split=COLUMN; in folders, put each image into PART/CLASS/."
        )
    truths = {_TRUTHS[name.casefold()] for name in classes if name.casefold() in _TRUTHS}
    if truths and truths & classes.keys():
        raise InputError(
            f"Expected one way of writing each class in {uri}, but found {_list_counts(classes)}, "
            "which say the same by words and by numbers. Write them all as numbers or all as words."
        )


def doubt_classes(labels: Iterable[str]) -> list[str]:
    """Say which classes may be meant as one, or as none, but may as well be what they are.

    Args:
        labels: The class of each image.

    Example:
        >>> [doubt] = doubt_classes(["osteoporosis"] * 9 + ["osteoporsis"])
        >>> doubt.partition(",")[0]
        '`osteoporsis` (1) and `osteoporosis` (9) are taken as two classes'
    """
    classes = Counter(labels)
    notes = [
        f"`{name}` ({n}) is taken as a class, that of images without a finding; where it stands "
        "for a missing label, leave the label empty."
        for name, n in classes.items()
        if name.casefold() == "none"
    ]
    rare_first = sorted(classes, key=lambda name: (classes[name], name))
    words = {name: frozenset(list_words(name)) for name in classes}
    for number, rare in enumerate(rare_first):
        for other in rare_first[number + 1 :]:
            apart, shared = words[rare] ^ words[other], words[rare] & words[other]
            why = ""
            if _differ_by_a_slip(rare.casefold(), other.casefold()):
                why = "one may be a misspelling of the other"
            elif _are_forms_of_a_word(rare.casefold(), other.casefold()):
                why = "both may be forms of one word"
            elif apart and apart <= _VERSIONS:
                why = "one may hold versions of the images of the other"
            elif apart and shared and apart <= _OF_GRADES:
                why = "both may be one grade"
            if why:
                told = _list_counts({rare: classes[rare], other: classes[other]})
                notes.append(
                    f"{told} are taken as two classes, though {why}; if so, correct it in the "
                    "source."
                )
    return notes + _doubt_findings(classes) + _doubt_numbers(classes)


def doubt_rows(paths: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Say if rows of a table give images another class than the folders that these lie in.

    Folders are those of classes if more images lie in one that is called like their own class.

    Args:
        paths: Path of each image.
        labels: Its class.

    Example:
        >>> paths = ["normal/1.png", "normal/2.png", "worn/3.png"]
        >>> [doubt] = doubt_rows(paths, ["normal", "worn", "worn"])
        >>> doubt.partition(":")[0]
        'Rows give 1 image another class than that which their folder is called like'
    """
    folded = {label: fold_label(label) for label in set(labels)}
    places = {path.rpartition("/")[0] for path in paths}
    called = {
        place: set(folded.values()).intersection(map(fold_label, place.split("/")))
        for place in places
    }
    agreeing, torn = 0, list[str]()
    for path, label in zip(paths, labels, strict=True):
        named = called[path.rpartition("/")[0]]
        if folded[label] in named:
            agreeing += 1
        elif named:
            torn.append(f"`{path}` is `{label}`")
    if not torn or agreeing <= len(torn):
        return []
    images = say_number(len(torn), "image", "images")
    return [
        f"Rows give {images} another class than that which their folder is called like: "
        f"{', '.join(sorted(torn)[:_MOST_TOLD])}. The rows count; if they are wrong, correct them."
    ]


def _doubt_findings(classes: Mapping[str, int]) -> list[str]:
    """Say which classes join others, as where an image has several findings."""
    notes = []
    bare = {name.strip(_AS_LIST) for name in classes}
    for name, n in classes.items():
        parts = [part.strip(_AS_LIST) for part in _JOINED.split(name)]
        known = [part for part in parts if part in bare]
        if len(parts) > 1 and known:
            told = " and ".join(f"`{part}`" for part in parts)
            notes.append(
                f"`{name}` joins the classes {told}, on {n} images, and is taken as a class of its "
                "own; if these are several findings, give a column that holds one."
            )
    return notes[:_MOST_TOLD]


def _doubt_numbers(classes: Mapping[str, int]) -> list[str]:
    """Say if classes look like patients: many, and told by numbers, with few images each."""
    numbers = [name for name in classes if any(map(str.isdigit, name))]
    if len(numbers) < _MOST_GRADES or 2 * len(numbers) < len(classes):
        return []
    return [
        f"The {len(classes)} classes mostly bear numbers, such as `{min(numbers)}`, with "
        f"{sum(classes.values()) / len(classes):.1f} images each; if these are patients, give the "
        "classes by a table with the columns path, label and patient."
    ]


def _differ_by_a_slip(one: str, other: str) -> bool:
    """Tell whether two names differ by one letter, or by two that changed places.

    A difference in the first letter, as of `symptomatic` and `asymptomatic`, is none.

    Example:
        >>> _differ_by_a_slip("osteoporosis", "osteoporsis"), _differ_by_a_slip("grade1", "grade2")
        (True, False)
    """
    short, long = sorted((one, other), key=len)
    if len(short) < _LEAST_LETTERS or len(long) - len(short) > 1 or short[0] != long[0]:
        return False
    start = _count_shared(short, long)
    if any(c.isdigit() for c in short[start : start + 1] + long[start : start + 1]):
        return False
    if len(short) < len(long):
        return short[start:] == long[start + 1 :]
    swapped = long[:start] + long[start : start + 2][::-1] + long[start + 2 :]
    return short == swapped or short[start + 1 :] == long[start + 1 :]


def _count_shared(one: str, other: str) -> int:
    """Count the letters at the beginning that two names share."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((k for k, (a, b) in pairs if a != b), min(len(one), len(other)))


def _are_forms_of_a_word(one: str, other: str) -> bool:
    """Tell whether two names differ by the end of a word alone, or one word is cut short.

    Example:
        >>> names = ("osteoporotic", "osteopor", "osteopenia", "osteoporosis 2")
        >>> [_are_forms_of_a_word("osteoporosis", name) for name in names]
        [True, True, False, False]
    """
    start = _count_shared(one, other)
    same, ends = one[:start], (one[start:], other[start:])
    if start < _LEAST_STEM or not all(end.isalpha() for end in ends if end):
        return False
    if "" in ends:
        return same.isalpha()
    stem = re.split(r"[\W\d_]", same)[-1]
    return len(stem) >= _LEAST_LETTERS and max(map(len, ends)) <= _MOST_ENDING


def _list_counts(counts: Mapping[str, int]) -> str:
    *first, last = [f"`{label}` ({n})" for label, n in counts.items()]
    return f"{', '.join(first)} and {last}" if first else last
