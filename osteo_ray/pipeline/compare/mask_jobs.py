"""The explanations that trials need, and the images they need them for. Free of Ray and PyTorch."""

from collections.abc import Iterable
from sys import intern

import numpy as np

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.base.networks import name_repeat
from osteo_ray.experiment.trials import WEIGHTS, Experiment, MaskJob, Trial
from osteo_ray.explain.jobs import Explainable, list_kinds, read_done
from osteo_ray.explain.registry import find_explainer

_SAMPLES_PER_CLASS = 2  # test images whose heat maps are drawn for the report


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
    samples = _choose_samples(experiment)
    return {
        job: _describe_job(experiment, job, kinds[job], images, samples)
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
    ids = [intern(image_id) for image_id in experiment.image_ids.tolist()]
    targets = None
    if job.target == "true":
        numbers = np.searchsorted(experiment.classes, experiment.labels)
        targets = dict(zip(ids, numbers.tolist(), strict=True))
    masks = experiment.masks_of(job)
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
        heatmaps=run.heatmaps / name_repeat(model, seed),
        heatmap_ids=samples if is_main and seed == experiment.first_seed else frozenset(),
        done=read_done(masks),
        teacher=job.teacher.arm,
        targets=targets,
        code=experiment.weights[model].code,
        # LIME's masks come first: they set the area and the class of all others.
        kinds=tuple(dict.fromkeys([*(list_kinds("lime") if is_main else ("lime",)), *kinds])),
    )


def _choose_samples(experiment: Experiment) -> frozenset[str]:
    """Choose a few test images of the first seed for the report, the same in every rerun."""
    in_test = experiment.splits[experiment.first_seed] == "test"
    chosen: list[str] = []
    for label in experiment.classes:
        ids = experiment.image_ids[in_test & (experiment.labels == label)]
        chosen += sorted(ids.tolist())[:_SAMPLES_PER_CLASS]
    return frozenset(chosen)
