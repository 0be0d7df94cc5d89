"""The table and the confusion matrices of the paper, as data; `table_check` checks them.

The positive class is osteoporosis; the paper reports one run and no intervals.
"""

from dataclasses import dataclass

from osteo_ray.check_table.cells import Cell, read_cell
from osteo_ray.check_table.matrices import Confusion, PrintedRow

N_POSITIVE = N_NEGATIVE = 37
"""Test images of each class."""


@dataclass(frozen=True)
class PublishedRow:
    """A row of the paper's Table 2, as printed, and the confusion matrix of the matching figure.

    Attributes:
        data_set: `original`, or `new` for the images multiplied by LIME masks.
        model: The timm name.
        printed_model: The name in the table.
        accuracy: As printed, with all decimals; likewise precision, recall and f1.
        figure: The figure that shows the confusion matrix.
        confusion: The matrix in that figure.
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

    @property
    def cells(self) -> dict[str, Cell]:
        """The printed figures, by metric."""
        names = ("accuracy", "precision", "recall", "f1")
        return {name: read_cell(getattr(self, name)) for name in names}


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


def list_printed_rows() -> list[PrintedRow]:
    """Return the paper's table in the form that `table_check` takes."""
    return [
        PrintedRow(
            row.printed_model,
            row.data_set,
            row.cells,
            ((N_POSITIVE, N_NEGATIVE),),
            row.confusion,
            row.figure,
        )
        for row in PUBLISHED
    ]
