"""Predictions that anybody made with anything, read so that they can be judged.

A table has a row per prediction: model, seed, arm, split, image_id, label, and a column `p_CLASS`
per class; optionally `group` (images that belong together: copies, a patient) and `site`. A run
directory stands for its predictions.parquet, whose groups are in images.parquet and whose training
sets are in splits.parquet.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, locate
from osteo_ray.base.tables import read_table

KEYS = ("model", "seed", "arm", "split", "image_id", "label")
SPLITS = ("train", "validation", "test")
_SUM_TOLERANCE = 1e-3  # figures rounded to three decimals still add up


@dataclass(frozen=True)
class JudgedTables:
    """Predictions of one or more tables, checked.

    Attributes:
        predictions: The columns `KEYS` and `p_CLASS` per class; splits test and validation.
        images: image_id and group, a row per image.
        classes: Sorted.
        n_train: Training images per seed, on average; None where nothing tells.
    """

    predictions: pa.Table
    images: pd.DataFrame
    classes: tuple[str, ...]
    n_train: float | None


def read_judged_tables(
    paths: Sequence[str],
    *,
    baseline: str,
    shuffled: Collection[str] = (),
    n_train: float | None = None,
) -> JudgedTables:
    """Read and check tables of predictions.

    Args:
        paths: Parquet or CSV files, or run directories.
        baseline: Name of the arm that the others are compared with.
        shuffled: Names of arms whose labels are shuffled, so that an image may have another label.
        n_train: Training images per seed, if the user says so.

    Raises:
        InputError: A table cannot be read or used: which, where, what was expected, what to do.
    """
    parts = [_read_part(text) for text in paths]
    classes = _agree_on_classes(
        {text: part for text, (part, _, _) in zip(paths, parts, strict=True)}
    )
    scores = [f"p_{name}" for name in classes]
    tables = []
    for text, (part, _, _) in zip(paths, parts, strict=True):
        _check_values(part, scores, classes, text)
        tables.append(
            part.select([*KEYS, *scores, *(["group"] if "group" in part.column_names else [])])
        )
    joined = pa.concat_tables(tables, promote_options="permissive")
    _check_labels(joined, shuffled)
    _check_arms(joined, baseline)
    images = _join_groups(joined, [groups for _, groups, _ in parts if groups is not None])
    told = [found for _, _, found in parts if found is not None]
    if n_train is None:
        n_train = _count_training(joined) or (float(np.mean(told)) if told else None)
    kept = joined.filter(pc.is_in(joined["split"], pa.array(["validation", "test"])))
    return JudgedTables(kept.select([*KEYS, *scores]), images, classes, n_train)


def _read_part(text: str) -> tuple[pa.Table, pd.DataFrame | None, float | None]:
    """Read one table, with the groups and the size of the training sets where it is of a run."""
    place = locate(text)
    if place.is_dir():
        run = Run(place)
        if not run.predictions.is_file():
            raise InputError(
                f"Expected a table of predictions or a finished run, but {text} is a folder "
                "without predictions.parquet. Name the table itself, or finish the run first."
            )
        return _check_columns(read_table(run.predictions), text), *_read_run(run)
    if not place.is_file():
        raise InputError(f"Expected a table of predictions, but {text} does not exist.")
    return _check_columns(_read_file(place, text), text), None, None


def _read_file(place: Place, text: str) -> pa.Table:
    try:
        if place.name.lower().endswith((".csv", ".csv.gz", ".tsv", ".txt")):
            return _read_csv(place)
        return read_table(place)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"Expected {text} to be a Parquet or CSV table of predictions, but it cannot be read: "
            f"{reason}"
        ) from None


def _read_csv(place: Place) -> pa.Table:
    delimiter = "\t" if place.name.lower().endswith(".tsv") else ","
    content = place.read_bytes().removeprefix(b"\xef\xbb\xbf")
    options = pyarrow.csv.ConvertOptions(
        # Names and labels that look like numbers stay text.
        column_types={name: pa.string() for name in KEYS if name != "seed"}
        | {"group": pa.string()},
        strings_can_be_null=True,
    )
    return pyarrow.csv.read_csv(
        pa.BufferReader(content),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
        convert_options=options,
    )


def _read_run(run: Run) -> tuple[pd.DataFrame | None, float | None]:
    groups = n_train = None
    if run.images.is_file():
        groups = read_table(run.images, ["image_id", "group"]).to_pandas()
    if run.splits.is_file():
        splits = read_table(run.splits, ["seed", "split"]).to_pandas()
        counts = splits[splits["split"] == "train"].groupby("seed").size()
        n_train = float(counts.mean()) if len(counts) else None
    return groups, n_train


def _check_columns(table: pa.Table, text: str) -> pa.Table:
    missing = [name for name in KEYS if name not in table.column_names]
    if missing:
        nearest = suggest(missing[0], [n for n in table.column_names if n not in KEYS])
        raise InputError(
            f"Expected the columns {', '.join(KEYS)} and a column p_CLASS per class in {text}, but "
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; found "
            f"{', '.join(table.column_names)}.{nearest} Rename or add "
            f"{'it' if len(missing) == 1 else 'them'}."
        )
    if len([name for name in table.column_names if name.startswith("p_")]) < 2:
        raise InputError(
            f"Expected a column p_CLASS with a probability for each of two or more classes in "
            f"{text}, but found {', '.join(table.column_names)}. With one probability p per image, "
            "add a column for the other class with 1 - p."
        )
    if not len(table):
        raise InputError(f"Expected predictions in {text}, but the table is empty.")
    as_text = {name: table[name].cast(pa.string()) for name in KEYS if name != "seed"}
    try:
        as_text["seed"] = table["seed"].cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise InputError(
            f"Expected whole numbers in the column seed of {text}, but found others: "
            f"{str(error).splitlines()[0]}"
        ) from None
    for name, column in as_text.items():
        if column.null_count:
            row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise InputError(
                f"Expected a value in every row of {text}, but {name} is empty in row {row + 1}. "
                "Fill it in, or leave the row out."
            )
        table = table.set_column(table.column_names.index(name), name, column)
    unknown = sorted(set(pc.unique(table["split"]).to_pylist()) - set(SPLITS))
    if unknown:
        raise InputError(
            f"Expected splits among {', '.join(SPLITS)} in {text}, but found `{unknown[0]}`."
            f"{suggest(unknown[0], SPLITS)} Rename it."
        )
    return table


def _agree_on_classes(parts: Mapping[str, pa.Table]) -> tuple[str, ...]:
    of_part = {
        text: tuple(sorted(n.removeprefix("p_") for n in part.column_names if n.startswith("p_")))
        for text, part in parts.items()
    }
    (first, classes), *others = of_part.items()
    for text, found in others:
        if found != classes:
            raise InputError(
                f"Expected the same classes in all tables, but {first} has {', '.join(classes)} "
                f"and {text} has {', '.join(found)}. Judge them one by one, or give the classes "
                "the same names."
            )
    return classes


def _check_values(part: pa.Table, scores: list[str], classes: tuple[str, ...], text: str) -> None:
    values = np.column_stack([_read_numbers(part[name], name, text) for name in scores])
    broken = ~np.isfinite(values).all(axis=1)
    if broken.any():
        row = int(np.argmax(broken))
        raise InputError(
            f"Expected a number in every p_CLASS of {text}, but found "
            f"{_quote(scores, values[row])} in row {row + 1} ({_name_row(part, row)}). A "
            "model that gave NaN did not predict: leave it out, or train it again."
        )
    outside = (values < 0).any(axis=1) | (np.abs(values.sum(axis=1) - 1) > _SUM_TOLERANCE)
    if outside.any():
        row = int(np.argmax(outside))
        raise InputError(
            f"Expected probabilities of all classes that add up to 1 in {text}, but found "
            f"{_quote(scores, values[row])}, sum {values[row].sum():.4g}, in row {row + 1} "
            f"({_name_row(part, row)}). Give probabilities after softmax, a column per class."
        )
    unknown = sorted(set(pc.unique(part["label"]).to_pylist()) - set(classes))
    if unknown:
        raise InputError(
            f"Expected labels among {', '.join(classes)} in {text}, as there is a column p_CLASS "
            f"for each, but found `{unknown[0]}`.{suggest(unknown[0], classes)} Name labels and "
            "columns alike."
        )


def _read_numbers(column: pa.ChunkedArray, name: str, text: str) -> np.ndarray:
    try:
        return np.asarray(
            column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False), np.float64
        )
    except pa.ArrowInvalid as error:
        raise InputError(
            f"Expected numbers in the column {name} of {text}, but found others: "
            f"{str(error).splitlines()[0]}"
        ) from None


def _check_labels(table: pa.Table, shuffled: Collection[str]) -> None:
    if shuffled:
        table = table.filter(pc.invert(pc.is_in(table["arm"], pa.array(list(shuffled)))))
    counted = table.group_by("image_id").aggregate([("label", "count_distinct")])
    torn = counted.filter(pc.greater(counted["label_count_distinct"], 1))
    if len(torn):
        image = torn["image_id"][0].as_py()
        labels = sorted(set(table.filter(pc.equal(table["image_id"], image))["label"].to_pylist()))
        raise InputError(
            f"Expected one label per image, but {image} has {' and '.join(labels)} "
            f"({len(torn)} image{'s' if len(torn) > 1 else ''} in all). Are two images named "
            "alike, or do the tables come from two versions of the data? Judge them apart, or "
            "mend the labels."
        )


def _check_arms(table: pa.Table, baseline: str) -> None:
    test = table.filter(pc.equal(table["split"], "test"))
    if not len(test):
        raise InputError(
            "Expected predictions of test images, but no row has the split `test`. Name the split "
            "on which models are compared `test`."
        )
    trained = test.group_by(["model", "arm", "seed"]).aggregate([]).to_pandas()
    arms = sorted(set(trained["arm"]))
    for model, part in trained.groupby("model"):
        if baseline not in set(part["arm"]):
            raise InputError(
                f"Expected the baseline `{baseline}` among the arms of {model}, but it has "
                f"{', '.join(sorted(set(part['arm'])))}.{suggest(baseline, arms)} Name the arm "
                "that the others are compared with by --baseline."
            )
    n_seeds = trained.groupby("model")["seed"].nunique()
    if int(n_seeds.max()) < 2:
        raise InputError(
            "Expected two or more seeds, as one training says nothing of what another would give, "
            f"but every model has 1 (seed {int(trained['seed'].iloc[0])}). Train again with other "
            "seeds."
        )


def _join_groups(table: pa.Table, of_runs: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the group of each image: its own where nothing tells."""
    if "group" in table.column_names:
        found = table.select(["image_id", "group"]).to_pandas().drop_duplicates()
        found = found[found["group"].notna()]
        of_runs = [*of_runs, found]
    ids = pc.unique(table["image_id"]).to_pylist()
    images = pd.DataFrame({"image_id": ids})
    if not of_runs:
        return images.assign(group=np.arange(len(ids)))
    known = pd.concat([one.astype({"group": str}) for one in of_runs]).drop_duplicates()
    torn = known[known["image_id"].duplicated(keep=False)]
    torn = torn[torn["image_id"].isin(ids)]
    if len(torn):
        image = torn["image_id"].iloc[0]
        groups = sorted(set(torn[torn["image_id"] == image]["group"]))
        raise InputError(
            f"Expected one group per image, but {image} is in {' and '.join(groups)}. Tables of "
            "one comparison must have the same groups."
        )
    joined = images.merge(known, on="image_id", how="left")
    alone = joined["group"].isna()
    joined.loc[alone, "group"] = "image " + joined.loc[alone, "image_id"]
    return joined.assign(group=pd.factorize(joined["group"])[0])


def _count_training(table: pa.Table) -> float | None:
    train = table.filter(pc.equal(table["split"], "train"))
    if not len(train):
        return None
    counts = train.group_by(["model", "seed", "arm"]).aggregate([("image_id", "count_distinct")])
    return float(np.mean(counts["image_id_count_distinct"].to_numpy()))


def _quote(scores: list[str], values: np.ndarray) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in zip(scores, values, strict=True))


def _name_row(part: pa.Table, row: int) -> str:
    return ", ".join(
        f"{name} {part[name][row].as_py()}" for name in ("model", "seed", "arm", "image_id")
    )
