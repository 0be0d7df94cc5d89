"""Run a comparison as a Ray job.

From the repository, with the cluster's token in ~/.ray/auth_token (or $RAY_AUTH_TOKEN_PATH):

    export RAY_AUTH_MODE=token RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265
    ray job submit --working-dir . -- \
        python jobs/compare.py --data /shared/knees --out /shared/runs/knees

A small variant, minutes on one CPU machine (synthetic knees, two small networks):

    ray job submit --working-dir . -- \
        python jobs/compare.py --out /tmp/osteo-ray-demo --seeds 2 --epochs 3 --lime-samples 20

The flags are those of `osteo-ray compare`. A job runs in a copy of the submitted folder that Ray
deletes later, so --out is required and absolute, on storage that every node sees; the same holds
for --data and --weights. Exit codes: 0 done; 1 something failed, and submitting the same command
again goes on from there; 2 bad input.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from osteo_ray.cli import BAD_INPUT, main, parse_compare
from osteo_ray.config import PHANTOM, CompareConfig
from osteo_ray.errors import InputError


def run_job(arguments: Sequence[str]) -> int:
    """Run `osteo-ray compare` with these flags; return its exit code.

    Args:
        arguments: Flags, without the name of a command.
    """
    try:
        check_paths(parse_compare(arguments))
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return BAD_INPUT
    except SystemExit as ended:  # from the parser, which has printed help or what is wrong
        return ended.code if isinstance(ended.code, int) else BAD_INPUT
    return main(["compare", *arguments])


def check_paths(config: CompareConfig) -> None:
    """Refuse paths that mean nothing outside the job's own copy of the submitted folder.

    Args:
        config: Of the comparison.

    Raises:
        InputError: The run directory is missing or relative, or an input lies in the copy.
    """
    if config.out is None or not Path(config.out).expanduser().is_absolute():
        found = "none" if config.out is None else f"`{config.out}`"
        raise InputError(
            f"Expected an absolute --out on storage that every node sees, but got {found}. A "
            "relative one would lie in the job's working directory, which Ray deletes."
        )
    inputs = [("--data", config.data)] if config.data != PHANTOM else []
    files = [entry.partition("=")[2] for entry in config.weights]
    inputs += [("--weights", file) for file in files if file]
    for flag, path in inputs:
        if Path(path).is_relative_to(Path.cwd().resolve()):
            raise InputError(
                f"Expected an absolute {flag} on storage that every node sees, but got {path}, "
                "which lies in the job's working directory: other nodes do not see it."
            )


if __name__ == "__main__":
    sys.exit(run_job(sys.argv[1:]))
