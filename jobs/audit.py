"""Look for copies, label conflicts and shortcuts in a set of images as a Ray job.

From the repository, with the cluster's token in ~/.ray/auth_token (or $RAY_AUTH_TOKEN_PATH):

    export RAY_AUTH_MODE=token RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265
    ray job submit --working-dir . -- \
        python jobs/audit.py /shared/knees --out /shared/audits/knees

A small variant, half a minute on one CPU machine (synthetic knees, with copies among them):

    ray job submit --working-dir . -- \
        python jobs/audit.py --phantom.n-images 40 --out /tmp/osteo-ray-audit

From anywhere, with retries and the driver's exit code: `osteo-ray submit audit …`.

The flags are those of `osteo-ray audit`. A job runs in a copy of the submitted folder that Ray
deletes later, so --out is required and absolute, on storage that every node sees; the same holds
for --data and --weights. Exit codes: 0 clean; 1 something failed; 2 bad input; 3 findings, which
Ray counts as a failed job.
"""

import sys

from osteo_ray.commands.entrypoint import run_entrypoint

if __name__ == "__main__":
    sys.exit(run_entrypoint("audit", sys.argv[1:]))
