"""Which networks timm and torchvision offer, read from their source: importing them takes seconds.

Both register a network by a decorator above the function that makes it. So a name can be refused
before anything else is done, by a process that never imports PyTorch.
"""

import importlib.util
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.networks import FORMS, TORCHVISION, is_timm_name

_REGISTERED = re.compile(r"^@register_model(?:\(\))?\s*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
_RENAMED = re.compile(r"^\s*['\"](\w+)['\"]\s*:\s*['\"]([\w.-]*)['\"]", re.MULTILINE)
_RENAMING = "register_model_deprecations(__name__"


def check_names(models: Iterable[str]) -> None:
    """Refuse networks that neither timm nor torchvision has; Python files are not looked at.

    Args:
        models: Names, in the forms that `base.networks` knows.

    Raises:
        InputError: A name is unknown; the nearest one is suggested.
    """
    for name in models:
        if is_timm_name(name):
            known = list_timm()
            if name.partition(".")[0] not in known and not _is_registered(name):
                raise refuse_timm(name, known)
        elif name.startswith(TORCHVISION):
            short = list_torchvision()
            if name.removeprefix(TORCHVISION) not in short:
                raise refuse_torchvision(name, short)


def _is_registered(name: str) -> bool:
    """Tell whether code of this process has added a network to timm, as planted worlds do."""
    timm = sys.modules.get("timm")
    return timm is not None and bool(timm.is_model(name))


def refuse_timm(name: str, known: Iterable[str]) -> InputError:
    """Return an error about a name that timm does not know."""
    return InputError(
        f"Expected the name of a timm model, but got `{name}`."
        + suggest(name, known)
        + f" A network is {FORMS}."
    )


def refuse_torchvision(name: str, known: Iterable[str]) -> InputError:
    """Return an error about a name that torchvision does not know."""
    return InputError(
        f"Expected a classification network of torchvision, but got `{name}`."
        + suggest(name, [f"{TORCHVISION}{one}" for one in known])
    )


@cache
def list_timm() -> dict[str, str]:
    """Return the names of timm without their tags, each with what timm calls it today."""
    found: dict[str, str] = {}
    for text in _read_sources("timm"):
        found |= {name: name for name in _REGISTERED.findall(text)}
        _, _, renamed = text.partition(_RENAMING)
        found |= {old: new or old for old, new in _RENAMED.findall(renamed)}
    return found


@cache
def list_torchvision() -> frozenset[str]:
    """Return torchvision's own names of its networks for classification."""
    return frozenset(
        name for text in _read_sources("torchvision") for name in _REGISTERED.findall(text)
    )


def _read_sources(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)  # of a package at the top, which imports nothing
    folders = [] if spec is None else spec.submodule_search_locations or []
    return [
        file.read_text(encoding="utf-8")
        for folder in folders
        for file in sorted((Path(folder) / "models").glob("*.py"))
    ]
