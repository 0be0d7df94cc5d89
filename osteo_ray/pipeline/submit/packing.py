"""What a Ray job takes along from this machine: the package and the file of --config."""

import argparse
import contextlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import osteo_ray
from osteo_ray.base.errors import InputError

CONFIG = "config.yaml"
"""Name of the file of --config in the packed folder."""


def pack_package(folder: Path) -> None:
    """Copy the running package, wherever it is installed, into a folder.

    Its metadata come along, so that the record of a run names the version that ran, even if the
    nodes have another one installed.
    """
    source = Path(osteo_ray.__file__).parent
    skipped = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(source, folder / source.name, ignore=skipped)
    distribution = importlib.metadata.distribution("osteo-ray")
    described = folder / f"osteo_ray-{distribution.version}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(distribution.read_text("METADATA") or "", encoding="utf-8")


def pack_config(arguments: Sequence[str], folder: Path) -> list[str]:
    """Copy the file of --config into a folder; return the flags as they must read there.

    Raises:
        InputError: The file cannot be read.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    known, rest = parser.parse_known_args(list(arguments))
    if known.config is None:
        return list(arguments)
    try:
        content = Path(known.config).expanduser().read_bytes()
    except OSError as error:
        raise InputError(
            f"Expected a readable configuration file, but {known.config}: {error.strerror}."
        ) from None
    (folder / CONFIG).write_bytes(content)
    return [*rest, "--config", CONFIG]


def check_as_packed(
    check: Callable[[str, Sequence[str]], str], command: str, arguments: Sequence[str]
) -> str:
    """Check flags as the cluster will understand them; return what the check returns.

    Args:
        check: Called in a folder that stands in for that of the job, so that relative paths mean
            here what they will mean there.
        command: Name of the command.
        arguments: Its flags.

    Raises:
        InputError: The file of --config cannot be read, or `check` refuses the flags.
    """
    with tempfile.TemporaryDirectory(prefix="osteo-ray-job-") as folder:
        packed = pack_config(arguments, Path(folder))
        try:
            with contextlib.chdir(folder):
                return check(command, packed)
        except InputError as error:
            raise InputError(str(error).replace(f"{Path(folder).resolve()}/", "")) from None
