"""How far the tables of a rerun are from those of the stored run. Reads and writes no files."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from osteo_ray.config.reproduce import ToleranceSettings
from osteo_ray.experiment.reproduction.drift import Compared
from osteo_ray.statistics.predictions import choose_classes
from osteo_ray.statistics.significance import inflate_error
from osteo_ray.statistics.sizes import Sizes


def compare_predictions(
    name: str,
    stored: pd.DataFrame,
    rerun: pd.DataFrame,
    classes: Sequence[str],
    tolerances: ToleranceSettings,
) -> Compared:
    """Compare the predictions of one training.

    Args:
        name: Name of the training.
        stored: split, image_id, label, and `p_<class>` for each class, in any order.
        rerun: The same columns.
        classes: All classes.
        tolerances: `probability` and `decisions` apply.
    """
    keys, scores = ["split", "image_id", "label"], [f"p_{one}" for one in classes]
    if not {*keys, *scores} <= set(stored) or not {*keys, *scores} <= set(rerun):
        return Compared(name, False, ("other classes are predicted",))
    before, after = (table.set_index(keys)[scores].sort_index() for table in (stored, rerun))
    if not before.index.equals(after.index):
        n_other = len(before.index.symmetric_difference(after.index))
        return Compared(name, False, (f"{n_other} images, splits or labels differ",))
    ours, theirs = before.to_numpy(np.float64), after.to_numpy(np.float64)
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        same = np.array_equal(ours, theirs, equal_nan=True)
        return Compared(name, same, () if same else ("some probabilities are not finite",))
    off = np.abs(theirs - ours)
    changed = float(np.mean(choose_classes(ours, 0) != choose_classes(theirs, 0)))
    mean = float(off.mean())
    beyond = []
    if mean > tolerances.probability:
        beyond.append(f"probabilities differ by {mean:.2g} on average, {off.max():.2g} at most")
    if changed > tolerances.decisions:
        beyond.append(f"{100 * changed:.1f} % of the images are classified differently")
    figures = {
        "largest probability difference": float(off.max()),
        "mean probability difference": mean,
        "changed decisions": changed,
    }
    return Compared(name, bool(np.array_equal(ours, theirs)), tuple(beyond), figures)


def compare_metrics(
    stored: pd.DataFrame, rerun: pd.DataFrame, primary: str, *, most: float
) -> list[Compared]:
    """Compare metrics: of each training for equal bits, and the means of arms for tolerance.

    Args:
        stored: As `results_table.compute_results` returns it; of all trainings in `rerun`, or more.
        rerun: The same.
        primary: The metric that the tolerance applies to, on test images.
        most: Largest tolerated difference of the mean over the seeds of a model and arm.
    """
    keys = ["model", "arm", "seed", "split"]
    names = [name for name in rerun.select_dtypes("number") if name in stored and name not in keys]
    before, after = stored.set_index(keys)[names], rerun.set_index(keys)[names]
    compared = []
    for (model, arm), part in after.groupby(["model", "arm"], sort=False):
        name = f"{model}, {arm}"
        lost = part.index.difference(before.index)
        if len(lost):
            compared.append(Compared(name, False, missing=f"the run lacks {len(lost)} results"))
            continue
        was = before.loc[part.index]
        test = part.index.get_level_values("split") == "test"
        beyond, figures = [], {}
        pair = was.loc[test, primary].to_numpy(float), part.loc[test, primary].to_numpy(float)
        both = np.isfinite(pair[0]) & np.isfinite(pair[1])
        if both.any():
            off = float(abs((pair[1] - pair[0])[both].mean()))
            figures["metric difference"] = off
            if off > most:
                beyond.append(f"{primary} differs by {off:.3f}, mean over {both.sum()} seeds")
        one_only = int((np.isfinite(pair[0]) != np.isfinite(pair[1])).sum())
        if one_only:
            beyond.append(f"{primary} is known in only one of the two for {one_only} seeds")
        equal = np.array_equal(was.to_numpy(float), part.to_numpy(float), equal_nan=True)
        compared.append(Compared(name, equal, tuple(beyond), figures))
    return compared


def compare_effects(
    stored: Mapping[str, Any], rerun: Mapping[str, Any], *, most_errors: float, most: float
) -> list[Compared]:
    """Compare the contrasts of two whole runs by their differences.

    Args:
        stored: What comparison.json holds.
        rerun: The same.
        most_errors: Largest tolerated shift, in standard errors of the stored difference.
        most: Largest tolerated shift if there is no standard error, because there is only one seed
            or all seeds are equal.
    """
    found = {_name_contrast(one): one for one in rerun["contrasts"]}
    compared = []
    for one in stored["contrasts"]:
        name = _name_contrast(one)
        if name not in found:
            compared.append(Compared(name, False, missing="the rerun has no such contrast"))
            continue
        ours, theirs = one["difference"], found[name]["difference"]
        same = one["differences"] == found[name]["differences"] and ours == theirs
        if ours is None or theirs is None:
            beyond = () if ours is theirs else ("it is known in only one of the two",)
            compared.append(Compared(name, same, beyond))
            continue
        off, error = abs(theirs - ours), None
        if one["sd"]:
            sizes = Sizes(n_test=stored["n_test"], n_train=stored["n_train"])
            error = one["sd"] * inflate_error(one["n_seeds"], sizes)
        shift = {"effect shift": off / error} if error else {}
        beyond = ()
        if off > (most_errors * error if error else most):
            told = f", {off / error:.2g} times its standard error" if error else ""
            beyond = (f"{ours:+.4f} → {theirs:+.4f}{told}",)
        compared.append(Compared(name, same, beyond, shift))
    return compared


def _name_contrast(contrast: Mapping[str, Any]) -> str:
    return f"{contrast['model']}, {contrast['arm']} − {contrast['baseline']}"


def compare_verdicts(stored: Mapping[str, Any], rerun: Mapping[str, Any]) -> list[Compared]:
    """Compare the verdicts of two whole runs, for each model and overall.

    Args:
        stored: What comparison.json holds.
        rerun: The same.
    """

    def collect(comparison: Mapping[str, Any]) -> dict[str, str]:
        of_models = {one["model"]: one["verdict"] for one in comparison["verdicts"]}
        return {**of_models, "overall": comparison["verdict"]["verdict"]}

    found = collect(rerun)
    return [
        Compared(
            name,
            was == found.get(name),
            () if was == found.get(name) else (f"{was} → {found.get(name)}",),
        )
        for name, was in collect(stored).items()
    ]


def compare_images(
    stored: pd.DataFrame, present: pd.DataFrame, stored_splits: pd.DataFrame, splits: pd.DataFrame
) -> list[Compared]:
    """Compare the images of a run with those that its source holds now, and their splits.

    Args:
        stored: The images table of the run: path, digest, label, group, used.
        present: The same columns for what was read now.
        stored_splits: seed, image_id, split.
        splits: The same columns for what was read now.
    """
    before, after = stored.set_index("path"), present.set_index("path")
    gone, new = before.index.difference(after.index), after.index.difference(before.index)
    both = before.index.intersection(after.index)

    def find_changed(column: str) -> list[str]:
        unlike = before.loc[both, column].to_numpy() != after.loc[both, column].to_numpy()
        return [str(path) for path in both[unlike]]

    content = [
        *_tell_paths("gone", gone.tolist()),
        *_tell_paths("new", new.tolist()),
        *_tell_paths("with other pixels", find_changed("digest")),
    ]
    labels = _tell_paths("with another class", find_changed("label"))
    used = _tell_paths("used in only one of the two", find_changed("used"))
    compared = [
        _compare_exactly("content", content),
        _compare_exactly("labels", labels),
        _compare_exactly("which are used", used),
    ]
    if not content:
        groups = [table.loc[both, "group"].to_numpy() for table in (before, after)]
        split = [] if _same_partition(*groups) else ["images are grouped differently"]
        compared.append(_compare_exactly("groups", split))
        keys = ["seed", "image_id"]
        seeds = set(stored_splits["seed"])
        ours = stored_splits.set_index(keys)["split"].sort_index()
        theirs = splits[splits["seed"].isin(seeds)].set_index(keys)["split"].sort_index()
        ours = ours[ours.index.get_level_values("seed").isin(set(splits["seed"]))]
        compared.append(
            _compare_exactly(
                "splits", [] if ours.equals(theirs) else ["they are drawn differently"]
            )
        )
    return compared


def _compare_exactly(name: str, beyond: Sequence[str]) -> Compared:
    return Compared(name, not beyond, tuple(beyond))


def _tell_paths(what: str, paths: Sequence[str]) -> list[str]:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return [f"{paths[0]}{more} {what}"] if paths else []


def _same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether two numberings group the same items, whatever the numbers are."""
    pairs = len({*zip(one.tolist(), other.tolist(), strict=True)})
    return pairs == len(set(one.tolist())) == len(set(other.tolist()))
