"""Run code of a user: a function in a Python file, of which only the text is at hand."""

import contextlib
import functools
import hashlib
import importlib.abc
import importlib.util
import inspect
import platform
import sys
import traceback
from collections.abc import Callable, Mapping
from types import CodeType, ModuleType
from typing import Any

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.networks import FileReference
from osteo_ray.data.image_size import ImageSize

CONTRACT = "docs/networks.md says what a network of one's own must be."


class _TextLoader(importlib.abc.InspectLoader):
    """Imports a module from its text."""

    def __init__(self, file: str, text: str) -> None:
        self._file, self._text = file, text

    def get_source(self, fullname: str) -> str:
        """Return the text, which tracebacks then show."""
        return self._text

    def get_code(self, fullname: str) -> CodeType:
        """Translate the text, under the name of the user's file."""
        return self.source_to_code(self._text, self._file)


@functools.lru_cache(maxsize=8)
def import_text(file: str, text: str) -> ModuleType:
    """Import the text of a Python file, once per process."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    name = f"osteo_ray_network_{digest[:16]}"  # as no other module is called
    spec = importlib.util.spec_from_loader(name, _TextLoader(file, text), origin=file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def find_function(module: ModuleType, reference: FileReference) -> Callable[..., Any]:
    """Return the function of a module that the user names.

    Raises:
        InputError: There is none.
    """
    function: Callable[..., Any] | None = getattr(module, reference.function, None)
    if callable(function):
        return function
    known = [name for name, one in vars(module).items() if callable(one) and name[0] != "_"]
    found = "no such name" if function is None else f"a {type(function).__name__}"
    raise InputError(
        f"Expected a function `{reference.function}` in {reference.file}, but it has {found}."
        + suggest(reference.function, known)
    )


def choose_options(
    function: Callable[..., Any],
    reference: FileReference,
    n_classes: int,
    image_size: ImageSize,
    pretrained: bool,
) -> dict[str, Any]:
    """Return the arguments that a function takes of those that there are.

    Raises:
        InputError: It does not take the number of classes, or needs something else.
    """
    offered = {"n_classes": n_classes, "image_size": image_size.plain, "pretrained": pretrained}
    parameters: Mapping[str, inspect.Parameter] = {}
    with contextlib.suppress(ValueError):  # of a function that is not written in Python
        parameters = inspect.signature(function).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    options = {
        name: value
        for name, value in offered.items()
        if name in parameters or inspect.Parameter.VAR_KEYWORD in kinds
    }
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    unknown = [name for name in needed if name not in offered]
    if "n_classes" not in options or unknown:
        found = f"it needs `{unknown[0]}`" if unknown else "it does not take `n_classes`"
        raise InputError(
            f"Expected `{reference.function}` in {reference.file} to take n_classes and, if it "
            f"likes, image_size and pretrained, by name, but {found}. Give other parameters "
            "defaults."
        )
    return options


def guard(
    reference: FileReference,
    what: str,
    run: Callable[..., Any],
    options: dict[str, Any] | None = None,
) -> Any:
    """Run code of the user.

    Args:
        reference: Whose code it is.
        what: What it is to do, for messages: an infinitive.
        run: What is called.
        options: With which arguments.

    Raises:
        InputError: It raises something; an InputError of ours stays as it is.
    """
    try:
        return run(**(options or {}))
    except InputError:
        raise
    except ModuleNotFoundError as error:
        raise InputError(
            f"Expected {reference.file} to {what}, but the Python of {platform.node()} lacks the "
            f"module `{error.name}`{_locate(error, reference)}. Install the package on every node; "
            "a module of your own belongs into the file, as nothing but the file reaches workers."
        ) from None
    except (Exception, SystemExit) as error:
        reason = str(error).splitlines()
        said = f"{type(error).__name__}: {reason[0]}" if reason else type(error).__name__
        raise InputError(
            f"Expected {reference.file} to {what}, but it raises {said}"
            f"{_locate(error, reference)}. Correct the file; {CONTRACT}"
        ) from None


def _locate(error: BaseException, reference: FileReference) -> str:
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == reference.file
    ]
    if isinstance(error, SyntaxError):
        lines.append(error.lineno)
    return f" (line {lines[-1]})" if lines else ""


def show_call(reference: FileReference, options: dict[str, Any]) -> str:
    """Return a call as one would write it."""
    return f"{reference.function}({', '.join(f'{k}={v}' for k, v in options.items())})"
