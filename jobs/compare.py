"""Run a comparison as a Ray job.

From the repository, with the cluster's token in ~/.ray/auth_token (or $RAY_AUTH_TOKEN_PATH):

    export RAY_AUTH_MODE=token RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265
    ray job submit --working-dir . -- \
        python jobs/compare.py --data /shared/knees --out /shared/runs/knees

A small variant, minutes on one CPU machine (synthetic knees, two small networks):

    ray job submit --working-dir . -- \
        python jobs/compare.py --out /tmp/osteo-ray-demo --seeds 2 --epochs 3 --lime-samples 20

From anywhere, with retries and the driver's exit code: `osteo-ray submit compare …`.

The flags are those of `osteo-ray compare`. A job runs in a copy of the submitted folder that Ray
deletes later, so --out is required and absolute, on storage that every node sees; the same holds
for --data and --weights. Exit codes: 0 done; 1 something failed; submit the same command
again to resume; 2 bad input.
"""

import sys

from osteo_ray.commands.entrypoint import run_entrypoint

if __name__ == "__main__":
    sys.exit(run_entrypoint("compare", sys.argv[1:]))
