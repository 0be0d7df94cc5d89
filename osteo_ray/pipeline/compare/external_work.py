"""What is missing of an external cohort: explanations, and predictions. Free of Ray and PyTorch."""

from dataclasses import dataclass, replace

from osteo_ray.base.tables import list_parts
from osteo_ray.experiment.external import ExternalExperiment, list_divided, list_external
from osteo_ray.experiment.grid import GridRow, list_pending
from osteo_ray.experiment.superpixel_files import Division, list_divisions
from osteo_ray.experiment.trials import MaskJob, Trial, list_arms
from osteo_ray.explain.jobs import Explainable
from osteo_ray.pipeline.compare.mask_jobs import list_explanations


@dataclass(frozen=True)
class ExternalWork:
    """What remains to be done for an external cohort.

    Attributes:
        explanations: Those that are missing and can be made, and all that `rows` need.
        divisions: Files of pixels whose superpixels are missing.
        rows: The predictions that are missing and can be made.
        left_out: Trainings whose classifier, or whose masks, can no longer be had.
    """

    explanations: dict[MaskJob, Explainable]
    divisions: list[Division]
    rows: list[GridRow]
    left_out: tuple[Trial, ...]


def plan_external(external: ExternalExperiment) -> ExternalWork:
    """List what is missing of a cohort.

    The images of a cohort get masks alone: figures of faithfulness and heat maps are those of the
    run's own test images. Weights may have been removed to save space; a classifier without
    weights cannot predict, and one that is tested on the masks of another needs that one's.
    """
    arms = list_arms(external)
    done = external.list_done(arms)
    listed = list_external(external, [trial for trial in arms if trial in done])
    pending = list_pending(external, listed)
    # Rows that are there had masks, too, which may have been lost since.
    shown = {row.target: _list_shown(row) for row in listed}
    needed = list(dict.fromkeys(one for trials in shown.values() for one in trials))
    explanations = {
        job: replace(one, faithfulness_ids=frozenset(), heatmap_ids=frozenset())
        for job, one in list_explanations(external, needed).items()
    }
    lost = {
        job for job, one in explanations.items() if one.pending and not one.checkpoint.is_file()
    }
    rows = [
        row
        for row in pending
        if not any(lost & set(external.list_jobs(trial)) for trial in shown[row.target])
    ]
    used = {job for row in rows for one in shown[row.target] for job in external.list_jobs(one)}
    there = {str(row.target) for row in rows} | set(list_parts(external.run.grid))
    return ExternalWork(
        {
            job: one
            for job, one in explanations.items()
            if job not in lost and (one.pending or job in used)
        },
        list_divisions(external, list_divided(needed)),
        rows,
        tuple(row.trial for row in listed if str(row.target) not in there),
    )


def _list_shown(row: GridRow) -> list[Trial]:
    """List the trainings whose view of the images a row shows to its classifier."""
    return [Trial(row.trial.model, row.trial.seed, view) for view in row.views]
