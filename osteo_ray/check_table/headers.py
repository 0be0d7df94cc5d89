"""What the headings of a printed table mean, in any case and spelling. Pure."""

import re
from dataclasses import dataclass
from difflib import get_close_matches

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.check_table.matrices import Confusion
from osteo_ray.check_table.scores import FIGURES, METRICS, OF_CLASS

SIZES = ("n_positive", "n_negative", "n_test")
CLASS_COUNT = "n_class:"
"""Starts the name of a column with the test images of one class of several."""

_SPELLINGS = {
    "model": "model models method methods network networks classifier classifiers architecture "
    "algorithm approach backbone cnn modelname system technique",
    "data_set": "dataset data datasets cohort testset database",
    "accuracy": "accuracy acc accuracyscore oa overallacc overallaccuracy classificationaccuracy",
    "precision": "precision prec ppv positivepredictivevalue",
    "recall": "recall rec",
    "sensitivity": "sensitivity sens sen se sn tpr truepositiverate",
    "specificity": "specificity spec spe sp tnr truenegativerate",
    "npv": "npv negativepredictivevalue",
    "f1": "f1 f1score f1measure f1value fscore fmeasure mf1",
    "balanced_accuracy": "balancedaccuracy balancedacc balacc bacc ba bac balancedaccuracyscore",
    "kappa": "kappa cohenskappa cohenkappa cohens κ cohenkappascore kappascore cohensκ cohenκ",
    "mcc": "mcc matthews matthewscorrelation matthewscorrelationcoefficient matthewscoefficient"
    " matthewscorrcoef",
    "n_positive": "npositive npos positives positive npositives positiveimages numpositive",
    "n_negative": "nnegative nneg negatives negative nnegatives negativeimages numnegative",
    "n_test": "ntest n testimages nimages ntestimages samples nsamples testsize total "
    "numtest testsamples",
    "folds": "folds nfolds fold kfolds kfold runs nruns seeds nseeds repeats repetitions",
    "class_counts": "classcounts imagesperclass nperclass classsizes",
    "source": "source",
    **{name: name for name in Confusion._fields},
}
_ASIDE = (
    "auc auroc rocauc aucroc roc areaunderthecurve areaunderthereceiveroperatingcharacteristiccurve"
    " auprc prauc aucpr ap averageprecision map meanaverageprecision loss testloss brier "
    "brierscore ece calibrationerror logloss params parameters numberofparameters flops gflops "
    "time trainingtime inferencetime epochs epoch year ref reference references author authors "
    "study pvalue iou dice jaccard ci 95ci unnamed0 no id index row comment comments note "
    "notes remark remarks qwk lwk wkappa kappaw κw "
    "f2 f2score f2measure f05 f05score f05measure fbeta fbetascore fbetameasure fβ fβscore fpr fnr "
    "fdr falsepositiverate falsenegativerate falsediscoveryrate errorrate error youden youdens "
    "youdenj youdenindex youdensj youdensindex gmean geometricmean"
)
_COLUMNS = {word: name for name, words in _SPELLINGS.items() for word in words.split()}
_WORDS_LEFT_OUT = {"mean", "average", "avg", "averaged", "averaging", "test"}
_AVERAGES = {"macro": "macro", "unweighted": "macro", "weighted": "weighted", "micro": "micro"}
_KAPPA_WEIGHTS = {"weighted", "quadratic", "quadratically", "linear", "linearly", "weights", "w"}
_SAME = {"accuracy": {"micro"}, "balanced_accuracy": {"macro"}, "kappa": {"macro"}}
"""Metrics of all classes, and the averages that leave them what they are."""
_QUALIFIERS = {*_WORDS_LEFT_OUT, *_AVERAGES, *_KAPPA_WEIGHTS}
_AVERAGE = re.compile("|".join(sorted(_AVERAGES, key=len, reverse=True)))
_OF_INTERVAL = re.compile(r"\d\s*%\s*-?\s*(?:ci|c\.i|conf|interval)", re.IGNORECASE)
_BRACKETS = re.compile(r"\((.*?)\)|\[(.*?)\]")
_NAMES = tuple(_SPELLINGS)


@dataclass(frozen=True)
class Header:
    """The columns of a table.

    Attributes:
        names: Per column, what it means: one of `scores.FIGURES`, or a name or number of the row;
            empty for a column that is not checked.
        is_percent: Per column, whether its heading has a percent sign, but for that of an interval.
        aside: Headings of the columns that are not checked, in small letters.
    """

    names: tuple[str, ...]
    is_percent: tuple[bool, ...]
    aside: tuple[str, ...]


def read_header(fields: list[str], number: int) -> Header:
    """Read the headings of a table.

    Args:
        fields: As printed.
        number: Of their line, for messages.

    Raises:
        InputError: A heading is not understood, is there twice, or no figure is there.
    """
    names = [_name_column(field, number) for field in fields]
    # An average of sensitivities is one of recalls. Without one, sensitivity keeps its name, as it
    # may be of one class beside averages. Where the table prints both, they keep their names, too.
    recalls = [name.replace("_sensitivity", "_recall") for name in names]
    names = [
        name if recall in names else recall for name, recall in zip(names, recalls, strict=True)
    ]
    for name in names:
        if name and names.count(name) > 1:
            spelled = [text.strip() for text, one in zip(fields, names, strict=True) if one == name]
            raise InputError(
                f"Line {number}: Expected the column {name} once, but got it "
                f"{'twice' if len(spelled) == 2 else f'{len(spelled)} times'}: "
                f"{', '.join(spelled)}. Put one of them into a row or a file of its own."
            )
    if not set(names) & set(FIGURES):
        raise InputError(
            f"Line {number}: Expected at least one of the columns {', '.join(METRICS)}, but got "
            f"only {', '.join(field.strip() for field in fields)}."
        )
    aside = tuple(
        field.strip().lower()
        for field, name in zip(fields, names, strict=True)
        if not name and field.strip()
    )
    is_percent = tuple("%" in _OF_INTERVAL.sub("", field) for field in fields)
    return Header(tuple(names), is_percent, aside)


def _name_column(field: str, number: int) -> str:
    text = field.lower()
    words = _split(_BRACKETS.sub(" ", text))
    every = _split(_AVERAGE.sub(r" \g<0> ", _BRACKETS.sub(_keep_qualifiers, text)))
    shorter = [word for word in every if word not in {*_WORDS_LEFT_OUT, *_AVERAGES}]
    shortest = [word for word in shorter if word not in _KAPPA_WEIGHTS]
    if _COLUMNS.get("".join(shortest)) == "kappa" and _KAPPA_WEIGHTS & set(every):
        return ""
    for some in (words, shorter):
        key = "".join(some)
        if key in _COLUMNS:
            return _name_figure(_COLUMNS[key], {_AVERAGES[w] for w in every if w in _AVERAGES})
        if key in _ASIDE.split():
            return ""
    if not words:
        return ""
    if words == ["support"]:
        raise InputError(
            f"Line {number}: Expected to know what is counted, but `{field.strip()}` counts the "
            "images of one class in some rows and all of them in others. In a row of the positive "
            "class, call it n_positive and add n_negative; in a row of all classes, call it n_test."
        )
    joined = "_".join(words)
    if words[0] == "n" and len(words) > 1 and not get_close_matches(joined, SIZES, 1, 0.8):
        return CLASS_COUNT + " ".join(words[1:])
    hint = suggest(joined, _NAMES) or suggest("".join(words), _COLUMNS)
    raise InputError(
        f"Line {number}: Expected columns among {', '.join((*_NAMES, 'auc'))}, or n_CLASS for the "
        f"test images of one class of several, but got `{field.strip()}`.{hint}"
    )


def _split(text: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", re.sub("['’]", "", text)) if word]


def _keep_qualifiers(brackets: re.Match[str]) -> str:
    parts = re.split("[,;/]", brackets[0])
    return " ".join(part for part in parts if set(_split(part)) <= _QUALIFIERS)


def _name_figure(name: str, averages: set[str]) -> str:
    """Return the name of a column whose heading has these averages; empty if it is not checked.

    A heading with two averages names none. What an average of accuracies or of MCCs is differs
    from table to table.
    """
    if name in OF_CLASS:
        return f"{min(averages)}_{name}" if len(averages) == 1 else name
    return "" if name in METRICS and averages - _SAME.get(name, set()) else name
