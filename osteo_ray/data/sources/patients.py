"""Say which images are of one patient: as the source says, as the user says, or as paths suggest.

What paths suggest is never believed without a word: `osteo-ray audit` and `osteo-ray compare` say
what was found, on how many images, and what to write to accept or to refuse it. Until then, images
that seem to be of one patient stay together. If that is wrong, groups are larger than need be; the
opposite error would put the other knee of a test patient among the training images.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from osteo_ray.base.errors import InputError
from osteo_ray.data.sources.layouts import is_dicom_name
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.options import NO_PATTERN, SourceOptions
from osteo_ray.data.sources.patient_forms import (
    Form,
    apply_pattern,
    find_form,
    quote_pattern,
)
from osteo_ray.data.sources.words import is_sentinel, tidy

REFUSE = f"--patient-pattern {NO_PATTERN}"
_DECIMALS = r"(?:[.,]0*)?"  # of a number that was held as a float
_ZEROS = re.compile(rf"[-+]?0+{_DECIMALS}|-\d{{1,4}}{_DECIMALS}")
_NEGATIVE = re.compile(rf"-\d+{_DECIMALS}")
_FILLERS = re.compile(rf"-?(?:9{{3,}}|8{{3,}}|7{{4,}}|1234(?:5(?:6(?:78?9?)?)?)?){_DECIMALS}")
_NUMBER = re.compile(rf"(\d{{1,18}}){_DECIMALS}")
_MOST_TOLD = 6
_MANY_IMAGES = 10  # of one patient


@dataclass(frozen=True)
class _Cells:
    """What a column says: the patient of each image, and how often each word for none occurs."""

    identifiers: list[str]
    unknown: Counter[str]


def know_patient(identifier: str) -> str:
    """Return the identifier of a patient, or "" if it only says that there is none.

    Example:
        >>> [know_patient(text) for text in ("P-7", "Anonymous", "0000", "-", "10")]
        ['P-7', '', '', '', '10']
    """
    return "" if is_sentinel(identifier) or _ZEROS.fullmatch(tidy(identifier)) else identifier


def fold_patient(identifier: str) -> str:
    """Return what all spellings of an identifier have in common, in whatever source they are.

    Capitals count for nothing, and neither does the `.0` or `,0` of a number that was held as a
    float.

    Example:
        >>> [fold_patient(text) for text in ("P-7", " p-7", "17.0", "17,0", "17", "017")]
        ['p-7', 'p-7', '17', '17', '17', '017']
    """
    return re.sub(r"(?<=\d)[.,]0+$", "", tidy(identifier).casefold())


def settle_patients(source: Source, options: SourceOptions) -> Source:
    """Return a source whose items name patients, with notes on where they come from.

    Args:
        source: The source; patient_id holds what its table says.
        options: What the user says.

    Raises:
        InputError: The pattern of the user matches no path, or gives all images one patient.
    """
    paths = source.items["path"].tolist()
    pattern = options.patient_pattern
    unfit: list[str] = []
    if pattern is not None and pattern != NO_PATTERN:
        named = ["" if is_sentinel(name) else name for name in apply_pattern(pattern, paths)]
        if any(named) or not options.lenient:
            identifiers, notes = _apply_given(pattern, source, named)
            return _with_patients(source, identifiers, notes, guessed=False)
        unfit = [f"{quote_pattern(pattern)} matches no path here, so it tells no patients."]
    cells = _read_cells(source.items["patient_id"].tolist())
    notes = [*unfit, *_describe_cells(cells)]
    if any(cells.identifiers) or pattern is not None:
        if not any(cells.identifiers):
            why = "no column names them either" if unfit else f"{REFUSE} says so"
            notes = [*notes, f"Patients are not known: {why}."]
        found = _with_patients(source, cells.identifiers, notes, guessed=False)
        return replace(found, doubts=(*found.doubts, *_doubt_few(cells, source.n_classes)))
    labels = source.items["label"].tolist()
    form = find_form(paths, labels, source.n_levels, _list_column_forms(source))
    if form is None:
        said = "Patients are not known: no column names them, and no usual form of paths fits."
        if source.kind != "archive" and any(map(is_dicom_name, paths)):
            said = f"{said[:-1]}; headers of DICOM files may name them."
        return _with_patients(source, cells.identifiers, [*notes, said], guessed=False)
    form = replace(form, identifiers=_join_spellings(form.identifiers))
    suggested = _with_patients(source, form.identifiers, notes, guessed=True)
    return replace(suggested, doubts=(*suggested.doubts, _state(form, paths, labels)))


def _with_patients(
    source: Source, identifiers: Sequence[str], notes: Sequence[str], *, guessed: bool
) -> Source:
    items = source.items.assign(patient_id=list(identifiers)).astype({"patient_id": str})
    return replace(source, items=items, notes=(*source.notes, *notes), guessed=guessed)


def _apply_given(pattern: str, source: Source, named: Sequence[str]) -> tuple[list[str], list[str]]:
    paths = source.items["path"].tolist()
    found = _join_spellings(named)
    sizes = Counter(name for name in found if name)
    flag = quote_pattern(pattern)
    if not sizes or (len(sizes) == 1 and len(paths) > 1):
        what = "matches none of them" if not sizes else "gives all that it matches one patient"
        raise InputError(
            f"Expected {flag} to tell the patients of the {len(paths)} images in {source.uri} by "
            f"their paths, such as `{paths[0]}`, but it {what}. Put what names the patient into a "
            f"group in parentheses, or write {REFUSE}."
        )
    replaced = " It replaces the column of patients." if any(source.items["patient_id"]) else ""
    shared = sum(n for n in sizes.values() if n > 1)
    return found, [
        f"Patients by {flag}: {len(sizes)}, on {sum(sizes.values())} of {len(paths)} images; "
        f"{shared} share theirs with another image.{replaced}"
    ]


def _read_cells(cells: Sequence[str]) -> _Cells:
    """Read a column: words such as `unknown` name nobody, and neither do numbers such as 0."""
    counts = Counter(cells)
    known = {cell: n for cell, n in counts.items() if not is_sentinel(cell)}
    negative = {fold_patient(cell) for cell in known if _NEGATIVE.fullmatch(tidy(cell))}
    fillers = {cell for cell in known if _is_filler(cell, known, len(negative))}
    unknown = Counter(
        {cell: n for cell, n in counts.items() if cell not in known or cell in fillers}
    )
    return _Cells(_join_spellings(["" if cell in unknown else cell for cell in cells]), unknown)


def _join_spellings(identifiers: Sequence[str]) -> list[str]:
    """Write each patient as that is spelled first."""
    folded = {name: fold_patient(name) for name in dict.fromkeys(identifiers)}
    spelled: dict[str, str] = {}
    for name, fold in folded.items():
        spelled.setdefault(fold, name)
    return [spelled[folded[name]] for name in identifiers]


def _is_filler(cell: str, known: dict[str, int], n_negative: int) -> bool:
    """Tell whether a number stands for an unknown patient, as 0, -1 and 999 may.

    It is a patient after all if the others are counted up from beside it, and it has no more images
    than another. Long negative numbers are patients where there are several: half of the pseudonyms
    that hash functions give are negative.

    Args:
        cell: The number.
        known: Number of images by cell.
        n_negative: Number of different negative numbers.
    """
    plain = tidy(cell)
    if _NEGATIVE.fullmatch(plain):
        is_short = _ZEROS.fullmatch(plain) or _FILLERS.fullmatch(plain)
        return bool(is_short) or n_negative == 1
    if not (_ZEROS.fullmatch(plain) or _FILLERS.fullmatch(plain)):
        return False
    others = {name: n for name, n in known.items() if name != cell}
    told = (_NUMBER.fullmatch(tidy(name)) for name in others)
    numbers = {int(number[1]) for number in told if number}
    value = int(re.split("[.,]", plain)[0])
    beside = {value - 1, value + 1} & numbers
    return not beside or known[cell] > max(others.values(), default=0)


def _describe_cells(cells: _Cells) -> list[str]:
    sizes = Counter(name for name in cells.identifiers if name)
    notes = []
    if sizes:
        total, shared = len(cells.identifiers), sum(n for n in sizes.values() if n > 1)
        notes.append(
            f"Patients named by the source: {len(sizes)}, on {sum(sizes.values())} of {total} "
            f"images; {shared} share theirs with another image."
        )
    words = {cell: n for cell, n in cells.unknown.most_common() if cell}
    if words:
        told = ", ".join(f"`{cell}` ({n})" for cell, n in list(words.items())[:_MOST_TOLD])
        more = f" and {len(words) - _MOST_TOLD} more" if len(words) > _MOST_TOLD else ""
        notes.append(
            f"In the column of patients, {told}{more} name nobody: each of these images counts as "
            "the only one of its patient."
        )
    elif sizes and cells.unknown:
        notes.append(
            f"The cell is empty for {cells.unknown['']} images, each of which counts as the only "
            "one of its patient."
        )
    return notes


def _doubt_few(cells: _Cells, n_classes: int) -> list[str]:
    """Say if a column names so few patients, on many images, that it may name something else.

    So does a column `case` that parts cases from controls.
    """
    sizes = Counter(name for name in cells.identifiers if name)
    if not 0 < len(sizes) <= n_classes or sizes.total() < _MANY_IMAGES * len(sizes):
        return []
    return [
        f"Only {len(sizes)} patients are named, on {sizes.total()} images, no more than there are "
        "classes; if the column of patients names something else, such as cases and controls, "
        "write --columns patient= to leave it unread."
    ]


def _list_column_forms(source: Source) -> list[Form]:
    """Return the columns that may name patients: those of studies, or of identifiers of something.

    Images of a study are of one patient, but a patient may have several studies. What `id` names,
    the table does not say.
    """
    forms = []
    n_classes = source.items["label"].nunique()
    for column, values in source.hints.items():
        cells = _read_cells([values.get(path, "") for path in source.items["path"]])
        form = Form(f"the column `{column}`", f"--columns patient='{column}'", cells.identifiers)
        if form.is_plausible(n_classes, 0.0, 0.5):
            forms.append(form)
    return forms


def _state(form: Form, paths: Sequence[str], labels: Sequence[str]) -> str:
    """Say what was found, on how many images, and what to write to accept or refuse it."""
    sizes = form.sizes
    classes: dict[str, set[str]] = {}
    for name, label in zip(form.identifiers, labels, strict=True):
        if name:
            classes.setdefault(name, set()).add(label)
    named = "named"
    if any(map(is_dicom_name, paths)):
        named = "named, unless headers of DICOM files do so"
    across = sum(len(found) > 1 for found in classes.values())
    return (
        f"No patients are {named}, but {form.words} may name them: {len(sizes)} on "
        f"{sum(sizes.values())} of {len(form.identifiers)} images, at most "
        f"{max(sizes.values())} images each, {across} of them in several classes; {form.n_shared} "
        "images share theirs with another. Such images are kept on one side of a split, for "
        f"safety. If these are patients, write {form.accept}; if not, {REFUSE}."
    )
