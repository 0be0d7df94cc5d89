"""Whether the trainings of a table of predictions were given the same chances."""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.base.errors import InputError


def check_trained_alike(table: pa.Table) -> None:
    """Check that the arms of a seed were trained on the same images, as far as rows tell.

    Args:
        table: model, seed, arm, split and image_id.

    Raises:
        InputError: Two arms of one model and seed have rows of split `train` of other images, so a
            difference between them may be that of their training sets.
    """
    train = table.filter(pc.equal(table["split"], "train"))
    rows = train.group_by(["model", "seed", "arm", "image_id"]).aggregate([]).to_pandas()
    for (model, seed), of_seed in rows.groupby(["model", "seed"], sort=True):
        images = of_seed.groupby("arm")["image_id"].agg(frozenset)
        other = images[images != images.iloc[0]]
        if len(other):
            one, two = images.index[0], other.index[0]
            raise InputError(
                f"Expected the arms of a seed to be trained on the same images, but of {model}, "
                f"seed {seed}, {_tell(one, images)} and {_tell(two, images)}. What differs then "
                "may be the training sets: train both on the same images."
            )


def check_tested_apart(table: pa.Table) -> None:
    """Check that no training was tested on images that also validated it.

    Args:
        table: model, seed, split and image_id.

    Raises:
        InputError: An image is in the validation and in the test set of one model and seed.
    """
    rows = table.filter(pc.not_equal(table["split"], "train"))
    rows = rows.group_by(["model", "seed", "split", "image_id"]).aggregate([])
    sides = rows.group_by(["model", "seed", "image_id"]).aggregate([("split", "count")])
    both = sides.filter(pc.greater(sides["split_count"], 1)).to_pandas()
    if len(both):
        first = both.sort_values(["model", "seed", "image_id"]).iloc[0]
        raise InputError(
            f"Expected validation images to be others than test images, but of {first['model']}, "
            f"seed {first['seed']}, image {first['image_id']} is both ({len(both)} such rows). An "
            "epoch or a threshold that test images choose is not tested by them: leave these "
            "rows of split validation out, or test on other images."
        )


def _tell(arm: str, images: "pd.Series[frozenset[str]]") -> str:
    return f"{arm} saw {len(images[arm])}"
