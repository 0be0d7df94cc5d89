# osteo_ray in an image, for one machine and for the manifests in jobs/kuberay. From the repository:
#
#     docker build -t osteo-ray .
#     docker run --rm --shm-size=2g --volume "$PWD:/data" osteo-ray compare --demo
#
# Paths are those of the image: what lies in this folder is in /data there, and runs come to lie in it.
# --gpus all shows it NVIDIA's devices; --shm-size is Ray's store of objects. Large for one reason:
# PyTorch from PyPI brings CUDA; the machine needs NVIDIA's driver only.
#
# For a cluster: `docker build -t registry.example.org/osteo-ray:0.1.0-ray2.60.0 .`, which manifests may
# then name by its digest (`docker inspect --format '{{index .RepoDigests 0}}'`).
FROM python:3.11.18-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY osteo_ray osteo_ray
# pyproject.toml holds the versions that were tested together; uv obeys them in its folder.
ENV UV_PROJECT_ENVIRONMENT=/opt/venv UV_LINK_MODE=copy
RUN uv sync --no-dev --no-editable --no-cache

FROM python:3.11.18-slim-bookworm
# KubeRay's probes call wget. Of any version, since Debian keeps only the latest of a release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home ray \
    && install --directory --owner ray /data /shared
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0
USER 1000
WORKDIR /data
ENTRYPOINT ["osteo-ray"]
CMD ["--help"]
