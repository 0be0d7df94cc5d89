"""What several test modules share."""

import logging
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings
from ray_heads import Head, start_head

# One thread: the nets of the tests are small, and many threads wait on each other. Read once, when
# NumPy and PyTorch are first imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# Tests send Ctrl-C to programs they start; a script's `pytest &` would have them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, however busy the machine.
settings.register_profile("osteo_ray", deadline=None, derandomize=True)
settings.load_profile("osteo_ray")


@pytest.fixture(scope="session")
def local_ray(s3_keys: None) -> Iterator[None]:
    """A Ray cluster of this machine with two CPUs; one for all tests, as workers start slowly."""
    import ray

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A Ray head that wants a token, in processes of its own."""
    with start_head() as started:
        yield started


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of a server that speaks S3."""
    from moto.server import ThreadedMotoServer

    # Its thread's line for every request would end in the logs that tests look into.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def s3_keys() -> Iterator[None]:
    """Keys to the server, in the environment, which workers inherit as Ray starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield
