"""What ends a sweep of Ray Tune early is told in a sentence, and its cause is."""

from collections.abc import Callable

import pytest
import ray.exceptions
from cluster_faults import pass_on
from ray.tune import TuneError

from osteo_ray.base.errors import IncompleteError
from osteo_ray.commands.failures import describe_failure
from osteo_ray.pipeline.compare.tuner import fit_tuner

SHORT = ray.exceptions.OutOfMemoryError(
    "2 worker(s) were killed due to the node running low on memory.\nObject store memory usage: []"
)


class Stopped:
    """Stands for a tuner whose `fit` ends early."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def fit(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TuneError("no state"), "The sweep failed: no state. What finished is kept. Run the same"),
        (OSError(28, "No space left"), "The sweep failed: [Errno 28] No space left. What"),
        (
            pass_on(SHORT),
            "The sweep failed: 2 worker(s) were killed due to the node running low on memory. What "
            "finished is kept. Free memory, or give each training more CPUs, so that fewer run at "
            "a time (--resources.cpus-per-worker), and run the same command again to resume.",
        ),
    ],
)
def test_a_sweep_that_fails_says_why_and_what_to_do(error: Exception, words: str) -> None:
    with pytest.raises(IncompleteError) as caught:
        fit_tuner(Stopped(error), "The sweep")
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("error", [RuntimeError("a mistake"), pass_on(ValueError("a mistake"))])
def test_mistakes_are_not_hidden(error: Exception) -> None:
    with pytest.raises(RuntimeError) as caught:
        fit_tuner(Stopped(error), "The sweep")
    assert caught.value is error
    assert describe_failure(error) is None


@pytest.mark.parametrize("wrap", [lambda error: error, pass_on])
def test_short_memory_is_told_wherever_it_shows(wrap: Callable[[Exception], Exception]) -> None:
    told = describe_failure(wrap(SHORT))
    assert told is not None
    text, code = told
    assert text.startswith(
        "Failed: memory is short (2 worker(s) were killed due to the node running low on memory). "
        "Free some, or ask for less."
    )
    assert code == 1
