"""Errors of disks, networks, storage and Ray, turned into sentences and exit codes in one place."""

import errno
from collections.abc import Iterator

from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import first_line
from osteo_ray.commands.parsing import BAD_INPUT, FAILED
from osteo_ray.commands.terminal import RESUMABLE

_OF_USER = frozenset(
    {
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY),
        *(errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EXDEV),
    }
)
"""What a path causes, and another path mends; everything else may pass."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PASSING = _FULL | {
    *(errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT),
    *(errno.EAGAIN, errno.EBUSY, errno.ECONNRESET, errno.ECONNREFUSED, errno.EHOSTUNREACH),
}
"""What no path causes, also where a path cannot be read or written because of it."""
_SYSTEMS = {
    "ray": "the cluster",
    "grpc": "the cluster",
    "pyarrow": "a table",
    "fsspec": "the storage",
    "s3fs": "the storage",
    "gcsfs": "the storage",
    "adlfs": "the storage",
    "azure": "the storage",
    "botocore": "the storage",
    "google": "the storage",
    "aiohttp": "the network",
    "requests": "the network",
    "urllib3": "the network",
    "httpx": "the network",
    "huggingface_hub": "the hub",
}
"""Whose errors may pass, by the package that raises them."""


def find_cause(error: BaseException) -> BaseException:
    """Return the error that a worker raised, where Ray passes it on as one of its own."""
    behind = error.__cause__
    if isinstance(error, RuntimeError) and behind is not None and "ray" in _list_packages(behind):
        error = behind  # as Ray's libraries pass on what they did not expect
    cause = getattr(error, "cause", None)
    while "ray" in _list_packages(error) and isinstance(cause, Exception):
        error, cause = cause, getattr(cause, "cause", None)
    return error


def describe_failure(error: BaseException) -> tuple[str, int] | None:
    """Return a sentence and an exit code for an error of the system; None for any other.

    The code is 2 if a path that the user gave is to blame, and 1 if running the command again may
    help, as for a full disk.
    """
    cause = find_cause(error)
    if isinstance(cause, InputError):
        return _describe_input(cause)
    if isinstance(cause, OSError):
        return _describe_os(cause)
    if isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError":
        told = f" ({first_line(cause)})" if str(cause) else ""
        return f"Failed: memory is short{told}. Free some, or ask for less. {RESUMABLE}", FAILED
    for package in (*_list_packages(cause), *_list_packages(error)):
        if package in _SYSTEMS:
            told = f"{type(cause).__name__}: {first_line(cause)}"
            return f"Failed: {_SYSTEMS[package]} reported an error: {told}. {RESUMABLE}", FAILED
    return None


def _describe_input(error: InputError) -> tuple[str, int]:
    """Tell whether input is to blame: a folder that may be written to can lie on a full disk."""
    behind = error.__context__
    if isinstance(behind, OSError) and behind.errno in _PASSING:
        return f"Failed: {error}", FAILED
    return f"Error: {error}", BAD_INPUT


def _describe_os(error: OSError) -> tuple[str, int]:
    reason = error.strerror or first_line(error)
    places = [str(place) for place in (error.filename, error.filename2) if place is not None]
    told = f"{' → '.join(places)}: {reason}" if places else reason
    if error.errno in _OF_USER:
        return (
            f"Error: Expected files and folders that can be read and written, but {told}. Correct "
            "the path, or what is allowed there, and run the same command again.",
            BAD_INPUT,
        )
    room = "Make room first. " if error.errno in _FULL else ""
    what = "network" if isinstance(error, ConnectionError | TimeoutError) else "system"
    return f"Failed: the {what} reported an error: {told}. {room}{RESUMABLE}", FAILED


def _list_packages(error: BaseException) -> Iterator[str]:
    """List the packages that define the classes of an error; nothing has to be imported for it."""
    for kind in type(error).__mro__:
        yield kind.__module__.partition(".")[0]
