"""Run Ray Tune to its end, and turn what ends it early into a sentence."""

from ray import tune
from ray.exceptions import OutOfMemoryError
from ray.tune import TuneError

from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.remote import first_line

_FEWER = (
    "Free memory, or give each training more CPUs, so that fewer run at a time "
    "(--resources.cpus-per-worker), and run"
)


def fit_tuner(tuner: tune.Tuner, what: str) -> None:
    """Run all trials of a tuner.

    Args:
        tuner: The tuner.
        what: Its name in messages, such as "The sweep".

    Raises:
        IncompleteError: Tune itself failed, which leaves trials without a result.
    """
    try:
        tuner.fit()
    except (OSError, TuneError) as error:  # usually because its own state can no longer be written
        raise _explain(what, str(error)) from error
    except RuntimeError as error:
        # That Ray killed a process for want of memory is no end of an actor to Tune.
        if not isinstance(error.__cause__, OutOfMemoryError):
            raise
        raise _explain(what, first_line(error.__cause__), _FEWER) from error


def _explain(what: str, reason: str, run: str = "Run") -> IncompleteError:
    return IncompleteError(
        f"{what} failed: {reason}. What finished is kept. {run} the same command again to resume."
    )
