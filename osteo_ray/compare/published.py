"""The paper's table and confusion matrices as data, and where they contradict each other.

Positive class: osteoporosis; 37 test images of each class; one run, no interval.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Confusion(NamedTuple):
    """Numbers of test images."""

    tp: int
    fp: int
    fn: int
    tn: int


@dataclass(frozen=True)
class PublishedRow:
    """A row of the paper's Table 2, as printed, and the confusion matrix of the matching figure.

    Attributes:
        data_set: `original`, or `new` for the images multiplied by LIME masks.
        model: The timm name.
        printed_model: The name in the table.
        accuracy: As printed: its decimals say how exact it claims to be. So for the next three.
        figure: Where the matrix is shown.
        confusion: Of that figure.
    """

    data_set: str
    model: str
    printed_model: str
    accuracy: str
    precision: str
    recall: str
    f1: str
    figure: str
    confusion: Confusion


MOBILENET = ("mobilenetv3_large_100", "MobileNet v3")
EFFICIENTNET = ("efficientnet_b0", "EfficientNetB0")
PUBLISHED: tuple[PublishedRow, ...] = (
    PublishedRow(
        "original", *MOBILENET, "0.77", "0.7083", "0.9189", "0.8000",
        figure="Fig 10a", confusion=Confusion(34, 14, 3, 23),
    ),
    PublishedRow(
        "original", *EFFICIENTNET, "0.77", "0.7632", "0.7838", "0.7733",
        figure="Fig 9a", confusion=Confusion(29, 9, 8, 28),
    ),
    PublishedRow(
        "new", *MOBILENET, "0.8648", "0.9354", "0.7837", "0.8529",
        figure="Fig 10b", confusion=Confusion(29, 5, 8, 32),
    ),
    PublishedRow(
        "new", *EFFICIENTNET, "0.9189", "0.9444", "0.9189", "0.9315",
        figure="Fig 9b", confusion=Confusion(34, 2, 3, 35),
    ),
)  # fmt: skip


def recompute(confusion: Confusion) -> dict[str, float]:
    """Return accuracy, precision, recall and F1 of a confusion matrix; 0 for 0/0.

    Example:
        >>> recompute(Confusion(tp=3, fp=1, fn=1, tn=3))
        {'accuracy': 0.75, 'precision': 0.75, 'recall': 0.75, 'f1': 0.75}
    """
    tp, fp, fn, tn = confusion
    return {
        "accuracy": (tp + tn) / max(1, sum(confusion)),
        "precision": tp / max(1, tp + fp),
        "recall": tp / max(1, tp + fn),
        "f1": 2 * tp / max(1, 2 * tp + fp + fn),
    }


def agrees(printed: str, value: float) -> bool:
    """Say whether a value gives the printed figure, rounded or cut off.

    Example:
        >>> agrees("0.7837", 29 / 37), agrees("0.7838", 29 / 37), agrees("0.7836", 29 / 37)
        (True, True, False)
    """
    unit = 10.0 ** -len(printed.partition(".")[2])
    excess = (value - float(printed)) / unit
    return -0.5 - 1e-9 <= excess < 1 - 1e-9


def find_contradictions() -> list[str]:
    """List the cells of the printed table that disagree with the confusion matrix of the figure."""
    return [
        f"{row.data_set} {row.printed_model}: {name} is printed as {getattr(row, name)}, but "
        f"{row.figure} gives {value:.4f}."
        for row in PUBLISHED
        for name, value in recompute(row.confusion).items()
        if not agrees(getattr(row, name), value)
    ]


def find_matrices(
    row: PublishedRow, *, n_positive: int = 37, n_negative: int = 37
) -> list[Confusion]:
    """List every confusion matrix that gives all four printed figures of a row.

    Args:
        row: Of the printed table.
        n_positive: Test images of the positive class.
        n_negative: Test images of the other class.
    """
    matrices = (
        Confusion(tp, fp, n_positive - tp, n_negative - fp)
        for tp in range(n_positive + 1)
        for fp in range(n_negative + 1)
    )
    return [
        matrix
        for matrix in matrices
        if all(agrees(getattr(row, name), value) for name, value in recompute(matrix).items())
    ]
