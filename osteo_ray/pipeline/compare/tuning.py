"""Choose the training settings of every arm before a comparison begins, each with equal means."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.base.errors import IncompleteError
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.tuning import TUNING_SEED, draw_candidates
from osteo_ray.experiment.searches import (
    Search,
    conclude_search,
    read_choices,
    read_searches,
    write_search,
)
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.pipeline.compare.running import prepare_trials
from osteo_ray.pipeline.compare.search_job import search_settings
from osteo_ray.pipeline.compare.shared_pixels import share_pixels
from osteo_ray.pipeline.compare.stage_sizes import StageSizes
from osteo_ray.pipeline.site import Site

SEARCH = "search settings"


def tune_arms(
    experiment: Experiment, config: CompareConfig, split: np.ndarray, site: Site
) -> Experiment:
    """Search the settings of all arms and models that have none yet; what exists is kept.

    The baseline comes first, since the models whose masks the other arms show are trained with what
    it chose.

    Args:
        experiment: The comparison.
        config: Its configuration.
        split: str, (n,); how the seed of the search divides the images.
        site: Where to train.

    Returns:
        The comparison, whose trainings follow the choices.

    Raises:
        IncompleteError: A search failed, or a model that explains images could not be trained.
    """
    seeds = {TUNING_SEED: config.seeds_of(TUNING_SEED)}
    searched = replace(experiment, seeds=seeds, splits={TUNING_SEED: split}, grid=False)
    candidates = [
        one.model_dump(mode="json") for one in draw_candidates(config.training, config.tuning)
    ]
    others = [arm for arm in experiment.arms if arm != ORIGINAL]
    for arms in ([ORIGINAL], others):
        found = read_searches(experiment.run, experiment.models, arms)
        done = {(one.model, one.arm) for one in found}
        pending = [
            Trial(model, TUNING_SEED, arm)
            for model in experiment.models
            for arm in arms
            if (model, arm) not in done
        ]
        searched = take_choices(searched, config)
        if not pending:
            continue
        lost = prepare_trials(searched, site, pending) if arms is others else []
        if lost:
            raise IncompleteError(
                f"Expected the models that the search for {pending[0].arm} needs, but "
                f"{lost[0].trial}: {lost[0].reason}. Run the same command again."
            )
        _search(searched, pending, candidates, site)
    return take_choices(experiment, config)


def take_choices(experiment: Experiment, config: CompareConfig) -> Experiment:
    """Return an experiment whose trainings follow what was chosen so far."""
    choices = read_choices(experiment.run, config)
    return replace(experiment, settings=replace(experiment.settings, choices=choices))


def _search(
    experiment: Experiment,
    pending: Sequence[Trial],
    candidates: list[dict[str, Any]],
    site: Site,
) -> None:
    """Search for one training after the other; within a search, candidates run side by side."""
    ids, image_size = experiment.image_ids.tolist(), experiment.settings.image_size
    pixels = share_pixels(experiment.run, ids, image_size, site.layout.pixels_bytes)
    epochs = max(int(one["epochs"]) for one in candidates)
    total = len(pending) * len(candidates)
    stage = StageSizes.of(experiment, site.layout).plan_trainings(SEARCH, total, 0, epochs)
    stage.unit = "candidates"  # which are stopped early, so no measure of whole trainings
    with site.progress.showing([stage]), site.stage(SEARCH) as listener:
        for trial in pending:
            tried = search_settings(trial, candidates, experiment, pixels, site, listener)
            found = conclude_search(trial.model, trial.arm, tried)
            write_search(experiment.run, found)
            site.progress.say(_state_choice(found))


def _state_choice(search: Search) -> str:
    chosen = search.tried[search.chosen]
    optimizer, augmentation = chosen.settings["optimizer"], chosen.settings["augmentation"]
    return (
        f"{search.model}, {search.arm}: candidate {search.chosen + 1} of {len(search.tried)}, "
        f"validation loss {chosen.best:.3f} (given settings {search.tried[0].best:.3f}); learning "
        f"rate {chosen.settings['learning_rate']:g}, weight decay {optimizer['weight_decay']:g}, "
        f"{chosen.settings['epochs']} epochs, rotation up to {augmentation['rotation_deg']:g}°"
    )
