"""Search the training settings of one arm of one model: one Ray Tune run with early stopping."""

import math
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler

from osteo_ray.base.free_memory import return_free_memory
from osteo_ray.base.networks import name_folder
from osteo_ray.base.runs import place_logs
from osteo_ray.base.startup import importing
from osteo_ray.cluster.placement import Slot
from osteo_ray.cluster.watchdog import Beat, watch
from osteo_ray.config.tuning import read_training
from osteo_ray.data.pixels import Pixels
from osteo_ray.experiment.searches import Tried
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.models.epochs import Epoch, TrainingListener
from osteo_ray.pipeline.compare.sweeps import describe_error
from osteo_ray.pipeline.compare.tuner import fit_tuner
from osteo_ray.pipeline.site import Site, StageListener

_EPOCH, _LOSS, _AUC, _BEST = "epoch", "validation_loss", "validation_auc", "lowest_loss"
_FIRST_RUNG = 9  # of the longest training, the share after which a candidate may first be stopped
_KEPT_ONE_IN = 3  # candidates that go on at each rung


def search_settings(
    trial: Trial,
    candidates: Sequence[dict[str, Any]],
    experiment: Experiment,
    pixels: "ray.ObjectRef[Pixels]",
    site: Site,
    listener: StageListener,
) -> list[Tried]:
    """Train candidates side by side, and stop those that fall behind.

    That is asynchronous successive halving (ASHA, Li et al. 2020): after a ninth of the longest
    training, and then after each third of what is left to a ninth, only the best third go on. Which
    are stopped depends on which get there first, so a search need not repeat itself exactly; what
    it chose is stored.

    Args:
        trial: The training whose settings are searched, on the seed of the search.
        candidates: Training settings, as plain types.
        experiment: What the trainings share.
        pixels: Those of all images, or where they are, in the object store.
        site: Where to train.
        listener: Told of each candidate that ends.

    Returns:
        All candidates, in order.

    Raises:
        IncompleteError: Nothing was computed for too long, or the search itself failed.
    """
    layout, resources = site.layout, site.resources
    longest = max(int(one["epochs"]) for one in candidates)
    record = _Record(lambda: listener.advanced(1))
    with watch(listener.name, resources.stall_timeout) as beat:
        train = tune.with_parameters(
            _try,
            candidates=list(candidates),
            trial=trial,
            experiment=experiment,
            pixels=[pixels],
            slot=layout.slot,
            beat=beat,
        )
        tuner = tune.Tuner(
            tune.with_resources(train, {"cpu": layout.slot.cpus, "gpu": layout.slot.gpus}),
            param_space={"number": tune.grid_search(list(range(len(candidates))))},
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                scheduler=ASHAScheduler(
                    time_attr=_EPOCH,
                    metric=_BEST,
                    mode="min",
                    max_t=longest,
                    grace_period=max(1, longest // _FIRST_RUNG),
                    reduction_factor=_KEPT_ONE_IN,
                ),
            ),
            run_config=tune.RunConfig(
                name=f"search-{name_folder(trial.model)}-{trial.arm}-{uuid.uuid4().hex[:8]}",
                storage_path=str(place_logs(experiment.run) / "tune"),
                failure_config=tune.FailureConfig(max_failures=resources.max_retries),
                callbacks=[record],
                verbose=0,
            ),
        )
        fit_tuner(tuner, f"The search for {trial.model}, {trial.arm}")
    return [record.describe(number, one) for number, one in enumerate(candidates)]


def _try(
    config: dict[str, Any],
    candidates: Sequence[dict[str, Any]],
    trial: Trial,
    experiment: Experiment,
    pixels: "list[ray.ObjectRef[Pixels]]",
    slot: Slot,
    beat: Beat,
) -> None:
    """Train one candidate in a process of the search."""
    with importing("timm"):
        import torch

        from osteo_ray.models.training import DivergedError, Worker
        from osteo_ray.pipeline.compare.one_trial import try_settings

    training = read_training(candidates[config["number"]])
    worker = Worker(torch.device(slot.device), slot.cpus)
    listener = _Reporter(beat)
    try:
        try_settings(trial, experiment, training, ray.get(pixels[0]), worker, listener)
    except DivergedError as error:
        # The schedule needs a number of every report, and keeps no one who reports infinity.
        tune.report({_EPOCH: listener.n_epochs + 1, _BEST: math.inf, "failed": str(error)})
    finally:
        return_free_memory()


class _Reporter(TrainingListener):
    """Tells the watchdog of each step, and the search of each epoch."""

    def __init__(self, beat: Beat) -> None:
        self.beat = beat
        self.n_epochs = 0
        self.lowest = math.inf

    def step_ended(self) -> None:
        self.beat()

    def epoch_ended(self, epoch: Epoch) -> None:
        self.n_epochs = epoch.number + 1
        self.lowest = min(self.lowest, epoch.validation_loss)
        tune.report(
            {
                _EPOCH: self.n_epochs,
                _BEST: self.lowest,
                _LOSS: epoch.validation_loss,
                _AUC: epoch.validation_auc,
            }
        )


class _Record(tune.Callback):
    """Keeps what the candidates report."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.on_end = on_end
        self.curves: dict[int, dict[int, tuple[float, float | None]]] = defaultdict(dict)
        self.failed: dict[int, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave everything out: Tune stores a copy of each callback."""
        return {}

    def describe(self, number: int, settings: dict[str, Any]) -> Tried:
        """Return what a candidate reported."""
        curve = [self.curves[number][epoch] for epoch in sorted(self.curves[number])]
        return Tried(
            number,
            settings,
            losses=tuple(loss for loss, _ in curve),
            aucs=tuple(auc for _, auc in curve),
            failed=self.failed.get(number, ""),
        )

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        number = trial.config["number"]
        if "failed" in result:
            self.failed[number] = result["failed"]
        elif _LOSS in result:
            self.curves[number][result[_EPOCH]] = (result[_LOSS], result[_AUC])

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self.on_end()

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self.failed[trial.config["number"]] = describe_error(trial)
        self.on_end()
