"""Which paths a Ray job may be given: it runs in a copy of the submitted folder."""

from pathlib import Path

from osteo_ray.base.errors import InputError
from osteo_ray.base.paths import PHANTOM
from osteo_ray.base.remote import is_local
from osteo_ray.base.storage import locate


def check_job_paths(out: str | None, inputs: list[tuple[str, str]]) -> None:
    """Refuse paths that mean nothing outside the job's own copy of the submitted folder.

    Args:
        out: Directory of the results, a path or URI.
        inputs: Flag and absolute path, URI, or `phantom`, of each input.

    Raises:
        InputError: `out` is missing or relative, or a URI that cannot be used; or an input lies in
            the copy.
    """
    if out is None or (is_local(out) and not Path(out).expanduser().is_absolute()):
        found = "none" if out is None else f"`{out}`"
        raise InputError(
            f"Expected an absolute --out on storage that every node sees, or a URI, but got "
            f"{found}. A relative one would lie in the job's working directory, which Ray deletes."
        )
    locate(out)
    for flag, path in inputs:
        if path != PHANTOM and is_local(path) and Path(path).is_relative_to(Path.cwd().resolve()):
            raise InputError(
                f"Expected an absolute {flag} on storage that every node sees, but got {path}, "
                "which lies in the job's working directory: other nodes do not see it."
            )
