"""The table that the paper printed, beside what its own confusion matrices give."""

from typing import Any

from osteo_ray.arms.registry import list_presets
from osteo_ray.check_table.matrices import agrees, recompute
from osteo_ray.check_table.published import PUBLISHED, PublishedRow


def list_paper() -> list[dict[str, Any]]:
    """Pair each printed figure of the paper with the value that its own confusion matrix gives."""

    def check(row: PublishedRow) -> list[tuple[str, str, float, bool]]:
        values = recompute(row.confusion)
        return [
            (name, cell.text, values[name], agrees(cell, name, row.confusion))
            for name, cell in row.cells.items()
        ]

    return [{"row": row, "figures": check(row)} for row in PUBLISHED]


def find_printed(model: str, arm: str) -> PublishedRow | None:
    """Find the row of the paper's table that a model and an arm repeat, if any."""
    data_set = dict(zip(list_presets()["paper"], ("original", "new"), strict=True)).get(arm)
    name = model.partition(".")[0].removeprefix("tf_")  # timm's tags of weights and ports
    return next((row for row in PUBLISHED if (row.data_set, row.model) == (data_set, name)), None)
