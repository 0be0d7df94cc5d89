"""The file from which a training that was interrupted goes on."""

import time
from dataclasses import asdict
from typing import Any

import torch

from osteo_ray.base.digests import is_damaged, write_sealed
from osteo_ray.base.storage import Place, local_copy
from osteo_ray.models.classifier import Classifier
from osteo_ray.models.epochs import Epoch
from osteo_ray.models.optimization import Optimization

State = dict[str, torch.Tensor]


def copy_state(classifier: Classifier) -> State:
    """Return a copy of all parameters and buffers."""
    return {key: value.detach().clone() for key, value in classifier.state_dict().items()}


def count_epochs(path: Place) -> int:
    """Return how many epochs a training that was interrupted has left behind."""
    if not _is_sound(path):
        return 0
    with local_copy(path) as file:
        return len(torch.load(file, map_location="cpu", weights_only=True)["epochs"])


def _is_sound(path: Place) -> bool:
    """Tell whether the file is there as it was written; a damaged one counts as missing."""
    return path.is_file() and not is_damaged(path)


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
        if self.path is None or not _is_sound(self.path):
            return [], copy_state(optimization.shown)
        with local_copy(self.path) as file:
            state = torch.load(file, map_location=device, weights_only=True)
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
            "classifier": classifier.state_dict(),
            "optimization": optimization.state_dict(),
            "epochs": [asdict(epoch) for epoch in epochs],
            "best": best,
        }
        with write_sealed(self.path) as unfinished:
            torch.save(state, unfinished)
        self._saved_at = time.monotonic()
