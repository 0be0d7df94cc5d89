"""The file from which a training that was interrupted goes on."""

import time
from dataclasses import asdict
from typing import Any

import torch

from osteo_ray.base.storage import Place, local_copy, write_whole
from osteo_ray.models.classifier import Classifier
from osteo_ray.models.epochs import Epoch
from osteo_ray.models.optimization import Optimization
from osteo_ray.models.weights_format import find_damage

State = dict[str, torch.Tensor]


def copy_state(classifier: Classifier) -> State:
    """Return a copy of all parameters and buffers."""
    return {key: value.detach().clone() for key, value in classifier.state_dict().items()}


def count_epochs(path: Place) -> int:
    """Return how many epochs a training that was interrupted has left behind."""
    state = _read(path, torch.device("cpu"))
    return 0 if state is None else len(state["epochs"])


def _read(path: Place, device: torch.device) -> dict[str, Any] | None:
    """Read the file; one that is damaged, or of another training, counts as missing."""
    if not path.is_file():
        return None
    with local_copy(path) as file:
        if find_damage(file) is not None:
            return None
        state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
    return state if state.get("training") == path.parent.name else None


class Resumption:
    """Keeps what a training has reached in a file, from time to time, and finds it there.

    Args:
        path: The file; None to keep nothing.
        interval_s: Shortest time between two writes, in seconds.
    """

    def __init__(self, path: Place | None, interval_s: float) -> None:
        self.path, self.interval_s = path, interval_s
        self._saved_at = time.monotonic()

    def go_on(
        self, classifier: Classifier, optimization: Optimization, device: torch.device
    ) -> tuple[list[Epoch], State]:
        """Return the epochs that are done, and the state of the one to keep; none at the start."""
        state = None if self.path is None else _read(self.path, device)
        if state is None:
            return [], copy_state(optimization.shown)
        classifier.load_state_dict(state["classifier"])
        optimization.load_state_dict(state["optimization"])
        return [Epoch(**epoch) for epoch in state["epochs"]], state["best"]

    def save(
        self, classifier: Classifier, optimization: Optimization, epochs: list[Epoch], best: State
    ) -> None:
        """Write the file if that is due."""
        if self.path is None or time.monotonic() - self._saved_at < self.interval_s:
            return
        state: dict[str, Any] = {
            "training": self.path.parent.name,  # a folder with the key of the training
            "classifier": classifier.state_dict(),
            "optimization": optimization.state_dict(),
            "epochs": [asdict(epoch) for epoch in epochs],
            "best": best,
        }
        with write_whole(self.path) as unfinished:
            torch.save(state, unfinished)
        self._saved_at = time.monotonic()
