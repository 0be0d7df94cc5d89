"""The job of explaining a set of images with one trained classifier, without a comparison."""

from functools import partial

from osteo_ray.base.digests import write_record
from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.forms import ENVIRONMENT, read_record
from osteo_ray.base.joined_tables import join_parts, needs_joining
from osteo_ray.base.lock import hold
from osteo_ray.base.progress import Clock, JobProgress
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_table, write_json
from osteo_ray.base.time_left import Stage
from osteo_ray.base.trust import require_consent
from osteo_ray.cluster.connection import (
    check_machine,
    confirm,
    connect,
    is_cluster_given,
    plan_resources,
)
from osteo_ray.cluster.observer import Observer
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.config.explain import ExplainConfig
from osteo_ray.experiment.healing import heal_run, settle_digests
from osteo_ray.experiment.run_files import FROZEN
from osteo_ray.explain.jobs import (
    Explainable,
    find_done,
    list_kinds,
    plan_job,
    read_done,
)
from osteo_ray.explain.registry import find_explainer
from osteo_ray.pipeline.explain.carrying import carry_code
from osteo_ray.pipeline.explain.checkpoint_check import check_checkpoint
from osteo_ray.pipeline.explain.joining import join_masks
from osteo_ray.pipeline.explain.pool import Pool, explain_images
from osteo_ray.pipeline.explain.precision import check_processor
from osteo_ray.pipeline.explain.prepare_set import Subject, create_set, find_subject, locate_set
from osteo_ray.pipeline.explain.summary import ExplanationSummary, summarize_explanations
from osteo_ray.pipeline.ingest.intake import draw_phantoms
from osteo_ray.pipeline.ingest.rereading import read_again
from osteo_ray.pipeline.output import check_devices, list_source
from osteo_ray.pipeline.site import READ, Site, follow_reading

EXPLAIN = "explain"


def explain_set(config: ExplainConfig, progress: JobProgress) -> tuple[Run, ExplanationSummary]:
    """Explain a set of images, or resume explaining it.

    Args:
        config: What to explain, with which classifier, and how.
        progress: Where to show progress.

    Returns:
        The output directory, and a summary of what it holds.

    Raises:
        InputError: The input cannot be used, or another process works on the set; nothing was
            written.
        IncompleteError: Some images were not explained.
    """
    subject = find_subject(config.checkpoint)
    if subject.checkpoint.code is not None:
        require_consent(config.run_code, f"of `{subject.checkpoint.model}` in {subject.path}")
    with hold(locate_set(config, subject, progress.say).root, progress.say):
        return _explain_set(config, subject, progress)


def _explain_set(
    config: ExplainConfig, subject: Subject, progress: JobProgress
) -> tuple[Run, ExplanationSummary]:
    run = locate_set(config, subject)
    lost = heal_run(run, progress.say)
    source = list_source(
        config.data, config.phantom, run, config.source_options, labels_needed=False
    )
    if lost.phantom:
        draw_phantoms(run, config.phantom)
    if run.config.exists() and not lost.digests and not _list_missing(run, config):
        # The process that made the last mask may have died while it joined their files.
        if needs_joining(run.masks, run.faithfulness):
            join_parts(run.masks, run.faithfulness)
        settle_digests(run)
        return run, summarize_explanations(run, config.method)
    resources = ResourceSettings(**config.resources.model_dump())
    if not is_cluster_given():
        check_machine(resources)
    clock = Clock()
    progress.say("start Ray")
    with connect():
        clock.lap("start Ray")
        layout = plan_resources(resources, progress.say)
        check_processor(layout.explainer, config.lime.precision)
        if run.config.exists():
            check_devices(run, layout)
        else:
            explainer = find_explainer(config.method)(config.lime)
            carry_code([explainer])
            progress.say("check the classifier")
            confirm(check_checkpoint.remote(subject.path, explainer))
            with follow_reading(progress, resources.stall_timeout):
                create_set(run, config, subject, source, layout)
            clock.lap(READ)
        if lost.digests:
            progress.say("read the images again")
            with follow_reading(progress, resources.stall_timeout):
                create = partial(
                    create_set, config=config, subject=subject, source=source, layout=layout
                )
                read_again(run, lost, create)
        n_new = len(_list_missing(run, config))
        _explain(run, config, subject, Site(layout, resources, progress, clock, Observer(run.logs)))
    environment = {**read_record(run.environment, ENVIRONMENT), "durations_s": clock.durations_s}
    write_json(run.environment, environment, write_record)
    settle_digests(run)
    missing = _list_missing(run, config)
    if missing:
        raise IncompleteError(
            f"{len(missing)} images have no explanation. Run the same command again to retry them."
        )
    return run, summarize_explanations(run, config.method, n_new, clock.durations_s[EXPLAIN])


def _list_missing(run: Run, config: ExplainConfig) -> frozenset[str]:
    return _list_ids(run) - find_done(read_done(run.masks), list_kinds(config.method))


def _list_ids(run: Run) -> frozenset[str]:
    return frozenset(read_table(run.images, ["image_id"])["image_id"].to_pylist())


def _explain(run: Run, config: ExplainConfig, subject: Subject, site: Site) -> None:
    ids = _list_ids(run)
    explainable = Explainable(
        model=subject.checkpoint.model,
        seed=config.seed,
        fingerprint=subject.digest,
        lime_seed=config.seed,
        checkpoint=subject.path,
        frozen=run.root / FROZEN,
        masks=run.masks,
        faithfulness=run.faithfulness,
        faithfulness_ids=ids,
        heatmaps=run.heatmaps,
        wanted=ids,
        done=read_done(run.masks),
        kinds=list_kinds(config.method),
        area=config.area,
        code=subject.checkpoint.code,
    )
    layout, slot = site.layout, site.layout.slot
    site.progress.say(
        f"{len(ids)} images; {layout.explainers} explaining actors at a time "
        f"({layout.explainer} each)"
    )
    stage = Stage(EXPLAIN, "images", len(ids), 1.0, len(ids - explainable.pending))
    with (
        site.observer.job(command="explain", slots=layout.slots, cpus=slot.cpus, gpus=slot.gpus),
        site.progress.showing([stage]),
        site.stage(EXPLAIN) as listener,
    ):
        explain_images(
            run.pixels,
            plan_job(
                [explainable],
                config.lime,
                n_classes=len(subject.checkpoint.classes),
                image_size=subject.checkpoint.image_size,
            ),
            pool=Pool.on(site.layout, site.resources.stall_timeout),
            on_explained=listener.explained,
        )
        join_masks([explainable])
