"""Have the trained classifiers of a run predict an external cohort, on the cluster."""

from dataclasses import replace

from osteo_ray.base.time_left import Stage
from osteo_ray.experiment.external import ExternalExperiment
from osteo_ray.pipeline.compare.external_work import ExternalWork, plan_external
from osteo_ray.pipeline.compare.grid_job import predict_grid
from osteo_ray.pipeline.compare.running import explain_all
from osteo_ray.pipeline.compare.shared_pixels import share_pixels
from osteo_ray.pipeline.compare.stage_sizes import StageSizes, foresee_end
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
    site.progress.look_ahead([foresee_end()])
    job = site.observer.job(cohort=external.cohort.source, layout=site.layout.describe())
    with job, site.progress.showing(_plan_stages(external, work, site)):
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


def _plan_stages(external: ExternalExperiment, work: ExternalWork, site: Site) -> list[Stage]:
    sizes = replace(StageSizes.of(external, site.layout), n_images=len(external.image_ids))
    stages = []
    if work.explanations:
        stages.append(sizes.plan_explanations(_EXPLAIN, work.explanations.values()))
    if work.divisions:
        n_files = len(work.divisions)
        stages.append(sizes.plan_divisions(_DIVIDE, n_files, n_files))
    if work.rows:
        stages.append(sizes.plan_grid(_PREDICT, work.rows, sizes.n_images))
    return stages
