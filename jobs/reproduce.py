"""Rerun a stored run, whole or a sample of it, as a Ray job, and say what has drifted.

From the repository, with the cluster's token in ~/.ray/auth_token (or $RAY_AUTH_TOKEN_PATH):

    export RAY_AUTH_MODE=token RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265
    ray job submit --working-dir . -- \
        python jobs/reproduce.py /shared/runs/knees --share 0.1

A small variant, a minute on one CPU machine, after that of jobs/compare.py:

    ray job submit --working-dir . -- \
        python jobs/reproduce.py /tmp/osteo-ray-demo --sample 2

From anywhere, with retries and the driver's exit code: `osteo-ray submit reproduce …`.

The flags are those of `osteo-ray reproduce`. A job runs in a copy of the submitted folder that Ray
deletes later, so the run is an absolute path, on storage that every node sees; the same holds for
--ledger and --out. Exit codes: 0 reproduced; 1 something failed; submit the same command
again to resume; 2 bad input; 4 drift, which Ray counts as a failed job.
"""

import sys

from osteo_ray.commands.entrypoint import run_entrypoint

if __name__ == "__main__":
    sys.exit(run_entrypoint("reproduce", sys.argv[1:]))
