"""A comparison as it is known before any image is read and Ray is started."""

from dataclasses import dataclass

from osteo_ray.base.runs import Run
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.listing import Source
from osteo_ray.pipeline.before_reading import check_disk, check_setup, check_weights_hubs
from osteo_ray.pipeline.compare.cohort import list_cohort
from osteo_ray.pipeline.compare.network_code import has_networks, read_networks
from osteo_ray.pipeline.compare.prepare import knows_models, list_images, locate_run, settle_rule
from osteo_ray.pipeline.compare.tracking import check_tracking
from osteo_ray.pipeline.compare.training_check import check_listed


@dataclass(frozen=True)
class ListedComparison:
    """What is known of a comparison once its images are listed.

    Attributes:
        run: The run directory.
        config: The configuration, with the rules of a run that exists.
        codes: The code of networks of one's own, by model.
        is_known: Whether an earlier command has checked the models.
        source: The images.
        cohort: Those of an external cohort, if there is one.
    """

    run: Run
    config: CompareConfig
    codes: dict[str, str]
    is_known: bool
    source: Source | PhantomSettings
    cohort: Source | None


def list_comparison(config: CompareConfig) -> ListedComparison:
    """Check all that can be checked without pixels, and list the images.

    Raises:
        InputError: The input cannot be used; nothing was written.
    """
    run = locate_run(config)
    config = settle_rule(run, config)
    if config.mlflow:
        check_tracking(config.mlflow, run)
    codes = read_networks(config)
    is_known = knows_models(run, config) and has_networks(run, codes)
    check_setup(config, trains=not is_known)
    source = list_images(config, run)
    cohort = list_cohort(config, source)
    check_listed(config, source)
    check_disk(config, run, source)
    if not is_known:
        check_weights_hubs(config)
    return ListedComparison(run, config, codes, is_known, source, cohort)
