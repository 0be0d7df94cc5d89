"""Does training on explanation-masked radiographs make a classifier better, and is it real?

What this package offers to Python is what the `osteo-ray` command offers to a shell. It is imported
when it is first used, so that `import osteo_ray` itself takes no time.

Example:
    >>> import osteo_ray
    >>> osteo_ray.__version__.count(".")
    2
"""

import importlib
import os
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osteo_ray.base.errors import IncompleteError as IncompleteError
    from osteo_ray.base.errors import InputError as InputError
    from osteo_ray.commands.opened import AuditedSet as AuditedSet
    from osteo_ray.commands.opened import ExplainedSet as ExplainedSet
    from osteo_ray.commands.opened import FinishedRun as FinishedRun
    from osteo_ray.commands.python import audit as audit
    from osteo_ray.commands.python import compare as compare
    from osteo_ray.commands.python import explain as explain
    from osteo_ray.commands.python import judge as judge
    from osteo_ray.commands.python import open_run as open_run

    __version__: str

# Ray reads this when it is imported. Under `uv run` it would have every worker build an environment
# of its own, which takes minutes; the workers use the one that is installed.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

_PYTHON, _OPENED = "osteo_ray.commands.python", "osteo_ray.commands.opened"
_ERRORS = "osteo_ray.base.errors"
_PLACES = {
    "AuditedSet": _OPENED,
    "ExplainedSet": _OPENED,
    "FinishedRun": _OPENED,
    "IncompleteError": _ERRORS,
    "InputError": _ERRORS,
    "audit": _PYTHON,
    "compare": _PYTHON,
    "explain": _PYTHON,
    "judge": _PYTHON,
    "open_run": _PYTHON,
}

__all__ = [*_PLACES, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("osteo-ray")
    if name in _PLACES:
        return vars(importlib.import_module(_PLACES[name]))[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(types.ModuleType):
    """This package, in which `explain` is the function although a folder has the same name.

    When a module of that folder is first imported, Python would put the folder in its place.
    """

    @property
    def explain(self) -> Any:
        return __getattr__("explain")

    @explain.setter
    def explain(self, folder: types.ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package
