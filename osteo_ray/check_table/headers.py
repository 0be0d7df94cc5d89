"""What the headings of a printed table mean, in any case and spelling. Pure."""

import re
from dataclasses import dataclass
from difflib import get_close_matches

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.check_table.matrices import Confusion
from osteo_ray.check_table.scores import METRICS

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
    "f1": "f1 f1score f1measure f1value fscore fmeasure",
    "balanced_accuracy": "balancedaccuracy balancedacc balacc bacc ba bac balancedaccuracyscore",
    "kappa": "kappa cohenskappa cohenkappa cohens κ cohenkappascore kappascore cohensκ cohenκ",
    "mcc": "mcc matthews matthewscorrelation matthewscorrelationcoefficient matthewscoefficient"
    " matthewscorrcoef",
    "n_positive": "npositive npos positives positive npositives positiveimages numpositive",
    "n_negative": "nnegative nneg negatives negative nnegatives negativeimages numnegative",
    "n_test": "ntest n testimages nimages ntestimages samples nsamples support testsize total "
    "numtest testsamples",
    "folds": "folds nfolds fold kfolds kfold runs nruns seeds nseeds repeats repetitions",
    "class_counts": "classcounts imagesperclass nperclass classsizes",
    "source": "source",
    **{name: name for name in Confusion._fields},
}
_ASIDE = (
    "auc auroc rocauc aucroc roc areaunderthecurve areaunderthereceiveroperatingcharacteristiccurve"
    " auprc prauc aucpr ap averageprecision loss testloss brier brierscore ece calibrationerror "
    "logloss params parameters numberofparameters flops gflops time trainingtime inferencetime "
    "epochs epoch year ref reference references author authors study pvalue iou dice jaccard "
    "ci 95ci unnamed0 no id index row comment comments note notes remark remarks"
)
_COLUMNS = {word: name for name, words in _SPELLINGS.items() for word in words.split()}
_WORDS_LEFT_OUT = {"macro", "weighted", "micro", "mean", "average", "avg", "averaged", "test"}
_NAMES = tuple(_SPELLINGS)


@dataclass(frozen=True)
class Header:
    """The columns of a table.

    Attributes:
        names: Per column, what it means; empty for a column that is not checked.
        is_percent: Per column, whether its heading has a percent sign.
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
    if "recall" not in names:  # else the table prints both
        names = ["recall" if name == "sensitivity" else name for name in names]
    for name in names:
        if name and names.count(name) > 1:
            spelled = [text.strip() for text, one in zip(fields, names, strict=True) if one == name]
            raise InputError(
                f"Line {number}: Expected the column {name} once, but got it "
                f"{'twice' if len(spelled) == 2 else f'{len(spelled)} times'}: "
                f"{', '.join(spelled)}. Put one of them into a row or a file of its own."
            )
    if not set(names) & set(METRICS):
        raise InputError(
            f"Line {number}: Expected at least one of the columns {', '.join(METRICS)}, but got "
            f"only {', '.join(field.strip() for field in fields)}."
        )
    aside = tuple(
        field.strip().lower()
        for field, name in zip(fields, names, strict=True)
        if not name and field.strip()
    )
    return Header(tuple(names), tuple("%" in field for field in fields), aside)


def _name_column(field: str, number: int) -> str:
    text = re.sub(r"\(.*?\)|\[.*?\]|[↑↓*†%]", " ", field.lower())
    words = [word for word in re.split(r"[\W_]+", text.replace("'", "").replace("’", "")) if word]
    kept = [word for word in words if word not in _WORDS_LEFT_OUT]
    for some in (words, kept):
        key = "".join(some)
        if key in _COLUMNS:
            return _COLUMNS[key]
        if key in _ASIDE.split():
            return ""
    if not words:
        return ""
    joined = "_".join(words)
    if words[0] == "n" and len(words) > 1 and not get_close_matches(joined, SIZES, 1, 0.8):
        return CLASS_COUNT + " ".join(words[1:])
    hint = suggest(joined, _NAMES) or suggest("".join(words), _COLUMNS)
    raise InputError(
        f"Line {number}: Expected columns among {', '.join((*_NAMES, 'auc'))}, or n_CLASS for the "
        f"test images of one class of several, but got `{field.strip()}`.{hint}"
    )
