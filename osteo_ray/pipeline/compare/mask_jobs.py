"""The explanations that trials need, and the images they need them for. Free of Ray and PyTorch."""

from collections.abc import Iterable
from sys import intern

import numpy as np
import pyarrow.compute as pc

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.base.networks import name_repeat
from osteo_ray.base.tables import read_table
from osteo_ray.config.tuning import TUNING_SEED
from osteo_ray.experiment.trials import WEIGHTS, Experiment, MaskJob, Trial
from osteo_ray.explain.jobs import Explainable, list_drawn, list_kinds, read_done
from osteo_ray.explain.registry import find_explainer

_SAMPLES = 6  # test images per class and outcome that the report shows with heat maps


def list_explanations(
    experiment: Experiment, trials: Iterable[Trial]
) -> dict[MaskJob, Explainable]:
    """List the explanations that trials need, each once, as the explaining actors take them.

    Raises:
        InputError: No explainer makes the masks of an arm.
    """
    wanted: dict[MaskJob, np.ndarray] = {}
    kinds: dict[MaskJob, list[str]] = {}
    for trial in trials:
        for job, images in experiment.list_jobs(trial).items():
            wanted[job] = wanted.get(job, np.zeros_like(images)) | images
            kinds.setdefault(job, []).append(find_explainer(experiment.kind_of(trial)).name)
    models = dict.fromkeys(job.teacher.model for job in wanted)
    samples = {model: _choose_samples(experiment, model) for model in models}
    return {
        job: _describe_job(experiment, job, kinds[job], images, samples[job.teacher.model])
        for job, images in wanted.items()
    }


def _describe_job(
    experiment: Experiment,
    job: MaskJob,
    kinds: list[str],
    images: np.ndarray,
    samples: frozenset[str],
) -> Explainable:
    run = experiment.run
    model, seed = job.teacher.model, job.teacher.seed
    path = experiment.path_of(job.teacher)
    # The classifier whose masks are the paper's; all others only serve a control.
    is_main = job == MaskJob(experiment.first_of(Trial(model, seed, ORIGINAL)))
    # The report shows images of the first seed, but none of the seed that settings were tuned on.
    is_shown = is_main and seed == experiment.first_seed != TUNING_SEED
    ids = [intern(image_id) for image_id in experiment.image_ids.tolist()]
    targets = None
    if job.target == "true":
        numbers = np.searchsorted(experiment.classes, experiment.labels)
        targets = dict(zip(ids, numbers.tolist(), strict=True))
    masks, heatmaps = experiment.masks_of(job), run.heatmaps / name_repeat(model, seed)
    superpixels = run.place_shown_superpixels()
    drawn = samples  # without weights, nothing can be drawn; they may have been removed
    if is_shown and (path / WEIGHTS).is_file():
        drawn = list_drawn(heatmaps) & list_drawn(superpixels)
    return Explainable(
        model=model,
        seed=seed,
        fingerprint=experiment.key_of(job.teacher),
        lime_seed=experiment.seeds[seed].lime,
        checkpoint=path / WEIGHTS,
        frozen=path / "frozen",
        masks=masks,
        wanted=frozenset(ids[row] for row in np.flatnonzero(images)),
        faithfulness=run.faithfulness / name_repeat(model, seed),
        faithfulness_ids=experiment.list_ids(seed, "test") if is_main else frozenset(),
        heatmaps=heatmaps,
        heatmap_ids=samples if is_shown else frozenset(),
        done=read_done(masks),
        drawn=drawn,
        teacher=job.teacher.arm,
        targets=targets,
        code=experiment.weights[model].code,
        superpixels=superpixels,
        # LIME's masks come first: they set the area and the class of all others.
        kinds=tuple(dict.fromkeys([*(list_kinds("lime") if is_main else ("lime",)), *kinds])),
    )


def _choose_samples(experiment: Experiment, model: str) -> frozenset[str]:
    """Choose test images of the first seed for the report, right and wrong ones of each class.

    The trained baseline tells which are wrong, so they are the same in every rerun.
    """
    in_test = experiment.splits[experiment.first_seed] == "test"
    wrong = _list_wrong(experiment, model)
    chosen: list[str] = []
    for label in experiment.classes:
        ids = sorted(experiment.image_ids[in_test & (experiment.labels == label)].tolist())
        for outcome in (True, False):
            chosen += [one for one in ids if (one in wrong) == outcome][:_SAMPLES]
    return frozenset(chosen)


def _list_wrong(experiment: Experiment, model: str) -> frozenset[str]:
    """Return the test images of the first seed that the baseline predicts to be something else."""
    trial = Trial(model, experiment.first_seed, ORIGINAL)
    place = experiment.path_of(trial) / "predictions.parquet"
    if not place.is_file():
        return frozenset()
    table = read_table(place)
    test = table.filter(pc.equal(table["split"], "test"))
    scores = np.stack([test[f"p_{name}"].to_numpy() for name in experiment.classes], axis=1)
    said = np.array(experiment.classes)[scores.argmax(axis=1)]
    ids, labels = (np.array(test[name].to_pylist()) for name in ("image_id", "label"))
    return frozenset(ids[said != labels].tolist())
