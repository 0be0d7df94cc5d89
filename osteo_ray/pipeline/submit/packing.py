"""What a Ray job takes along: the package, the file of --config, and files of networks."""

import argparse
import contextlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import osteo_ray
from osteo_ray.base.errors import InputError
from osteo_ray.base.storage import locate_here

CONFIG = "config.yaml"
"""Name of the file of --config in the packed folder."""
NETWORKS = "networks"
"""Name of the folder of Python files of networks in the packed folder."""


@dataclass(frozen=True)
class Networks:
    """The networks that a command names.

    Attributes:
        models: Names of all its models, without folders.
        files: Absolute paths, or URIs, of the Python files of those that have one.
    """

    models: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


NO_NETWORKS = Networks()


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
        content = locate_here(known.config, "--config").read_bytes()
    except OSError as error:
        raise InputError(
            f"Expected a readable configuration file, but {known.config}: {error.strerror}."
        ) from None
    (folder / CONFIG).write_bytes(content)
    return [*rest, "--config", CONFIG]


def pack_networks(arguments: Sequence[str], networks: Networks, folder: Path) -> list[str]:
    """Copy the Python files of networks into a folder; return the flags as they must read there.

    Args:
        arguments: Flags of a command.
        networks: The models that they name, and the files of these.
        folder: The folder.

    Raises:
        InputError: A file cannot be read.
    """
    if not networks.files:
        return list(arguments)
    packed = []
    for file in networks.files:
        place = Path(file)
        if "://" in file:  # the cluster reads it from there
            packed.append(file)
            continue
        try:
            content = place.read_bytes()
        except OSError as error:
            raise InputError(
                f"Expected the Python file of a network, but {file}: {error.strerror}. Correct "
                "--models."
            ) from None
        (folder / NETWORKS).mkdir(exist_ok=True)
        (folder / NETWORKS / place.name).write_bytes(content)
        packed.append(f"{NETWORKS}/{place.name}")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--models", "--networks"):
        parser.add_argument(flag, nargs="*")
    _, rest = parser.parse_known_args(list(arguments))
    return [*rest, "--models", *networks.models, "--networks", *packed]


def check_as_packed(
    check: Callable[[str, Sequence[str]], str],
    command: str,
    arguments: Sequence[str],
    networks: Networks = NO_NETWORKS,
) -> str:
    """Check flags as the cluster will understand them; return what the check returns.

    Args:
        check: Called in a folder that stands in for that of the job, so that relative paths mean
            here what they will mean there.
        command: Name of the command.
        arguments: Its flags.
        networks: The models that they name, and their files.

    Raises:
        InputError: A file cannot be read, or `check` refuses the flags.
    """
    with tempfile.TemporaryDirectory(prefix="osteo-ray-job-") as folder:
        packed = pack_config(arguments, Path(folder))
        packed = pack_networks(packed, networks, Path(folder))
        try:
            with contextlib.chdir(folder):
                return check(command, packed)
        except InputError as error:
            raise InputError(str(error).replace(f"{Path(folder).resolve()}/", "")) from None
