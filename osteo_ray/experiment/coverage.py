"""How much of the given regions explanations cover: overlap, recall, precision, pointing game.

A mask that keeps half of an image covers half of any region by chance. So each figure stands beside
that of random masks of the same area, and the difference has an interval of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.arms.registry import label_kind
from osteo_ray.base.formatting import format_percent
from osteo_ray.base.tables import MASKS, iterate_parts
from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.region_table import load_regions
from osteo_ray.experiment.trials import Experiment, MaskJob, Trial
from osteo_ray.statistics.bootstrap import draw_weights
from osteo_ray.statistics.inference import TestDesign, estimate_mean
from osteo_ray.statistics.resampling import N_DRAWS

Values = npt.NDArray[np.float64]
MEASURES = ("iou", "recall", "precision", "pointing")
"""What is measured of each mask: intersection over union with the region, the share of the region
that the mask keeps, the share of the mask that lies in the region, and the pointing game (Zhang et
al. 2018): the chance that a pixel of those that matter most (of LIME's heaviest superpixel, or the
maximum of a heat map) lies in the region. Of random masks, the last is the chance that any pixel
does. An empty mask of LIME has none, for its heaviest superpixel does not speak for the class."""
RANDOM = "random"
"""The kind of mask that the others are compared with."""


@dataclass(frozen=True)
class CoverageFigure:
    """A measure of one kind of mask, and how it exceeds that of random masks.

    Attributes:
        mean: Over seeds, of means over test images.
        low: Lower end of its interval, cut off at 0; None with fewer than two seeds.
        high: Upper end, cut off at 1.
        more: Mean excess over random masks of the same images; None without such masks.
        more_low: Lower end of its interval.
        more_high: Upper end.
    """

    mean: float
    low: float | None
    high: float | None
    more: float | None = None
    more_low: float | None = None
    more_high: float | None = None


@dataclass(frozen=True)
class Covered:
    """What masks cover of the regions of the test images of a seed.

    Attributes:
        groups: int, (k,); the number of the group of each test image, from 0.
        values: By kind of mask, float64, (k, 4): `MEASURES` of each test image; NaN where there is
            no mask, or no peak is stored.
    """

    groups: np.ndarray
    values: Mapping[str, Values]


def measure_cover(keep_mask: bytes, region: bytes) -> tuple[float, float, float]:
    """Return intersection over union, recall and precision of a mask.

    Args:
        keep_mask: Packed as `pack_mask` does; True = kept. An empty mask has a precision of 0.
        region: Packed alike, not empty; True = inside.

    Example:
        >>> measure_cover(bytes([0b1100]), bytes([0b0111]))
        (0.25, 0.3333333333333333, 0.5)
    """
    kept, inside = np.frombuffer(keep_mask, np.uint8), np.frombuffer(region, np.uint8)
    joint, either, kept_px, inside_px = (
        int(np.bitwise_count(bits).sum()) for bits in (kept & inside, kept | inside, kept, inside)
    )
    return joint / either, joint / inside_px, joint / kept_px if kept_px else 0.0


def describe_coverage(experiment: Experiment, analysis: Analysis) -> dict[str, Any] | None:
    """Measure how the masks of the first models cover the regions of test images.

    Args:
        experiment: A run.
        analysis: What was planned of it.

    Returns:
        `area`, the mean share of an image that its region takes; and `masks`, a list with
        `model`, `kind`, `n_seeds` and `figures`, the fields of `CoverageFigure` by measure. None if
        the run has no regions or no masks.
    """
    if not experiment.regions:
        return None
    regions = load_regions(experiment)
    rows = []
    for model in analysis.models:
        found = [
            _measure_seed(experiment, model, seed, regions) for seed in analysis.list_seeds(model)
        ]
        rows += summarize_coverage(model, [one for one in found if one.values], analysis)
    n_px = experiment.settings.image_size.area_px
    area = float(np.mean(regions.areas_px / n_px))
    return {"area": area, "masks": rows} if rows else None


def say_recall(coverage: Mapping[str, Any], model: str) -> str:
    """Say what share of the given regions each kind of mask keeps; empty without masks.

    Args:
        coverage: What `describe_coverage` returned.
        model: Name of the model.

    Example:
        >>> row = {"model": "net", "kind": "lime", "figures": {"recall": {"mean": 0.25}}}
        >>> say_recall({"masks": [row, {**row, "kind": "random"}]}, "net")
        'Of the given regions, the masks keep: LIME 25 %, Random 25 %.'
    """
    shares = ", ".join(
        f"{label_kind(row['kind'])} {format_percent(row['figures']['recall']['mean'])}"
        for row in coverage["masks"]
        if row["model"] == model
    )
    return f"Of the given regions, the masks keep: {shares}." if shares else ""


def _count(packed: bytes) -> int:
    return int(np.bitwise_count(np.frombuffer(packed, np.uint8)).sum())


def _measure_seed(experiment: Experiment, model: str, seed: int, regions: PackedMasks) -> Covered:
    """Measure all masks of the test images of a seed that its first model gave rise to."""
    rows = np.flatnonzero(experiment.splits[seed] == "test")
    place = {image_id: at for at, image_id in enumerate(experiment.image_ids[rows].tolist())}
    job = MaskJob(experiment.first_of(Trial(model, seed, ORIGINAL)))
    columns = ["image_id", "kind", "keep_mask", "peak", "error"]
    tested = pa.array(list(place), pa.string())
    tables = iterate_parts(experiment.masks_of(job), MASKS, columns)
    records = (
        record
        for table in tables
        for record in table.filter(pc.is_in(table["image_id"], tested)).to_pylist()
    )
    n_px = experiment.settings.image_size.area_px
    values: dict[str, Values] = {}
    for record in records:
        kind, at = record["kind"], place[record["image_id"]]
        measured = values.setdefault(kind, np.full((len(rows), len(MEASURES)), np.nan))
        if record["error"] is not None:
            continue
        region = regions.bits[rows[at]].tobytes()
        measured[at, :3] = measure_cover(record["keep_mask"], region)
        if kind == RANDOM:
            measured[at, 3] = _count(region) / n_px
        elif record["peak"] is not None:
            # The share of the peak that lies in the region is the mask's precision.
            measured[at, 3] = measure_cover(record["peak"], region)[2]
    numbers = np.unique(experiment.groups, return_inverse=True)[1]
    return Covered(numbers[rows], values)


def summarize_coverage(
    model: str, seeds: Sequence[Covered], analysis: Analysis, *, n_draws: int = N_DRAWS
) -> list[dict[str, Any]]:
    """Average over the seeds of a model; see `describe_coverage`.

    Args:
        model: Its name.
        seeds: What was measured of each seed.
        analysis: What was planned.
        n_draws: Bootstrap samples of the groups of test images.
    """
    kinds = dict.fromkeys(kind for one in seeds for kind in one.values)
    rows = []
    for kind in kinds:
        figures = {}
        for column, measure in enumerate(MEASURES):
            own = [(one.groups, one.values[kind][:, column]) for one in seeds if kind in one.values]
            figure = _estimate(own, analysis, n_draws, possible=(0.0, 1.0))
            if figure is None:
                continue
            more = None
            if kind != RANDOM:
                pairs = [
                    (one.groups, one.values[kind][:, column] - one.values[RANDOM][:, column])
                    for one in seeds
                    if {kind, RANDOM} <= set(one.values)
                ]
                more = _estimate(pairs, analysis, n_draws, possible=(-1.0, 1.0))
            figures[measure] = asdict(CoverageFigure(*figure, *(more or ())))
        if figures:
            n_seeds = sum(kind in one.values for one in seeds)
            rows.append({"model": model, "kind": kind, "n_seeds": n_seeds, "figures": figures})
    return rows


def _estimate(
    seeds: Sequence[tuple[np.ndarray, Values]],
    analysis: Analysis,
    n_draws: int,
    *,
    possible: tuple[float, float],
) -> tuple[float, float | None, float | None] | None:
    """Estimate the mean over seeds of mean values of test images; None if there are none."""
    known = [
        (groups[there], values[there])
        for groups, values in seeds
        if (there := ~np.isnan(values)).any()
    ]
    if not known:
        return None
    tested = [np.unique(groups) for groups, _ in known]
    n_groups = 1 + max(int(groups.max()) for groups in tested)
    weights = draw_weights(n_groups, n_draws, 0)
    means = np.array([values.mean() for _, values in known])
    draws = np.stack([_resample(weights[:, groups], values) for groups, values in known], axis=1)
    design = TestDesign(
        n_test=analysis.sizes.n_test,
        n_train=analysis.sizes.n_train if np.isfinite(analysis.sizes.n_train) else None,
        fixed=len(known) > 1 and all(np.array_equal(one, tested[0]) for one in tested),
    )
    n_shared = int(np.sum(np.bincount(np.concatenate(tested)) > 1))
    found = estimate_mean(means, draws, n_shared, design, possible=possible)
    return (float(means.mean()), *(found.interval(analysis.alpha) if found else (None, None)))


def _resample(weights: np.ndarray, values: Values) -> Values:
    """Return weighted means of values: weights (n_draws, k) → float64, (n_draws,)."""
    total = weights.sum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ values) / total)
