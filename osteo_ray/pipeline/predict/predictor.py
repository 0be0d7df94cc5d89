"""Predict new images with the classifiers of a finished run, in this process.

They are an external cohort without labels: what explains, masks and predicts them is what does so
for a cohort, on a scratch folder instead of one of the run.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError
from osteo_ray.base.forms import COMPARISON, read_record
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import recall_place
from osteo_ray.base.tables import PIXELS, list_parts, read_table, write_pixels
from osteo_ray.base.trust import require_consent
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.experiment.ensemble import (
    Ensemble,
    Member,
    calibrate_members,
    choose_ensemble,
    soften,
)
from osteo_ray.experiment.external import Cohort, CohortRun, ExternalExperiment, read_shown_masks
from osteo_ray.experiment.grid import VIEW
from osteo_ray.experiment.soundness import refuse_damage
from osteo_ray.experiment.stored_images import locate_pixels
from osteo_ray.experiment.trials import WEIGHTS, Experiment, Trial
from osteo_ray.pipeline.predict.new_images import NewImage, list_new_images, read_new_images
from osteo_ray.pipeline.stored_run import describe_stored

NOTICE = "For research. Not for clinical use: no probability here may guide the care of a patient."
OF_THE_RUN = "is in the run"
ShowMask = Callable[[int, str, np.ndarray], None]
"""Takes the place of an image among those that are predicted, from 0, its path, and the share of
members whose mask keeps each pixel: float64, (height, width)."""
_AT_A_TIME = 256  # images in memory
_NOT_FINITE = "a classifier gives NaN or an infinite number for it"


@dataclass(frozen=True)
class Predicted:
    """What an ensemble says of an image.

    Attributes:
        path: Of the image.
        predicted: The class with the highest probability; empty if there is none.
        probabilities: By class: the mean over the members, each calibrated.
        lowest: By class, the lowest of the members.
        highest: By class, the highest of them.
        note: What must be known of the image beside it; empty if nothing.
        error: Why there is no prediction; empty if there is one.
    """

    path: str
    predicted: str
    probabilities: dict[str, float]
    lowest: dict[str, float]
    highest: dict[str, float]
    note: str = ""
    error: str = ""


@dataclass(frozen=True)
class Prediction:
    """The predictions of an ensemble, and what it is.

    Attributes:
        recommendation: Its classifiers.
        members: How each is calibrated.
        classes: In order.
        images: What it says of each image.
    """

    recommendation: Ensemble
    members: tuple[Member, ...]
    classes: tuple[str, ...]
    images: tuple[Predicted, ...]


def predict_images(
    run: Run,
    places: Sequence[str],
    *,
    model: str | None = None,
    show_mask: ShowMask | None = None,
    run_code: bool = False,
) -> Prediction:
    """Predict images with the classifiers that the verdict of a run recommends.

    Args:
        run: A finished run whose weights are still there.
        places: Files, and folders of files.
        model: The network; by default the one with the lowest log loss on validation images.
        show_mask: Told of the masks of each image that can be read; the images are then explained
            even if the classifiers are shown them whole.
        run_code: Run the code that the run brings along, if its network is one of the user's.

    Raises:
        InputError: The run or the images cannot be used.
    """
    if not places:
        raise InputError("Expected images to predict, but got none. Name files or folders.")
    read = (run.config, run.comparison, run.predictions, run.images, run.splits, run.trials)
    refuse_damage(run, [place.name for place in read])
    config, comparison = _read_finished(run)
    predictions = read_table(run.predictions).to_pandas()
    recommendation = choose_ensemble(comparison, predictions, model)
    paths = list_new_images(places)
    _, whole = describe_stored(run, config)
    experiment = replace(whole, models=(recommendation.model,), grid=False)
    _check_weights(experiment, recommendation)
    if any(one.code is not None for one in experiment.weights.values()):
        require_consent(run_code, f"of `{recommendation.model}` in {run.networks}")
    members = calibrate_members(predictions, experiment.classes, recommendation)
    with tempfile.TemporaryDirectory(prefix="osteo-ray-") as scratch:
        place = CohortRun(Path(scratch), run)
        images = _read_images(paths, place, config)
        distinct = {one.image_id: one for one in images if not one.error}
        said: dict[str, dict[int, np.ndarray]] = {}
        if distinct:
            external = _pose_as_cohort(experiment, place, list(distinct.values()))
            said = _compute(external, recommendation, images, show_mask)
    known = set(read_table(run.images, ["digest"])["digest"].to_pylist())
    found = [_join(one, said, members, experiment.classes, known=known) for one in images]
    return Prediction(recommendation, tuple(members), experiment.classes, tuple(found))


def _read_finished(run: Run) -> tuple[CompareConfig, dict[str, Any]]:
    needed = (run.comparison, run.config, run.images, run.splits, run.predictions)
    missing = [path.name for path in needed if not path.is_file()]
    if missing:
        what = f"lacks {', '.join(missing)}" if run.root.exists() else "does not exist"
        raise InputError(
            f"Expected a finished run, but {run.root} {what}. Give the directory that "
            "`osteo-ray compare` named, or finish it with the same command."
        )
    return build_config(read_yaml(run.config)), read_record(run.comparison, COMPARISON)


def _check_weights(experiment: Experiment, chosen: Ensemble) -> None:
    arms = [chosen.arm, *({"original"} if ARMS[chosen.arm].masks else ())]
    files = [
        experiment.path_of(Trial(chosen.model, seed, arm)) / WEIGHTS
        for seed in chosen.seeds
        for arm in arms
    ]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise InputError(
            f"Expected the weights of all {len(files)} classifiers, but {len(missing)} are "
            f"missing; the first is {missing[0]}. They were removed, or belong to other settings. "
            "Run `osteo-ray compare` with the settings of the run to train them again."
        )


def _read_images(paths: Sequence[Path], place: CohortRun, config: CompareConfig) -> list[NewImage]:
    """Read images some at a time, put their pixels into a folder, and return the rest of them."""
    found: list[NewImage] = []
    stored: set[str] = set()
    for start in range(0, len(paths), _AT_A_TIME):
        read = [
            one
            for path in paths[start : start + _AT_A_TIME]
            for one in read_new_images(path, config.image_size, config.bits, config.laterality)
        ]
        fresh = {one.image_id: one for one in read if one.image_id not in stored}
        rows = [
            {"image_id": name, "digest": one.digest, "pixels": one.pixels.tobytes()}
            for name, one in fresh.items()
            if one.pixels is not None
        ]
        if rows:
            part = place.pixels / f"part-{start:09}.parquet"
            write_pixels(part, pa.Table.from_pylist(rows, schema=PIXELS))
        stored |= fresh.keys()
        found += [replace(one, pixels=None) for one in read]
    return found


def _compute(
    external: ExternalExperiment,
    chosen: Ensemble,
    images: Sequence[NewImage],
    show_mask: ShowMask | None,
) -> dict[str, dict[int, np.ndarray]]:
    """Return the probabilities by image and seed; tell of the masks if they are wanted."""
    # Imported here: PyTorch takes seconds to import, and bad input needs none of it.
    from osteo_ray.pipeline.compare.in_process import explain_in_process, predict_in_process
    from osteo_ray.pipeline.compare.mask_jobs import list_explanations

    masked = ARMS[chosen.arm].masks is not None
    explaining = chosen.arm if masked else "lime"
    asked = replace(external, arms=(chosen.arm,))
    pixels = locate_pixels(external.run, external.image_ids.tolist(), external.settings.image_size)
    n_threads = os.cpu_count() or 1
    trials = [Trial(chosen.model, seed, explaining) for seed in chosen.seeds]
    if masked or show_mask is not None:
        jobs = list_explanations(external, trials)
        wanted = [
            replace(one, faithfulness_ids=frozenset(), heatmap_ids=frozenset())
            for one in jobs.values()
        ]
        explain_in_process(external, wanted, n_threads)
    predict_in_process(asked, pixels, n_threads=n_threads)
    if show_mask is not None:
        _show_masks(external, trials, images, show_mask)
    return _read_rows(external.cohort.run, chosen, external.classes)


def _show_masks(
    external: ExternalExperiment,
    trials: Sequence[Trial],
    images: Sequence[NewImage],
    show_mask: ShowMask,
) -> None:
    """Tell, for each image, what share of the masks of several trials keeps each pixel.

    The masks of all trials together may not fit into memory, so they go through files.
    """
    image_size = external.settings.image_size
    row_of = {name: row for row, name in enumerate(external.image_ids.tolist())}
    files = []
    for trial in trials:
        kept = read_shown_masks(external, trial)
        if kept is not None:
            files.append(Path(str(external.run.root)) / f"masks-{trial.seed}.u8")
            kept.masks.bits.tofile(files[-1])
    n_bytes = -(-image_size.area_px // 8)
    for number, image in enumerate(images):
        if image.error or not files:
            continue
        start = row_of[image.image_id] * n_bytes
        bits = np.stack([np.fromfile(file, np.uint8, n_bytes, offset=start) for file in files])
        show_mask(number, image.path, PackedMasks(bits, *image_size.shape)[:].mean(axis=0))


def _pose_as_cohort(
    experiment: Experiment, place: CohortRun, images: Sequence[NewImage]
) -> ExternalExperiment:
    ids = [one.image_id for one in images]
    table = pd.DataFrame(
        {
            "image_id": ids,
            "digest": [one.digest for one in images],
            "label": experiment.classes[0],  # nobody knows; nothing that is returned rests on it
            "group": np.arange(len(ids)),
            "path": [one.path for one in images],
        }
    )
    cohort = Cohort(place, "", table, pd.DataFrame({"path": [], "reason": []}), 0)
    return ExternalExperiment.of(experiment, cohort)


def _read_rows(
    place: CohortRun, chosen: Ensemble, classes: Sequence[str]
) -> dict[str, dict[int, np.ndarray]]:
    tables = [read_table(path).to_pandas() for path in map(recall_place, list_parts(place.grid))]
    found: dict[str, dict[int, np.ndarray]] = {}
    for table in tables:
        own = table[(table["arm"] == chosen.arm) & (table[VIEW] == chosen.arm)]
        scores = own[[f"p_{name}" for name in classes]].to_numpy(float)
        for image_id, seed, row in zip(own["image_id"], own["seed"], scores, strict=True):
            found.setdefault(image_id, {})[int(seed)] = row
    return found


def _join(
    image: NewImage,
    said: dict[str, dict[int, np.ndarray]],
    members: Sequence[Member],
    classes: Sequence[str],
    *,
    known: set[str],
) -> Predicted:
    if image.error:
        return Predicted(image.path, "", {}, {}, {}, error=image.error)
    of_image = said[image.image_id]
    each = np.stack([soften(of_image[one.seed], one.temperature) for one in members])
    if not np.isfinite(each).all():
        return Predicted(image.path, "", {}, {}, {}, error=_NOT_FINITE)
    mean, low, high = each.mean(axis=0), each.min(axis=0), each.max(axis=0)

    def by_class(values: np.ndarray) -> dict[str, float]:
        return dict(zip(classes, values.tolist(), strict=True))

    return Predicted(
        image.path,
        classes[int(mean.argmax())],
        by_class(mean),
        by_class(low),
        by_class(high),
        OF_THE_RUN if image.digest in known else "",
    )


def list_columns(prediction: Prediction) -> pd.DataFrame:
    """Return a row per image, for CSV and JSON; masks are left out."""
    rows = [
        {"path": one.path, "predicted": one.predicted}
        | {f"p_{name}": one.probabilities.get(name) for name in prediction.classes}
        | {f"lowest_{name}": one.lowest.get(name) for name in prediction.classes}
        | {f"highest_{name}": one.highest.get(name) for name in prediction.classes}
        | {"note": one.note, "error": one.error}
        for one in prediction.images
    ]
    return pd.DataFrame(rows)
