"""Predictions that anybody made with anything, read so that they can be judged.

A table has a row per prediction: model, seed, arm, split, image_id, label, and a column `p_CLASS`
per class; optionally `group` (images that belong together: copies, a patient) and `site` (where an
image comes from). A run directory stands for its predictions.parquet, with the groups and sites in
images.parquet, the training sets in splits.parquet and what was planned in comparison.json.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.forms import COMPARISON, CONCLUSIONS, read_record
from osteo_ray.base.remote import first_line
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import reach
from osteo_ray.base.tables import read_table
from osteo_ray.experiment.fair_splits import check_tested_apart, check_trained_alike
from osteo_ray.experiment.prediction_files import (
    KEYS,
    OPTIONAL,
    read_numbers,
    read_prediction_file,
)
from osteo_ray.experiment.soundness import refuse_damage

_ROUNDING = 5e-4  # of a probability: figures with three decimals
_EXCESS = 1e-6  # of a probability above 1 or below 0, as 32 bits leave it


@dataclass(frozen=True)
class JudgedTables:
    """Predictions of one or more tables, checked.

    Attributes:
        predictions: The columns `KEYS` and `p_CLASS` per class; splits test and validation.
        images: A row per image: image_id, group and, where any is known, site (empty where it is
            not).
        classes: Sorted.
        n_train: Training images per seed, on average, by rows of split `train` or by the splits of
            a run; None where nothing tells.
        copies_leak: A group has images in the test and the training set of one training.
        records: What comparison.json says of each run, of those that have one; `n_drawn` is the
            number of conclusions that the run has kept.
    """

    predictions: pa.Table
    images: pd.DataFrame
    classes: tuple[str, ...]
    n_train: float | None
    copies_leak: bool
    records: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class _Part:
    """One table with what a run directory says beside it."""

    text: str
    table: pa.Table
    groups: pd.DataFrame | None = None
    sites: pd.DataFrame | None = None
    n_train: float | None = None
    copies_leak: bool = False
    record: Mapping[str, Any] | None = None


def read_judged_tables(paths: Sequence[str], *, shuffled: Collection[str] = ()) -> JudgedTables:
    """Read tables of predictions, check them, and join them into one.

    Args:
        paths: Parquet files, delimited text, or run directories.
        shuffled: Names of arms whose labels are shuffled, so that an image may have another label.

    Raises:
        InputError: A table cannot be read or used: which, where, what was expected, what to do.
    """
    if not paths:
        raise InputError("Expected one or more tables of predictions, but got none. Name a table.")
    repeated = next((text for text in paths if list(paths).count(text) > 1), None)
    if repeated is not None:
        raise InputError(
            f"Expected each table once, but got {repeated} {list(paths).count(repeated)} times. "
            "Name it once."
        )
    parts = [_read_part(text) for text in paths]
    classes = _agree_on_classes(parts)
    scores = [f"p_{name}" for name in classes]
    tables = [_check_values(part, classes) for part in parts]
    joined = pa.concat_tables(tables, promote_options="default")
    _check_labels(joined, shuffled)
    check_trained_alike(joined)
    check_tested_apart(joined)
    images = _join_groups(joined, [part.groups for part in parts if part.groups is not None])
    told = [part.n_train for part in parts if part.n_train is not None]
    kept = joined.filter(pc.is_in(joined["split"], pa.array(["validation", "test"])))
    if "test" not in pc.unique(kept["split"]).to_pylist():
        raise InputError(
            "Expected predictions of test images, but no row has the split `test`. Name the split "
            "on which arms are compared `test`."
        )
    leaks = _copies_leak(joined, images) or any(part.copies_leak for part in parts)
    if all(part.groups is None for part in parts):  # rows of split train are counted, no more
        images = images[images["image_id"].isin(pc.unique(kept["image_id"]).to_pylist())]
    return JudgedTables(
        kept.select([*KEYS, *scores]),
        _add_sites(images, joined, [part.sites for part in parts if part.sites is not None]),
        classes,
        _count_training(joined) or (float(np.mean(told)) if told else None),
        leaks,
        tuple(part.record for part in parts if part.record is not None),
    )


def _read_part(text: str) -> _Part:
    place = reach(text, "a table of predictions")
    if not place.is_dir():
        if not place.is_file():
            raise InputError(
                f"Expected a table of predictions or a run directory, but {text} does not exist. "
                "Check the path."
            )
        refuse_damage(Run(place.parent), [place.name])
        return _Part(text, read_prediction_file(place, text))
    run = Run(place)
    if not run.predictions.is_file():
        raise InputError(
            f"Expected a table of predictions or a finished run, but {text} is a folder "
            "without predictions.parquet. Name the table itself, or finish the run first."
        )
    read = (run.predictions, run.comparison, run.conclusions, run.images, run.splits)
    refuse_damage(run, [place.name for place in read])
    table = read_prediction_file(run.predictions, str(run.predictions))
    try:
        return _add_run(_Part(text, table), run)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"Expected {text} to be a run directory, but a table beside predictions.parquet cannot "
            f"be read: {first_line(error)[:200]}. Name "
            "predictions.parquet itself to do without them."
        ) from None


def _add_run(part: _Part, run: Run) -> _Part:
    """Add what a run says beside its predictions, as far as it is there."""
    if run.comparison.is_file():
        record = read_record(run.comparison, COMPARISON)
        if run.conclusions.is_file():
            record["n_drawn"] = len(read_record(run.conclusions, CONCLUSIONS))
        part = replace(part, record=record)
    if run.images.is_file():
        images = read_table(run.images).to_pandas()
        part = replace(part, groups=images[["image_id", "group"]])
        if "site" in images:
            part = replace(part, sites=images[["image_id", "site"]])
    if not run.splits.is_file():
        return part
    splits = read_table(run.splits, ["seed", "image_id", "split"]).to_pandas()
    counts = splits[splits["split"] == "train"].groupby("seed").size()
    part = replace(part, n_train=float(counts.mean()) if len(counts) else None)
    if part.groups is None:
        return part
    grouped = splits[splits["split"] != "validation"].merge(part.groups, on="image_id")
    return replace(part, copies_leak=_is_torn(grouped, ["seed"]))


def _is_torn(rows: pd.DataFrame, training: list[str]) -> bool:
    """Tell whether images of a group are in the training and the test images of a training."""
    sides = rows.groupby([*training, "group"])["split"].nunique()
    return bool((sides > 1).any())


def _agree_on_classes(parts: Sequence[_Part]) -> tuple[str, ...]:
    def list_classes(part: _Part) -> tuple[str, ...]:
        names = [name for name in part.table.column_names if name.startswith("p_")]
        return tuple(sorted(name.removeprefix("p_") for name in names))

    classes = list_classes(parts[0])
    for part in parts[1:]:
        found = list_classes(part)
        if found != classes:
            raise InputError(
                f"Expected the same classes in all tables, but {parts[0].text} has "
                f"{', '.join(classes)} and {part.text} has {', '.join(found)}. Judge them one by "
                "one, or give the classes the same names."
            )
    return classes


def _check_values(part: _Part, classes: tuple[str, ...]) -> pa.Table:
    """Check labels and probabilities; return the table with these as float64 in [0, 1]."""
    table, text, scores = part.table, part.text, [f"p_{name}" for name in classes]
    labels = set(pc.unique(table["label"]).to_pylist())
    values = np.column_stack([read_numbers(table[name], name, text) for name in scores])
    trained = pc.equal(table["split"], "train").to_numpy(zero_copy_only=False)
    values[trained] = 1 / len(classes)  # only counted, so they need no probabilities

    def tell(wrong: np.ndarray, expected: str, then: str, summed: bool = False) -> None:
        if wrong.any():
            row = int(np.argmax(wrong))
            found = ", ".join(
                f"{name} {value:.4g}" for name, value in zip(scores, values[row], strict=True)
            )
            where = ", ".join(
                f"{name} {table[name][row].as_py()}" for name in ("model", "seed", "arm")
            )
            total = f" (sum {values[row].sum():.4g})" if summed else ""
            raise InputError(
                f"Expected {expected} in {text}, but found {found}{total} in row {row + 1}: "
                f"{where}, image {table['image_id'][row].as_py()}. {then}"
            )

    tell(
        np.asarray(~np.isfinite(values).all(axis=1)),
        "a number in every p_CLASS",
        "A model that gave NaN or nothing did not predict: leave it out, or train it again.",
    )
    tell(
        np.any((values < -_EXCESS) | (values > 1 + _EXCESS), axis=1),
        "probabilities between 0 and 1",
        "Give probabilities after softmax, not scores or percentages.",
    )
    tell(
        np.asarray(np.abs(values.sum(axis=1) - 1) > len(classes) * _ROUNDING + _EXCESS),
        "probabilities of all classes that add up to 1",
        "Give probabilities after softmax, a column per class, with three decimals or more."
        + _name_unused(classes, labels),
        summed=True,
    )
    unknown = sorted(labels - set(classes))
    if unknown:
        raise InputError(
            f"Expected labels among {', '.join(classes)} in {text}, as there is a column p_CLASS "
            f"for each, but found `{unknown[0]}`.{suggest(unknown[0], classes)} Name labels and "
            "columns alike, or add the column."
        )
    kept = [*KEYS, *(name for name in OPTIONAL if name in table.column_names)]
    clipped = np.clip(values, 0, 1)
    return pa.table(
        {name: table[name] for name in kept}
        | {name: pa.array(clipped[:, number]) for number, name in enumerate(scores)}
    )


def _name_unused(classes: Sequence[str], labels: Collection[str]) -> str:
    """Say which columns are of no label, as they may be no probabilities of a class."""
    unused = ", ".join(f"p_{name}" for name in classes if name not in labels)
    return f" No label is that of {unused}: rename what is of no class." if unused else ""


def _check_labels(table: pa.Table, shuffled: Collection[str]) -> None:
    if shuffled:
        table = table.filter(pc.invert(pc.is_in(table["arm"], pa.array(list(shuffled)))))
    counted = table.group_by("image_id").aggregate([("label", "count_distinct")])
    torn = counted.filter(pc.greater(counted["label_count_distinct"], 1))
    if len(torn):
        image = min(torn["image_id"].to_pylist())
        labels = sorted(set(table.filter(pc.equal(table["image_id"], image))["label"].to_pylist()))
        raise InputError(
            f"Expected one label per image, but image {image} has {' and '.join(labels)} "
            f"({len(torn)} image{'s' if len(torn) > 1 else ''} in all). Are two images named "
            "alike, or do the tables come from two versions of the data? Judge them apart, or "
            "mend the labels."
        )


def _join_groups(table: pa.Table, of_runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the group of each image; where nothing tells, an image is a group of its own."""
    named = None
    if "group" in table.column_names:
        distinct = table.group_by(["image_id", "group"]).aggregate([]).to_pandas()
        named = distinct[distinct["group"].notna()]
    # Sorted, so that the order of rows changes no resampled test set.
    found = pd.DataFrame({"image_id": sorted(pc.unique(table["image_id"]).to_pylist())})
    if (
        named is None
        and len(of_runs) == 1
        and set(found["image_id"]) <= set(of_runs[0]["image_id"])
    ):
        return of_runs[0]  # as the run itself uses it, images that it did not test included
    known = pd.concat(
        [one.astype({"group": str}) for one in (*of_runs, *([] if named is None else [named]))]
        or [pd.DataFrame({"image_id": [], "group": []}, dtype=str)]
    ).drop_duplicates()
    torn = known[known["image_id"].duplicated(keep=False)]
    torn = torn[torn["image_id"].isin(found["image_id"])]
    if len(torn):
        image = min(torn["image_id"])
        groups = sorted(torn[torn["image_id"] == image]["group"])
        raise InputError(
            f"Expected one group per image, but image {image} is in {' and '.join(groups)}. Give "
            "it one group in all rows, and tables of one comparison the same groups."
        )
    joined = found.merge(known, on="image_id", how="left")
    alone = joined["group"].isna()
    keys = list(zip(alone, joined["group"].where(~alone, joined["image_id"]), strict=True))
    return found.assign(group=pd.factorize(pd.Series(keys, dtype=object))[0])


def _add_sites(
    images: pd.DataFrame, table: pa.Table, of_runs: Sequence[pd.DataFrame]
) -> pd.DataFrame:
    """Add the site of each image, empty where it is not known; no column if none is."""
    told = list(of_runs)
    if "site" in table.column_names:
        told.append(table.group_by(["image_id", "site"]).aggregate([]).to_pandas())
    if not told:
        return images
    known = pd.concat(told).drop_duplicates()
    known = known[known["site"].notna() & (known["site"] != "")]
    torn = known[known["image_id"].duplicated(keep=False)]
    if len(torn):
        image = min(torn["image_id"])
        sites = sorted(torn[torn["image_id"] == image]["site"])
        raise InputError(
            f"Expected one site per image, but image {image} is from {' and '.join(sites)}. Give "
            "it one site in all rows."
        )
    if known.empty:
        return images
    return images.assign(
        site=images["image_id"].map(known.set_index("image_id")["site"]).fillna("")
    )


def _count_training(table: pa.Table) -> float | None:
    train = table.filter(pc.equal(table["split"], "train"))
    if not len(train):
        return None
    counts = train.group_by(["model", "seed", "arm"]).aggregate([("image_id", "count_distinct")])
    return float(np.mean(counts["image_id_count_distinct"].to_numpy()))


def _copies_leak(table: pa.Table, images: pd.DataFrame) -> bool:
    """Tell whether any training has seen a group of its test images, where rows tell."""
    group_of = dict(zip(images["image_id"], images["group"], strict=True))
    rows = table.filter(pc.not_equal(table["split"], "validation"))
    distinct = rows.group_by(["model", "seed", "split", "image_id"]).aggregate([]).to_pandas()
    if not (distinct["split"] == "train").any():
        return False
    distinct["group"] = distinct["image_id"].map(group_of)
    return _is_torn(distinct, ["model", "seed"])
