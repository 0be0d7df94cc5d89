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

from osteo_ray.cli import main
from osteo_ray.commands.compare import parse_compare
from osteo_ray.commands.parsing import BAD_INPUT
from osteo_ray.errors import InputError
from osteo_ray.job_paths import check_job_paths


def run_job(arguments: Sequence[str]) -> int:
    """Run `osteo-ray compare` with these flags; return its exit code.

    Args:
        arguments: Flags, without the name of a command.
    """
    try:
        config = parse_compare(arguments)
        files = [entry.partition("=")[2] for entry in config.weights]
        weights = [("--weights", file) for file in files if file]
        check_job_paths(config.out, [("--data", config.data), *weights])
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return BAD_INPUT
    except SystemExit as ended:  # from the parser, which has printed help or what is wrong
        return ended.code if isinstance(ended.code, int) else BAD_INPUT
    return main(["compare", *arguments])


if __name__ == "__main__":
    sys.exit(run_job(sys.argv[1:]))
