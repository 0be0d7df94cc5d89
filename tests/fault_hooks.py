"""What tests put into the worker processes of a cluster: a log of units, pauses, and faults.

Ray calls `install` as each worker starts (`worker_process_setup_hook`); the product knows nothing
of it. What to do stands in the environment:

    FAULT_LOG       file to which each unit of work is logged, a line of JSON per event
    FAULT_PAUSE_S   pause in each epoch and each slice, so that a fault can strike within it
    FAULT_HOLD      file; while it is there, all workers pause
    FAULT_POISON    id or path of an image; the process that explains or reads it dies
    FAULT_NAN       name of an arm whose loss becomes NaN
    FAULT_CLOCK     1: the clock jumps by a day, back and forth
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any


def install() -> None:
    """Have modules of the product patched as soon as they are imported."""
    sys.meta_path.insert(0, _Finder())
    if os.environ.get("FAULT_CLOCK"):
        time.time = make_moving_clock()


def make_moving_clock() -> Callable[[], float]:
    """Return a clock that is a day ahead every other two seconds."""
    tell, tick = time.time, time.monotonic
    return lambda: tell() + 86_400 * (int(tick()) // 2 % 2)


def log(kind: str, unit: str, event: str) -> None:
    """Append an event to the log; a single write, so that lines of processes do not mix."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    line = {"pid": os.getpid(), "node": node, "kind": kind, "unit": unit, "event": event}
    with open(os.environ["FAULT_LOG"], "a", buffering=1) as file:
        file.write(json.dumps(line | {"at": time.time()}) + "\n")


def _pause() -> None:
    time.sleep(float(os.environ.get("FAULT_PAUSE_S", "0")))
    while os.path.exists(os.environ.get("FAULT_HOLD", "")):
        time.sleep(0.1)


def _patch_trials(module: ModuleType) -> None:
    from osteo_ray.models.epochs import TrainingListener

    run_trial = module.run_trial
    train = module.train_classifier

    def logged(
        trial: Any, experiment: Any, pixels: Any, worker: Any, listener: Any, feed: Any
    ) -> None:
        unit = f"{trial}, rank {worker.rank}" if worker.n_workers > 1 else str(trial)

        class Pausing(TrainingListener):
            def step_ended(self) -> None:
                listener.step_ended()

            def epoch_ended(self, epoch: Any) -> None:
                log("epoch", f"{unit}, epoch {epoch.number}", "end")
                _pause()
                listener.epoch_ended(epoch)

        log("train", unit, "start")
        run_trial(trial, experiment, pixels, worker, Pausing(), feed)
        log("train", unit, "end")

    def diverging(classifier: Any, *rest: Any, **named: Any) -> Any:
        import torch

        with torch.no_grad():
            next(classifier.parameters()).fill_(float("nan"))
        return train(classifier, *rest, **named)

    def chosen(trial: Any, *rest: Any) -> None:
        nan = trial.arm == os.environ.get("FAULT_NAN")
        module.train_classifier = diverging if nan else train
        logged(trial, *rest)

    module.run_trial = chosen


def _patch_explainer(module: ModuleType) -> None:
    actor = module.ExplainingActor
    explain, write_masks = actor._explain, actor._write_masks

    def begun(self: Any, explainable: Any, kinds: Any, pictures: Any, part: str) -> Any:
        names = [one.image_id for one in pictures]
        if names:
            self.unit = f"{explainable.masks.name}: {','.join(names)}"
            log("explain", self.unit, "start")
            _pause()
        if os.environ.get("FAULT_POISON") in names:
            os._exit(139)
        return write_masks(self, explainable, kinds, pictures, part)

    def ended(self: Any, *rest: Any) -> Any:
        self.unit = ""
        found = explain(self, *rest)
        if self.unit:  # not where the masks were there already
            log("explain", self.unit, "end")
        return found

    actor._write_masks = begun
    actor._explain = ended


def _patch_ingest(module: ModuleType) -> None:
    decode = module._decode_batch

    def poisoned(batch: Any, **named: Any) -> Any:
        names = batch["path"].tolist()
        log("read", f"{len(names)} images", "start")
        if os.environ.get("FAULT_POISON") in names:
            os._exit(139)
        return decode(batch, **named)

    module._decode_batch = poisoned


_PATCHES: dict[str, Callable[[ModuleType], None]] = {
    "osteo_ray.pipeline.compare.one_trial": _patch_trials,
    "osteo_ray.pipeline.ingest.blocks": _patch_ingest,
    "osteo_ray.pipeline.explain.actor": _patch_explainer,
}


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in _PATCHES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_patch(module: ModuleType) -> None:
            load(module)
            _PATCHES[name](module)

        spec.loader.exec_module = load_and_patch  # type: ignore[method-assign]
        return spec
