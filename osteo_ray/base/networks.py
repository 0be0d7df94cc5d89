"""Names of networks, as flags, tables and the report have them, and as folders are named.

A network is `NAME` of timm, `torchvision:NAME`, or `FILE.py:FUNCTION`, a Python file of the user.
"""

import re
from typing import NamedTuple

TORCHVISION = "torchvision:"
"""Begins the names of networks of torchvision."""

FORMS = "a timm name, torchvision:NAME or FILE.py:FUNCTION"

_TIMM = re.compile(r"\w[\w.-]*")
_PYTHON = re.compile(r"(?P<file>\w[\w.-]*\.py):(?P<function>[^\W\d]\w*)")


class FileReference(NamedTuple):
    """A function in a Python file.

    Attributes:
        file: Name of the file, without a folder.
        function: Name of the function.
    """

    file: str
    function: str


def read_reference(name: str) -> FileReference | None:
    """Return which function of which file a network is; None if it is none of a file.

    Example:
        >>> read_reference("net.py:make")
        FileReference(file='net.py', function='make')
        >>> read_reference("torchvision:resnet18"), read_reference("resnet18")
        (None, None)
    """
    found = _PYTHON.fullmatch(name)
    return FileReference(found["file"], found["function"]) if found else None


def is_network_name(name: str) -> bool:
    """Tell whether a name has one of the three forms, not whether there is such a network.

    Example:
        >>> [is_network_name(n) for n in ("resnet18", "torchvision:vgg11", "net.py:make", "a:b")]
        [True, True, True, False]
    """
    return bool(_TIMM.fullmatch(name.removeprefix(TORCHVISION)) or read_reference(name))


def is_timm_name(name: str) -> bool:
    """Tell whether a name is of the form of timm's."""
    return bool(_TIMM.fullmatch(name)) and read_reference(name) is None


def name_folder(name: str) -> str:
    """Return the name of the folders that a run keeps for a network.

    A colon in a path would be read as a drive on Windows, and as a scheme in a URI.

    Example:
        >>> [name_folder(name) for name in ("resnet18", "torchvision:resnet18", "net.py:make")]
        ['resnet18', 'torchvision-resnet18', 'net.py-make']
    """
    return name.replace(":", "-")


def name_repeat(model: str, seed: int) -> str:
    """Return the folder of a network and a seed, relative to that of a kind of artifact.

    Example:
        >>> name_repeat("torchvision:resnet18", 3)
        'torchvision-resnet18/seed-3'
    """
    return f"{name_folder(model)}/seed-{seed}"
