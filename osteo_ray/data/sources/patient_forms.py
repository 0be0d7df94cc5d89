"""The usual ways in which paths tell patients apart, and how well they fit a set of images."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from osteo_ray.data.sources.words import cut_suffix

Identifiers = Sequence[str]
"""The patient of each image; "" where it is not known."""

_SEP = r"[ _.()-]"
_END = r"(?:\.nii)?(?:\.[^./]+)?$"
_SIDE = r"(?i:left|right|lt|rt|l|r)"
_VIEW = r"(?i:left|right|l|r|ap|pa|lat|lateral|frontal|front|side|standing|supine)"
_FORMS = (  # what is said of a form, and its pattern
    (
        "the word `patient` or the like, and a number",
        r"(?i)(?:^|[/_ .-])(?:(?:patients?|patid|pat|subjects?|subj|sub|persons?|participant|cases?"
        r"|pid|pt)(?:[ _.-]*id)?[ _.#-]*|p[_-]?(?=\d{4}))(\d+)(?!\d)",
    ),
    (
        "the name that a picture had before Roboflow or Augmentor made versions of it",
        r"(?:^|/)([^/]+?)[_.-](?i:jpe?g|png|bmp|tiff?)(?:\.rf\.|_(?=[0-9a-f]{8}-))[0-9A-Za-z]+",
    ),
    (
        "a number at the beginning of the file name",
        rf"(?:^|/)([^/ _.()-]*\d[^/ _.()-]*){_SEP}+[^/]*[^/.]\.[^./]+$|"
        rf"(?:^|/)([^/ _.()-]*\d[^/ _.()-]*)[ _()-]+[^/.]+$",
    ),
    (
        "a word and a number at the beginning of the file name",
        r"(?:^|/)[A-Za-z]+[ _-]?(\d+)[ _()-]+[^/]*$",
    ),
    (
        "the file name up to the side of the body",
        rf"(?:^|/)([^/]*\d[^/]*?)(?<![A-Za-z]){_SEP}*{_SIDE}(?:{_SEP}*(?i:knee))?{_END}",
    ),
    (
        "the name of a person, up to the side of the body",
        rf"(?:^|/)([^/\d]*[^/\d _.()-]){_SEP}+{_SIDE}(?:{_SEP}*(?i:knee))?{_END}",
    ),
    (
        "the file name up to the side of the body within it",
        rf"(?:^|/)([^/]*?\d){_SEP}*{_SIDE}(?:{_SEP}*(?i:knee))?{_SEP}+[^/]+$",
    ),
    (
        "the file name after the side of the body",
        rf"(?:^|/){_SIDE}(?:{_SEP}*(?i:knee))?(?:{_SEP}+|(?=\d))([^/]*\d[^/]*?){_END}",
    ),
    (
        "the file name in folders of sides or views",
        rf"(?:^|/){_VIEW}/([^/]*\d[^/]*?){_END}",
    ),
    (
        "a number before a letter in the file name",
        rf"(?:^|/)[^/]*?(\d+)[a-eA-E]{_END}",
    ),
    (
        "the second part of the file name",
        r"(?:^|/)[^/_]+_((?=[^/_]*\d)[^/_]{5,}|(?![LRlr]\d)[A-Za-z]+\d{2,})_[^/]*$",
    ),
)
_OF_VERSIONS = (
    "the first number in the names of pictures and of their versions",
    r"([^/ _.()-]*\d[^/ _.()-]*)(?:[ _.()-][^/]*)?\.[^./]+$",
)
_READABLE = (  # some forms as one would write them for a set at hand
    r"patient(\d+)",
    r"(?:patient|person|subject|case|sub)[_-]?(\d+)",
    r"(?i)(?:patient|person|subject|case|sub)[ _-]*(\d+)",
    r"/p(\d+)",
    r"^([^/_]+)_",
    r"([^/_]+)_[^/]*$",
    r"([^/-]+)-[^/]*$",
    r"([^/ ]+) [^/]*$",
    r"(\d+)_[^/]*$",
    r"(\d+)-[^/]*$",
    r"([^/]+)[LR]\.",
    r"([^/]+)_[LR]\.",
    r"([^/]+)_(?:left|right)\.",
    r"(?i)([^/]+?)[ _-]?(?:left|right|l|r)\.",
    r"(?i)/(?:left|right|l|r|ap|pa|lat)/([^/]+)\.",
    r"(\d+)[a-e]\.",
    r"([^/]+)_(?:png|jpg|jpeg)\.rf\.",
    r"([^/]*\d)[LR]",
    r"([^/]*\d)(?:left|right)",
    r"[LR](\d+)",
    r"(?:left|right)(\d+)",
    r"(\d+)[^/]*$",
)
_WORD_FORM = _FORMS[0][0]
_NO_PATIENTS = re.compile(  # folders with numbers that stand for something else, such as grades
    r"(?i)(?:study|series|view|scan|visit|session|ses|fold|batch|part|chunk|shard|site|clinic|"
    r"hospital|cent(?:er|re)|device|scanner|room|grade|kl|kellgren|class|stage|level|group|set|"
    r"left|right|image|img|frame|slice|size|res|v|ver|version|year|month|day|week|aug|split|train|"
    r"test|val|age|cohort|dataset)[ _-]*\w{0,4}|\d|row-\d{7}|.*\.(?:parquet|tar|tar\.\w+|tgz|zip)"
)
_DATE = re.compile(
    r"(?:19|20)\d\d(?:[-_.]?(?:0[1-9]|1[0-2])(?:[-_.]?(?:0[1-9]|[12]\d|3[01])\d*)?)?"
)
_LEAST_PATIENTS = 3
_LEAST_MATCHED, _LEAST_MATCHED_BY_WORD = 0.5, 0.1  # shares of the images
_LEAST_SHARED = 0.02  # share of the images that have a companion
_LEAST_VERSIONS = 0.1  # share of the images that are called like another one with something added
_LARGEST_FOLDER, _LARGEST_NUMBER = 0.25, 0.1  # shares of the images that one patient may have
_ALWAYS_FEW = 12  # images that one patient may have in the smallest set
_DEEPEST = 6


@dataclass(frozen=True)
class Form:
    """A way to tell patients, and what it makes of a set of images.

    Attributes:
        words: What names the patient, as a phrase.
        accept: The flag that accepts it.
        identifiers: The patient of each image.
    """

    words: str
    accept: str
    identifiers: Identifiers

    @property
    def sizes(self) -> Counter[str]:
        """Number of images of each patient."""
        return Counter(name for name in self.identifiers if name)

    @property
    def n_shared(self) -> int:
        """Number of images whose patient has another one."""
        return sum(n for n in self.sizes.values() if n > 1)

    @property
    def n_joined(self) -> int:
        """By how much it reduces the number of groups."""
        return sum(self.sizes.values()) - len(self.sizes)

    def is_plausible(self, n_classes: int, matched: float, largest: float) -> bool:
        """Tell whether these may be patients.

        Args:
            n_classes: Number of classes, which are no patients.
            matched: Least share of images with an identifier.
            largest: Largest share of images that one patient may have.
        """
        n, sizes = len(self.identifiers), self.sizes
        if len(sizes) < max(_LEAST_PATIENTS, n_classes + 1):
            return False
        dates = sum(bool(_DATE.fullmatch(name)) for name in sizes)
        return (
            sum(sizes.values()) >= matched * n
            and self.n_shared >= max(2, _LEAST_SHARED * n)
            and max(sizes.values()) <= max(largest * n, _ALWAYS_FEW)
            and 2 * dates < len(sizes)
        )


def apply_pattern(pattern: str, paths: Sequence[str]) -> list[str]:
    """Return the patient of each path: the groups of a pattern, joined, or else the whole match.

    Example:
        >>> apply_pattern(r"(\\d+)[LR]\\.png", ["a/17L.png", "a/17R.png", "a/x.png"])
        ['17', '17', '']
        >>> apply_pattern(r"^[^_]+", ["17_1.png"])
        ['17']
    """
    compiled = re.compile(pattern)
    found = []
    for path in paths:
        match = compiled.search(path)
        if match is None:
            found.append("")
            continue
        named = match.groupdict().get("patient")
        groups = [named] if "patient" in compiled.groupindex else list(match.groups())
        parts = [part for part in groups if part] if compiled.groups else [match.group()]
        found.append("/".join(parts))
    return found


def quote_pattern(pattern: str) -> str:
    """Return the flag for a pattern, as it is written in a shell."""
    return f"--patient-pattern '{pattern}'"


def find_form(
    paths: Sequence[str], labels: Sequence[str], n_levels: int, others: Sequence[Form] = ()
) -> Form | None:
    """Find the way to tell patients by their paths that fits best; None if none does.

    A word that says so in most paths counts first, as numbers beside it may be of a site; unless
    another form tells these patients apart as well, and others beside them, such as controls. Of
    other forms, it is the one that joins most images: groups that are too large cost a little
    precision, whereas a patient on both sides of a split makes accuracy a memory of faces.

    Args:
        paths: Path of each image.
        labels: Class of each image.
        n_levels: Number of folders above the images that stand for parts and classes.
        others: Other ways that have been found plausible.
    """
    n_classes = len(set(labels))
    found, worded = list(others), list[Form]()
    forms = [*_FORMS, _OF_VERSIONS] if _has_versions(paths, labels) else _FORMS
    for words, pattern in forms:
        by_word = words == _WORD_FORM
        identifiers = apply_pattern(pattern, paths)
        form = Form(words, quote_pattern(pattern), identifiers)
        least = _LEAST_MATCHED_BY_WORD if by_word else _LEAST_MATCHED
        if form.is_plausible(n_classes, least, 1.0 if by_word else _LARGEST_NUMBER):
            found.append(form)
            if by_word and 2 * sum(form.sizes.values()) > len(paths):
                worded.append(form)
    found += [
        form
        for form in _list_folder_forms(paths, n_levels)
        if form.is_plausible(n_classes, _LEAST_MATCHED, _LARGEST_FOLDER)
    ]
    for first in worded:
        found = [first, *(form for form in found if _tells_alike(first, form))]
    if not found:
        return None
    best = max(found, key=lambda form: form.n_joined)
    return best if best in others else _simplify(best, paths)


def _tells_alike(one: Form, other: Form) -> bool:
    """Tell whether another form makes the same patients of the images that one names.

    It may name others beside them.
    """
    pairs = set(zip(one.identifiers, other.identifiers, strict=True))
    same = [name for known, name in pairs if known]
    beside = {name for known, name in pairs if not known}
    return len(same) == len(one.sizes) == len(set(same) - {""} - beside)


def _has_versions(paths: Sequence[str], labels: Sequence[str]) -> bool:
    """Tell whether many images are called like another one of their class with words added to it.

    So are the pictures that augmentation makes of one (`12_aug1.png`, `rotated_12.png` beside
    `12.png`) and copies (`12 (1).png`). Where there are none, plain numbers are no patients: most
    sets count the images of each class anew.
    """
    names = [
        (label, tuple(filter(None, re.split(_SEP, cut_suffix(path).rpartition("/")[2]))))
        for path, label in zip(paths, labels, strict=True)
    ]
    known = {name for name in names if any(map(str.isdigit, "".join(name[1])))}
    n_versions = sum(
        any(
            (label, words[start:end]) in known
            for start, end in combinations(range(len(words) + 1), 2)
            if end - start < len(words)
        )
        for label, words in names
    )
    return n_versions >= max(2, _LEAST_VERSIONS * len(paths))


def _simplify(form: Form, paths: Sequence[str]) -> Form:
    """Return a form with a pattern that people can read, if one says the same of these paths."""
    for pattern in _READABLE:
        if apply_pattern(pattern, paths) == form.identifiers:
            return replace(form, accept=quote_pattern(pattern))
    return form


def _list_folder_forms(paths: Sequence[str], n_levels: int) -> Iterator[Form]:
    """Yield a form for each level of folders whose names look like those of patients."""
    deepest = min(max((path.count("/") for path in paths), default=0), _DEEPEST)
    for level in range(n_levels, deepest):
        pattern = rf"^(?:[^/]+/){{{level}}}([^/]+)/" if level else "^([^/]+)/"
        names = apply_pattern(pattern, paths)
        distinct = set(names) - {""}
        of_patients = sum(
            any(c.isdigit() for c in name) and not _NO_PATIENTS.fullmatch(name) for name in distinct
        )
        if of_patients >= 0.8 * len(distinct):
            yield Form(f"the folder at level {level + 1}", quote_pattern(pattern), names)
