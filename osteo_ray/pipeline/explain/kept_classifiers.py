"""The classifiers that an explaining actor keeps in memory between slices of images."""

from collections import OrderedDict
from collections.abc import Callable, Set

from osteo_ray.base.storage import Place
from osteo_ray.explain.explainer import LoadedClassifier
from osteo_ray.explain.jobs import Explainable

_COPIES = 5
"""Memory of a classifier, as a multiple of its parameters: PyTorch's, those that OpenVINO has laid
out anew, and its buffers; 4.5 was measured for networks of 18 and 20 MiB (docs/performance.md)."""


class KeptClassifiers:
    """Opens classifiers when they are asked for, and keeps as many as fit a budget.

    The one that was used longest ago goes first. The one in use stays even if it exceeds the budget
    by itself.

    Args:
        open_one: Opens a classifier.
        budget_bytes: Memory for all that are kept.
    """

    def __init__(
        self, open_one: Callable[[Explainable], LoadedClassifier], budget_bytes: int
    ) -> None:
        self._open = open_one
        self._budget_bytes = budget_bytes
        self._kept: OrderedDict[Place, LoadedClassifier] = OrderedDict()

    def list_kept(self) -> Set[Place]:
        """Return the checkpoints of the classifiers in memory, in the order of their last use."""
        return self._kept.keys()

    def get(self, explainable: Explainable) -> LoadedClassifier:
        """Return a classifier, which is opened if it is not in memory."""
        checkpoint = explainable.checkpoint
        if checkpoint not in self._kept:
            self._kept[checkpoint] = self._open(explainable)
        self._kept.move_to_end(checkpoint)
        while len(self._kept) > 1 and self._measure() > self._budget_bytes:
            self._kept.popitem(last=False)
        return self._kept[checkpoint]

    def _measure(self) -> int:
        return sum(measure_memory(one) for one in self._kept.values())


def measure_memory(loaded: LoadedClassifier) -> int:
    """Return about how many bytes a classifier takes."""
    tensors = [*loaded.module.parameters(), *loaded.module.buffers()]
    return _COPIES * sum(tensor.nbytes for tensor in tensors)
