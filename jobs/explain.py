"""Explain a set of images with one trained classifier as a Ray job.

From the repository, with the cluster's token in ~/.ray/auth_token (or $RAY_AUTH_TOKEN_PATH):

    export RAY_AUTH_MODE=token RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265
    ray job submit --working-dir . -- python jobs/explain.py /shared/knees \
        --checkpoint /shared/model.safetensors --out /shared/explanations/knees

A small variant, a minute on one CPU machine (synthetic knees; any checkpoint will do):

    ray job submit --working-dir . -- python jobs/explain.py --phantom.n-images 16 \
        --checkpoint /tmp/osteo-ray-demo/trials/MODEL/seed-0/original-KEY/model.safetensors \
        --lime-samples 20 --out /tmp/osteo-ray-explanations

From anywhere, with retries and the driver's exit code: `osteo-ray submit explain …`.

The flags are those of `osteo-ray explain`. A job runs in a copy of the submitted folder that Ray
deletes later, so --out is required and absolute, on storage that every node sees; the same holds
for --data and --checkpoint. Exit codes: 0 done; 1 something failed; submit the same command
again to resume; 2 bad input.
"""

import sys

from osteo_ray.commands.entrypoint import run_entrypoint

if __name__ == "__main__":
    sys.exit(run_entrypoint("explain", sys.argv[1:]))
