"""Fit the tensors of a weights file to a network: find where they stand, adapt, leave nothing out.

Files name the same network differently, since training scripts wrap it. What stands before the
names is found by matching them, not by a list of known words. docs/networks.md says what fits.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

Tensors = dict[str, torch.Tensor]

_WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Components that wrappers of modules add to names at any depth: torch.compile, DDP and others."""

_DIALECTS = (
    (r"(denselayer\d+\.)layers\.", r"\1"),  # MONAI's DenseNet
    (r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2"),  # torchvision's, before 0.3
)
"""Other names for the same tensor, as a pattern and its replacement."""

_TOLD = 3  # tensors that a message names


class MisfitError(ValueError):
    """The tensors of a file are not those of the network; the message says which."""


def _leave_as_they_are(tensors: Tensors, module: nn.Module) -> Tensors:
    return tensors


@dataclass(frozen=True)
class Fit:
    """How the tensors of files relate to a network.

    Attributes:
        heads: Submodules whose tensors are never taken from a file.
        stems: Convolutions that see the image, whose channels may be adapted.
        adjust: Brings tensors of the network, named as in it, into the form that it has here; for
            example, it resizes the position embeddings of a transformer.
    """

    heads: tuple[str, ...] = ()
    stems: tuple[str, ...] = ()
    adjust: Callable[[Tensors, nn.Module], Tensors] = _leave_as_they_are


def find_stem(module: nn.Module) -> tuple[str, ...]:
    """Return the name of the first convolution of a network, which sees the image."""
    names = (name for name, one in module.named_modules() if isinstance(one, nn.Conv2d))
    return tuple(name for name in [next(names, None)] if name is not None)


def load_weights(module: nn.Module, found: Tensors, fit: Fit) -> None:
    """Load the tensors of a file into a network, apart from its heads.

    Args:
        module: The network; it stays as it is if the tensors do not fit.
        found: What the file holds.
        fit: How files relate to the network.

    Raises:
        MisfitError: A parameter, or a statistic of normalisation, is missing or does not fit; or
            the file holds more layers than the network has, or several networks.
    """
    wanted = {
        name: tensor
        for name, tensor in module.state_dict().items()
        if not _lies_in(name, fit.heads)
    }
    if not wanted:
        raise MisfitError("the network has no tensors but those of its head, which is drawn.")
    selected = _select_tensors(module, wanted, _unwrap_names(found, wanted))
    try:
        tensors = fit.adjust(selected, module)
    except Exception as error:  # timm's own functions expect the right tensors
        raise MisfitError(f"they cannot be adapted ({type(error).__name__}: {error}).") from None
    if not wanted.keys() & tensors.keys():
        raise MisfitError(
            f"none of its {len(found)} tensors is named like one of the network's "
            f"{len(wanted)}; it begins with `{next(iter(found))}`, and the network with "
            f"`{next(iter(wanted))}`."
        )
    needed = _check_values(module, wanted, tensors)
    stems = {f"{name}.weight" for name in fit.stems}
    tensors |= {
        name: _adapt_channels(tensors[name], wanted[name].shape)
        for name in stems & tensors.keys() & wanted.keys()
    }
    _check_shapes(needed, wanted, tensors)
    _check_leftovers(wanted, tensors, fit.heads)
    put_tensors(module, {name: tensors[name] for name in wanted if name in tensors})


def put_tensors(module: nn.Module, tensors: Tensors) -> None:
    """Load tensors into a module; what is not among them stays as it is.

    They go by way of the module's own state, as that says of which version its names are. MNASNet
    of torchvision loads nothing else, and neither safetensors nor a plain dictionary says so.

    Raises:
        RuntimeError: The module has no place for one of them.
    """
    state = module.state_dict()
    state.update(tensors)
    module.load_state_dict(state)


def _lies_in(name: str, parts: Iterable[str]) -> bool:
    return any(name.startswith(f"{part}.") for part in parts)


def _unwrap_names(found: Tensors, wanted: Mapping[str, torch.Tensor]) -> Tensors:
    own = {part for name in wanted for part in name.split(".")}
    wrappers = [part for part in _WRAPPERS if part not in own]
    unwrapped: Tensors = {}
    for name, tensor in found.items():
        plain = ".".join(part for part in name.split(".") if part not in wrappers)
        if plain not in wanted:
            for pattern, replacement in _DIALECTS:
                plain = re.sub(pattern, replacement, plain)
        known = unwrapped.setdefault(plain, tensor)
        if known is not tensor and not torch.equal(known, tensor):
            raise MisfitError(f"it holds two tensors for `{plain}`, one of them as `{name}`.")
    return unwrapped


def _select_tensors(
    module: nn.Module, wanted: Mapping[str, torch.Tensor], found: Tensors
) -> Tensors:
    """Return the tensors under the prefix that most names of the network stand behind.

    A network may also be stored as `nn.Sequential(*network.children())`, which numbers its parts.
    """
    numbers = {name: str(at) for at, (name, _) in enumerate(module.named_children())}
    parts = {number: name for name, number in numbers.items()}
    aliases = {_replace_first(name, numbers): name for name in wanted}
    (n_named, named), (n_numbered, numbered) = (
        _find_prefix(found, known) for known in (wanted, aliases)
    )
    prefix = named if n_named >= n_numbered else numbered
    below = {name.removeprefix(prefix): t for name, t in found.items() if name.startswith(prefix)}
    if n_named >= n_numbered:
        return below
    return {_replace_first(name, parts): tensor for name, tensor in below.items()}


def _replace_first(name: str, names: Mapping[str, str]) -> str:
    first, dot, rest = name.partition(".")
    return f"{names.get(first, first)}{dot}{rest}"


def _find_prefix(found: Tensors, known: Iterable[str]) -> tuple[int, str]:
    """Return the prefix behind which most known names stand, and how many these are."""
    known = set(known)
    counts = Counter(
        name[:start] for name in found for start in _list_starts(name) if name[start:] in known
    )
    if not counts:
        return 0, ""
    most = max(counts.values())
    rivals = [prefix for prefix, count in counts.items() if count == most]
    for rival in rivals[1:]:
        if 2 * most > len(known) and not _are_equal(found, rivals[0], rival, known):
            raise MisfitError(
                f"it holds two networks, as `{rivals[0]}…` and as `{rival}…`. Store the one that "
                "you mean in a file of its own."
            )
    return most, rivals[0]


def _list_starts(name: str) -> Iterator[int]:
    yield 0
    yield from (at.end() for at in re.finditer(r"\.", name))


def _are_equal(found: Tensors, one: str, other: str, known: Iterable[str]) -> bool:
    pairs = [(found.get(one + name), found.get(other + name)) for name in known]
    return all(
        a is b or (a is not None and b is not None and a.shape == b.shape and torch.equal(a, b))
        for a, b in pairs
    )


def _adapt_channels(weight: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Adapt the weights of a convolution that sees one channel, or several, to the other case.

    For one channel, the weights of several are summed, as timm does. For several, each gets an
    equal share of the weights of one. A gray image, shown in every channel, gives the same.
    """
    if weight.ndim != 4 or (weight.shape[0], weight.shape[2:]) != (shape[0], shape[2:]):
        return weight
    if shape[1] == 1:
        return weight.sum(1, keepdim=True, dtype=torch.float32)
    if weight.shape[1] == 1:
        return weight.float().expand(shape) / shape[1]
    return weight


def _check_values(module: nn.Module, wanted: Tensors, tensors: Tensors) -> list[str]:
    """Refuse tensors of which any is missing or holds no numbers; return the names of all needed.

    That comes before channels are adapted, which would make numbers of some.
    """
    parameters = {name for name, _ in module.named_parameters()}
    # Counters and tables of positions follow from the network itself; files may lack them.
    needed = [name for name, one in wanted.items() if one.is_floating_point()]
    missing = [name for name in needed if name not in tensors]
    if missing and not parameters & set(missing):
        raise MisfitError(
            f"it holds no batch-norm statistics: {_name_some(missing)}. Without them the network "
            "would compute something else. Store the whole state_dict, buffers included."
        )
    if missing:
        raise MisfitError(f"it lacks {_name_some(missing)}.")
    for name in needed:
        if not tensors[name].is_floating_point():
            raise MisfitError(f"`{name}` holds {tensors[name].dtype} instead of floating point.")
        if tensors[name].is_meta or tensors[name].layout != torch.strided:
            found = "no values" if tensors[name].is_meta else f"{tensors[name].layout}"
            raise MisfitError(f"`{name}` holds {found} instead of a number per weight.")
        if not torch.isfinite(tensors[name]).all():
            raise MisfitError(f"`{name}` holds numbers that are not finite.")
    return needed


def _check_shapes(needed: Iterable[str], wanted: Tensors, tensors: Tensors) -> None:
    unlike = [name for name in needed if tensors[name].shape != wanted[name].shape]
    if unlike:
        shapes = [tuple(one[unlike[0]].shape) for one in (tensors, wanted)]
        more = f", and {len(unlike) - 1} more do not fit" if len(unlike) > 1 else ""
        raise MisfitError(f"`{unlike[0]}` has the shape {shapes[0]} instead of {shapes[1]}{more}.")


def _check_leftovers(wanted: Tensors, tensors: Tensors, heads: tuple[str, ...]) -> None:
    """Refuse the weights of a larger network of which the network at hand is a part."""
    parts = {name.partition(".")[0] for name in wanted}
    unknown = [
        name
        for name, tensor in tensors.items()
        if name not in wanted
        and name.partition(".")[0] in parts
        and tensor.is_floating_point()
        and not _lies_in(name, heads)
    ]
    if unknown:
        raise MisfitError(f"the network has no place for {_name_some(unknown)}.")


def _name_some(names: list[str]) -> str:
    told = ", ".join(f"`{name}`" for name in names[:_TOLD])
    return told + (f" and {len(names) - _TOLD} more tensors" if len(names) > _TOLD else "")
