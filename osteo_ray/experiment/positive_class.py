"""Which of two classes is the positive one: given, recognised from its name, or asked for.

Sensitivity, specificity and whatever else looks at one class only depend on it, so the order of the
alphabet must not decide. Names of classes mostly say which class is the absence of disease, and in
two classes the other one is positive.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from osteo_ray.base.errors import InputError, suggest

_HEALTHY_WORDS = """
normal normals healthy health negative neg negatives control controls benign absent absence
unaffected intact unremarkable clear nonfinding nofinding nofindings none nil nothing undiseased
asymptomatic false normale normaux sain saine sains negatif negatifs negative temoin temoins
benin benigne sano sana sanos sanas negativo negativa negativos negativas ausente ausencia
benigno benigna saludable saludables assente assenza saudavel saudaveis controle controles
controllo gesund gesunde gesunder unauffallig kontrolle kontrollen negativ gutartig gutartige
normaal gezond gezonde negatief goedaardig frisk friska friske terve normaali zdrowy zdrowa
zdrowe zdravy zdrava zdrave prawidlowy ujemny normalni negativni saglikli saglam sehat sihat
норма нормальный нормальная здоровый здоровая здоров отрицательный контроль доброкачественный
здоровии φυσιολογικος υγιης αρνητικος
正常 健康 阴性 陰性 良性 对照 無病 无病 정상
건강 음성 대조군 सामान्य स्वस्थ طبيعي سليم سلبي سالم
"""
_NEGATIONS = "no non not without un sans kein keine ohne sin sem senza ingen geen bez нет без 无 無"
_DISEASED_WORDS = """
abnormal positive pos disease diseased pathological pathology affected sick malignant present
"""
_WEAK_WORDS = "clear false intact absent none nil nothing neg negative negatives"
_HARMLESS_WORDS = """
for of the in a an on by test tests tested result results finding findings class group image images
scan scans x xray ray radiograph radiographs film films patient patients case cases sample samples
study studies knee knees bone bones chest lung lungs left right
"""
_SUBTYPES = frozenset(("small", "hodgkin", "hodgkins"))
"""After a negation, words for a disease of another kind, such as non-small-cell carcinoma."""
_HEALTHY = frozenset(_HEALTHY_WORDS.split())  # whole words, in lower case, without accents
_NOT = frozenset(_NEGATIONS.split())
_DISEASED = frozenset(_DISEASED_WORDS.split())
_WEAK = frozenset(_WEAK_WORDS.split())  # words for other things as well, as in `clear cell`
_HARMLESS = frozenset(_HARMLESS_WORDS.split())
_SIGNS = re.compile(r"(.+?)\s*(?:-|−|\(-\)|\(−\))")  # `OA-`, beside `OA+`
_ZERO = re.compile(r"(?:grade|class|stage|level|kl|birads|label|score|g|c|k)?0+(?:[.,]0+)?")


@dataclass(frozen=True)
class PositiveClass:
    """The positive class, and how it came to be known.

    Attributes:
        name: Of the class.
        basis: given by the user; recognised, as the other class is named as the absence of
            disease; assumed, as the last in sorted order, which nothing that is decided rests on.
    """

    name: str
    basis: Literal["given", "recognised", "assumed"]

    def describe(self) -> str:
        """Say which class is positive, and why.

        Example:
            >>> PositiveClass("worn", "given").describe()
            'Positive class: worn (as given).'
        """
        why = {
            "given": "as given",
            "recognised": "recognised by the names of the classes",
            "assumed": "assumed; say --positive-class if it is another",
        }
        return f"Positive class: {self.name} ({why[self.basis]})."


def find_positive_class(
    classes: Sequence[str], given: str | None = None, *, needed_by: str | None = None
) -> PositiveClass:
    """Find the positive class.

    Args:
        classes: All classes.
        given: What the user says it is.
        needed_by: Name of an endpoint that depends on it.

    Raises:
        InputError: `given` is no class; or the endpoint depends on the positive class, and the
            names of the classes do not tell which it is.

    Example:
        >>> find_positive_class(["fracture", "healthy"])
        PositiveClass(name='fracture', basis='recognised')
    """
    known = sorted(classes)
    if given is not None:
        if given not in known:
            raise InputError(
                f"Expected --positive-class to be one of {', '.join(known)}, but got `{given}`."
                + suggest(given, known)
            )
        return PositiveClass(given, "given")
    if len(known) == 2:
        healthy = [is_healthy(name, other) for name, other in zip(known, known[::-1], strict=True)]
        if healthy[0] != healthy[1]:
            return PositiveClass(known[healthy.index(False)], "recognised")
        if needed_by is not None:
            raise InputError(
                f"Expected to recognise which class is positive, as the endpoint {needed_by} "
                f"depends on it, but neither or both of {' and '.join(known)} sound like the "
                f"absence of disease. Say --positive-class {known[0]} or --positive-class "
                f"{known[1]}, or take an endpoint that treats both alike, such as auc."
            )
    return PositiveClass(known[-1], "assumed")


def check_order(ordinal: Sequence[str], classes: Sequence[str]) -> None:
    """Refuse an order that does not name every class once.

    Args:
        ordinal: The classes in their order, as the user states it.
        classes: All classes.

    Raises:
        InputError: It names others, or not all.
    """
    unknown = [name for name in ordinal if name not in classes]
    missing = [name for name in classes if name not in ordinal]
    if unknown or missing or len(set(ordinal)) < len(ordinal):
        found = f"`{missing[0]}` is not among them" if missing else "one of them is there twice"
        found = f"`{unknown[0]}` is no class" if unknown else found
        raise InputError(
            f"Expected --ordinal to put the classes {', '.join(sorted(classes))} in their order, "
            f"but got {'<'.join(ordinal)}, and {found}."
            + (suggest(unknown[0], classes) if unknown else "")
            + " Name each class once, from the least grade to the most."
        )


def is_healthy(name: str, other: str = "") -> bool:
    """Tell whether a class is named as the absence of disease.

    Args:
        name: Of the class.
        other: Name of the other class: "non-covid" is the absence of "covid".

    Example:
        >>> [is_healthy(name) for name in ("Normal", "abnormal", "No Finding", "Grade 0", "KL4")]
        [True, False, True, True, False]
        >>> is_healthy("non-covid", "covid"), is_healthy("OA-", "OA+"), is_healthy("disease-free")
        (True, True, True)
        >>> is_healthy("triple negative", "luminal"), is_healthy("test negative", "infected")
        (False, True)
    """
    words, others = _split_words(name), _split_words(other)
    joined = "".join(words)
    if _ZERO.fullmatch(joined) is not None or _is_minus(name, other):
        return True
    if words and words[0] in _NOT:
        return not set(words[1:]) & (_HEALTHY | _SUBTYPES)
    if others and any(
        joined == negation + "".join(others) for negation in ("non", "no", "not", "un")
    ):
        return not set(others) & (_HEALTHY | _SUBTYPES)
    if len(words) > 1 and words[-1] == "free":
        return not set(words[:-1]) & _HEALTHY
    if set(words) & _DISEASED:
        return False
    found = set(words) & _HEALTHY
    if found and found <= _WEAK:
        return set(words) <= _WEAK | _HARMLESS | set(others)
    return joined in _HEALTHY or bool(found)


def _is_minus(name: str, other: str) -> bool:
    """Tell whether a class is called as the other one, with a minus for its plus."""
    found = _SIGNS.fullmatch(name.strip())
    stem = re.sub(r"\s*(?:\+|\(\+\))$", "", other.strip())
    return found is not None and stem != other.strip() and found[1].casefold() == stem.casefold()


def _split_words(name: str) -> list[str]:
    """Split a name into words: lower case, without accents, at anything but letters and digits."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    spaced = re.sub(r"(?i)\bw/o\b", "without", spaced)
    plain = unicodedata.normalize("NFKD", spaced.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c) or ord(c) > 0x0900)
    plain = (
        unicodedata.normalize("NFC", plain).replace("ø", "o").replace("ł", "l").replace("ı", "i")
    )
    return re.findall(r"[^\W_]+(?:[\u093e-\u094d]+[^\W_]*)*", plain)
