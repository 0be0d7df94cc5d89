"""What several test modules share."""

import os
from collections.abc import Iterator

import pytest

# One thread: the nets of the tests are small, and many threads wait on each other. Read once, when
# NumPy and PyTorch are first imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A Ray cluster of this machine with two CPUs."""
    import ray

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
