"""Have the trained classifiers of a run predict an external cohort, on the cluster."""

from osteo_ray.base.progress import Stage
from osteo_ray.experiment.costs import DIVISION_COST
from osteo_ray.experiment.external import ExternalExperiment
from osteo_ray.pipeline.compare.external_work import ExternalWork, plan_external
from osteo_ray.pipeline.compare.grid_job import predict_grid
from osteo_ray.pipeline.compare.running import explain_all
from osteo_ray.pipeline.compare.shared_pixels import share_pixels
from osteo_ray.pipeline.compare.superpixel_job import divide_images
from osteo_ray.pipeline.site import Site

READ_COHORT = "read the cohort"
_EXPLAIN, _DIVIDE, _PREDICT = "explain the cohort", "divide the cohort", "predict the cohort"


def predict_external(external: ExternalExperiment, site: Site) -> None:
    """Explain the images of a cohort and predict them, as far as that is not done.

    Args:
        external: The trainings of a run, with the images of the cohort.
        site: Where to run it.

    Raises:
        IncompleteError: A worker failed, or nothing was computed for too long.
    """
    work = plan_external(external)
    if work.left_out:
        site.progress.say(
            f"{len(work.left_out)} classifiers do not predict the cohort, as weights were removed;"
            f" the first: {work.left_out[0]}"
        )
    if not (work.rows or work.explanations or work.divisions):
        return
    settings, timeout_s = external.settings, site.resources.stall_timeout
    job = site.observer.job(cohort=external.cohort.source, layout=site.layout.describe())
    with job, site.progress.showing(_plan_stages(external, work)):
        if work.explanations:
            explain_all(external, site, work.explanations, set(), _EXPLAIN)
        if work.divisions:
            with site.stage(_DIVIDE) as listener:
                divide_images(
                    work.divisions,
                    settings.lime,
                    settings.image_size,
                    stall_timeout_s=timeout_s,
                    on_divided=lambda: listener.advanced(1),
                )
        if not work.rows:
            return
        ids = external.image_ids.tolist()
        most_bytes = site.layout.pixels_bytes
        pixels = share_pixels(external.run, ids, settings.image_size, most_bytes)
        with site.stage(_PREDICT) as listener:
            predict_grid(
                work.rows,
                external,
                pixels,
                layout=site.layout,
                stall_timeout_s=timeout_s,
                on_predicted=listener.advanced,
            )


def _plan_stages(external: ExternalExperiment, work: ExternalWork) -> list[Stage]:
    n_images = len(external.image_ids)
    stages = []
    if work.explanations:
        total = sum(len(one.wanted) for one in work.explanations.values())
        done = sum(len(one.wanted - one.pending) for one in work.explanations.values())
        stages.append(Stage(_EXPLAIN, "explanations", total, external.settings.lime.samples, done))
    if work.divisions:
        per_file = n_images / len(work.divisions)
        stages.append(Stage(_DIVIDE, "files", len(work.divisions), per_file * DIVISION_COST))
    if work.rows:
        n_views = sum(len(row.views) for row in work.rows) / len(work.rows)
        stages.append(Stage(_PREDICT, "classifiers", len(work.rows), n_images * n_views))
    return stages
