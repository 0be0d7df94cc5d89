"""A network before it becomes a classifier, and where its first weights come from."""

from dataclasses import dataclass, field

from torch import nn

from osteo_ray.base.errors import InputError
from osteo_ray.base.storage import local_copy, locate
from osteo_ray.models.weights_files import read_weights
from osteo_ray.models.weights_fit import Fit, MisfitError, load_weights


@dataclass(frozen=True)
class Architecture:
    """A network, and what is known about it.

    Attributes:
        network: The network itself.
        mean: Mean of each channel, in [0, 1], of the images that it expects.
        std: Standard deviation of each channel of these images.
        fit: How weights files relate to it.
        width: Number of the features that its head is to classify.
        layer: Name of the submodule that returns its last feature map, if it is called as a whole;
            None if there is no such map.
        head: What makes logits of what the network returns, if the network brought that along;
            `nn.Identity` if it returns logits, or if its head is still to be built.
    """

    network: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit
    width: int
    layer: str | None = None
    head: nn.Module = field(default_factory=nn.Identity)


def load_file(architecture: Architecture, name: str, weights: str) -> None:
    """Load the weights file of a user into a network.

    Args:
        architecture: The network.
        name: Its name.
        weights: Path or URI of the file.

    Raises:
        InputError: The file cannot be read, or is that of another network.
    """
    try:
        with local_copy(locate(weights)) as file:
            load_weights(architecture.network, read_weights(file, weights), architecture.fit)
    except OSError as error:
        raise InputError(
            f"Expected a weights file, but {weights}: {error.strerror}. Check its spelling."
        ) from None
    except MisfitError as error:
        raise InputError(
            f"Expected weights of `{name}` in {weights}, but they do not fit: {error} Give the "
            "file that belongs to this model."
        ) from None
