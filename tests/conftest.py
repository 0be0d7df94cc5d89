"""Fixtures that several test modules share, and the order in which the workers take the tests."""

import logging
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from ray_heads import Head, start_head

if TYPE_CHECKING:
    from osteo_ray.base.runs import Run
    from osteo_ray.pipeline.compare.stages import Outcome

# One thread: the networks of the tests are small, and many threads only wait for each other. These
# variables are read once, when NumPy and PyTorch are first imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that wait leave the cores to others

# Ray reads this when it is imported, which helpers of the tests do before the product, which sets
# it as well. Under `uv run`, each worker would otherwise start by way of uv, which is much slower.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

# Some tests send Ctrl-C to programs that they start. Programs started by a script's `pytest &`
# would inherit that it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, however busy the machine.
settings.register_profile("osteo_ray", deadline=None, derandomize=True)
settings.load_profile("osteo_ray")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses by marks, and before xdist reads groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests for `--dist loadgroup`; a group runs on one worker, in order.

    Modules that look at the finished run are one group, so that only one worker makes it. The other
    tests on a cluster of this session are a second group, and those that start a cluster, a head or
    a command of their own are a third. Of all others, those of a module are a group. The groups
    with Ray take longest, so they come first; the workers that are free take the other modules.
    """
    of_finished_run = {item.path for item in items if "finished" in _name_fixtures(item)}
    for item in items:
        if "local_ray" in _name_fixtures(item):
            item.add_marker("ray")
            group = "finished run" if item.path in of_finished_run else "session cluster"
        elif item.get_closest_marker("ray") or item.get_closest_marker("faults"):
            group = "own clusters"
        else:
            group = item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
    first = ("finished run", "session cluster", "own clusters")
    items.sort(key=lambda item: _name_group(item) not in first)


def _name_fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())  # a doctest of a module has none


def _name_group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    assert marker is not None
    return str(marker.args[0])


@pytest.fixture(scope="session")
def local_ray(s3_keys: None) -> Iterator[None]:
    """A Ray cluster of two CPUs on this machine; one for the session, as workers start slowly."""
    import ray

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """A Ray head of two CPUs that requires a token, in processes of its own."""
    with start_head() as started:
        yield started


@pytest.fixture(scope="session")
def finished(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Outcome]":
    """A finished comparison with the settings `tiny_runs.TINY`, for tests that only read it."""
    from tiny_runs import configure, list_times, run_quietly

    outcome = run_quietly(configure(tmp_path_factory.mktemp("finished") / "tiny"))
    before = list_times(outcome.run.root)
    yield outcome
    assert list_times(outcome.run.root) == before, "a test changed the run that all tests share"


@pytest.fixture
def finished_copy(finished: "Outcome", tmp_path: Path) -> "Run":
    """A copy of the finished comparison, for tests that change or extend it."""
    from osteo_ray.base.runs import Run

    return Run(Path(shutil.copytree(str(finished.run.root), tmp_path / "runs" / "copy")))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished comparison that has every kind of file (`run`), and its sources."""
    from whole_runs import make_whole

    folder = tmp_path_factory.mktemp("whole")
    make_whole(folder)
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a server that speaks S3."""
    from moto.server import ThreadedMotoServer

    # Its thread writes a line for every request, which would end up in the logs that tests read.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def s3_keys() -> Iterator[None]:
    """The server's keys in the environment, from which workers inherit them when Ray starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield
