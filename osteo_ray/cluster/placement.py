"""Where work goes on a cluster: on which nodes, and how much fits at once. Free of Ray."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from osteo_ray.cluster.settings import ResourceSettings

Resources = dict[str, float]
"""What one node has, under Ray's names: `CPU`, `GPU`, `memory` in bytes, and others."""

_MOST_PER_GPU = 4  # explaining actors: each holds a CUDA context and a PyTorch of its own
_SHARE_FOR_CLASSIFIERS = 0.25  # of the memory of an explaining actor
_SHARE_FOR_PIXELS = 0.25  # of the memory of a node
_MOST_FOR_PIXELS = 2 * 2**30  # bytes; reading from disk is as fast, and takes no memory
_UNKNOWN_MEMORY = 4 * 2**30  # bytes per explaining actor, where the nodes do not say what they have


@dataclass(frozen=True)
class Slot:
    """What one worker gets. A training has one slot or more, an explaining actor has one.

    Attributes:
        cpus: Number of CPUs, and of threads.
        gpus: One GPU, a fraction of one, or none. With 0, the worker computes on the CPU even if
            the node has GPUs.
    """

    cpus: int
    gpus: float

    @property
    def device(self) -> str:
        """PyTorch's name of the device to compute on."""
        return "cuda" if self.gpus else "cpu"

    @property
    def bundle(self) -> Resources:
        """The request for Ray."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})

    def __str__(self) -> str:
        cpus = f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}"
        return f"{cpus}, {self.gpus:g} GPU" if self.gpus else cpus

    def count_on(self, node: Resources) -> int:
        """Return how many workers fit on a node at once.

        A worker that gets a fraction of a GPU gets it from a single one: two GPUs have room for two
        workers of 0.6 GPUs, not for three.

        Example:
            >>> Slot(1, 0.6).count_on({"CPU": 8, "GPU": 2}), Slot(3, 0).count_on({"CPU": 8})
            (2, 2)
        """
        by_cpu = _divide(node.get("CPU", 0), self.cpus)
        gpus = node.get("GPU", 0)
        if not self.gpus:
            return by_cpu
        return min(by_cpu, int(gpus) * _divide(1, self.gpus))


def _divide(whole: float, part: float) -> int:
    return math.floor(whole / part + 1e-9)  # 1 / 0.1 may come out below 10


@dataclass(frozen=True)
class Layout:
    """How a run is laid out on a cluster.

    Attributes:
        slot: What each worker of a training gets.
        workers: Number of workers per training.
        slots: How many workers fit at once.
        explainer: What each explaining actor gets.
        explainers: How many explaining actors fit at once.
        classifiers_bytes: Memory for the classifiers that each explaining actor keeps.
        pixels_bytes: The largest set of pixels that trainings share in memory, in bytes; 0 if
            trainings have several workers, which are fed from disk.
        nodes: What each node has.
    """

    slot: Slot
    workers: int
    slots: int
    explainer: Slot
    explainers: int
    classifiers_bytes: int
    pixels_bytes: int
    nodes: tuple[Resources, ...] = ()

    @property
    def concurrent_trials(self) -> int:
        """How many trainings run at once."""
        return max(1, self.slots // self.workers)

    @property
    def explaining_speed(self) -> float:
        """How many workers of trainings classify as fast as all explaining actors together."""
        shared = self.slot.gpus and self.explainer.gpus
        return self.explainers * (self.explainer.gpus / self.slot.gpus if shared else 1.0)

    @property
    def fits(self) -> bool:
        """Whether there is room for a training and for an explaining actor."""
        return self.slots >= self.workers and self.explainers >= 1

    @property
    def least(self) -> tuple[Resources, ...]:
        """What has to be there at once, each from one node, so that every stage can run.

        Stages run one after the other, so a training and an explaining actor share.

        Example:
            >>> lay_out([], ResourceSettings(workers=2, gpus_per_explainer=0.5)).least
            ({'CPU': 1, 'GPU': 0.5}, {'CPU': 1})
        """
        slot, explainer = self.slot.bundle, self.explainer.bundle
        first = {
            name: max(slot.get(name, 0), explainer.get(name, 0)) for name in {**slot, **explainer}
        }
        return (first, *[slot] * (self.workers - 1))

    def describe(self) -> str:
        """Describe in one line what runs where, and which nodes stay unused.

        Example:
            >>> nodes = [{"CPU": 4}, {"CPU": 8, "GPU": 2}]
            >>> lay_out(nodes, ResourceSettings(gpus_per_explainer=0.5)).describe()
            '2 trainings at a time (1 CPU, 1 GPU each), then 4 explaining actors (1 CPU, 0.5 GPU \
each), on 1 of 2 nodes; the rest, 4 CPUs, only reads images'
        """
        wide = f"{self.workers} workers of " if self.workers > 1 else ""
        trainings = _count(self.concurrent_trials, "training")
        explainers = _count(self.explainers, "explaining actor")
        used = [
            node for node in self.nodes if self.slot.count_on(node) or self.explainer.count_on(node)
        ]
        idle_cpus = sum(node.get("CPU", 0) for node in self.nodes if node not in used)
        ending = f"; the rest, {idle_cpus:g} CPUs, only reads images" if idle_cpus else ""
        return (
            f"{trainings} at a time ({wide}{self.slot} each), then {explainers} "
            f"({self.explainer} each), on {len(used)} of {_count(len(self.nodes), 'node')}{ending}"
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def lay_out(nodes: Sequence[Resources], settings: ResourceSettings) -> Layout:
    """Lay a run out on nodes; `Layout.fits` says whether there is room for it at all.

    If the cluster has GPUs, each worker gets one by default, and nodes without GPUs only read
    images: a training on a CPU would delay the stage long after all others have finished.
    Explaining actors share the GPUs, and the CPUs beside them; see `share_gpu`.

    Args:
        nodes: What each live node has.
        settings: What each worker gets, and how many workers a training has.
    """
    given = settings.gpus_per_worker
    gpus = given
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) for node in nodes) else 0.0
    slot = Slot(settings.cpus_per_worker, gpus)
    explainer = slot
    if settings.gpus_per_explainer is not None:
        explainer = Slot(settings.cpus_per_worker, settings.gpus_per_explainer)
    elif gpus and given is None:
        explainer = share_gpu(nodes, settings.cpus_per_worker)
    return Layout(
        slot=slot,
        workers=settings.workers,
        slots=sum(slot.count_on(node) for node in nodes),
        explainer=explainer,
        explainers=sum(explainer.count_on(node) for node in nodes),
        classifiers_bytes=_budget_classifiers(nodes, explainer, settings.classifiers_gib),
        pixels_bytes=0 if settings.workers > 1 else _budget_pixels(nodes, settings.pixels_gib),
        nodes=tuple(nodes),
    )


def share_gpu(nodes: Sequence[Resources], cpus: int) -> Slot:
    """Divide a GPU, and the CPUs beside it, among explaining actors.

    While one actor fits a model or writes, the GPU computes for another; the CPUs of an actor find
    superpixels. Of 2 to 4 actors, the number that leaves the fewest CPUs idle is chosen, and the
    larger one of two that are equal. All actors of a pool get the same, so the node with the fewest
    CPUs for each GPU decides.

    Args:
        nodes: What each node has.
        cpus: The fewest CPUs of an actor.

    Example:
        >>> str(share_gpu([{"CPU": 16, "GPU": 1}], 1)), str(share_gpu([{"CPU": 7, "GPU": 1}], 1))
        ('4 CPUs, 0.25 GPU', '2 CPUs, 0.333333 GPU')
    """
    beside = [
        math.floor(node.get("CPU", 0) / node["GPU"]) for node in nodes if node.get("GPU", 0) >= 1
    ]
    most = min(beside, default=0) // cpus
    if most < 2:
        return Slot(cpus, 1.0)
    cpus_beside = min(beside)
    n_actors = max(
        range(2, min(most, _MOST_PER_GPU) + 1), key=lambda n: (n * (cpus_beside // n), n)
    )
    return Slot(cpus_beside // n_actors, 1 / n_actors)


def _budget_classifiers(nodes: Sequence[Resources], actor: Slot, given_gib: float | None) -> int:
    """Return how many bytes of classifiers an explaining actor keeps."""
    if given_gib is not None:
        return round(given_gib * 2**30)
    shares = [
        node["memory"] / n_actors
        for node in nodes
        if "memory" in node and (n_actors := actor.count_on(node))
    ]
    return round(_SHARE_FOR_CLASSIFIERS * min(shares, default=_UNKNOWN_MEMORY))


def _budget_pixels(nodes: Sequence[Resources], given_gib: float | None) -> int:
    """Return how many bytes of pixels trainings share in the memory of a node."""
    if given_gib is not None:
        return round(given_gib * 2**30)
    memory = [node["memory"] for node in nodes if "memory" in node]
    share = _SHARE_FOR_PIXELS * min(memory, default=_UNKNOWN_MEMORY)
    return round(min(share, _MOST_FOR_PIXELS))


def describe_shortage(layout: Layout, waited: str = "") -> str:
    """Explain why a layout does not fit, and what to do about it.

    Args:
        layout: The layout for which there is no room.
        waited: What was done about it, such as ` after waiting 900 s for nodes`.
    """
    wanted = (
        f"{layout.workers} worker(s) of {layout.slot.cpus} CPU(s) and {layout.slot.gpus:g} GPU(s)"
    )
    if layout.explainer != layout.slot:
        wanted += f", and for an explaining actor of {layout.explainer}"
    room = f"room for {layout.slots} worker(s) and {layout.explainers} explaining actor(s)"
    return (
        f"Expected a cluster with room for {wanted} each, but it has {count_resources(layout)}"
        f"{waited}, {room}. Lower {'--workers, ' if layout.workers > 1 else ''}"
        "--resources.cpus-per-worker or --resources.gpus-per-worker, or add nodes. If nodes are to "
        "come, wait for them (--resources.wait-for-nodes)."
    )


def count_resources(layout: Layout) -> str:
    """Return what the nodes of a layout have in all, in words."""
    has = ", ".join(
        f"{sum(node.get(name, 0) for node in layout.nodes):g} {name}s" for name in ("CPU", "GPU")
    )
    return f"{has} on {len(layout.nodes)} node(s)"
