"""Join a Ray cluster, or start one here; say in a sentence why that fails, and in bounded time."""

import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import ray
from ray._private.grpc_utils import init_grpc_channel
from ray._private.ray_constants import GLOBAL_GRPC_OPTIONS
from ray.exceptions import AuthenticationError

from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.base.interruption import end_on

_ANSWER_S = 20.0
_JOIN_S = 300.0  # to start Ray on a busy machine takes a minute or two
_LOCAL = "local"
_FORMS = "HOST:PORT of the head (its port is 6379 by default), `auto` or `local`"


def join(address: str, cpus: int | None) -> None:
    """Join the cluster at an address, or start one on this machine.

    Args:
        address: HOST:PORT, `auto` or `local`.
        cpus: Logical CPUs of a cluster that is started here; None for all.

    Raises:
        InputError: The address or the token cannot be used, or the cluster runs another Ray.
        IncompleteError: No cluster answers there, or none can be started here.
    """
    if address not in (_LOCAL, "auto") and not address.startswith("ray://"):
        _check_answer(address)
    try:
        with _limit_time(address), warnings.catch_warnings():
            # Ray warns of a future default for accelerator variables; this code sets devices.
            warnings.simplefilter("ignore", FutureWarning)
            ray.init(address=address, num_cpus=cpus, log_to_driver=True, include_dashboard=False)
    except (InputError, IncompleteError):  # told by this module
        raise
    except Exception as error:  # of any class: a node that is slow to start is a bare `Exception`
        ray.shutdown()  # of what has been started so far
        raise _explain(address, error) from None


def _check_answer(address: str) -> None:
    """Check that something speaks Ray's protocol there: `ray.init` alone tries for ten minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "://" in address:
        raise InputError(
            f"Expected RAY_ADDRESS to be {_FORMS}, but got `{address}`. The URL of a dashboard is "
            "for `osteo-ray submit`."
        )
    channel = init_grpc_channel(address, options=GLOBAL_GRPC_OPTIONS)  # without a proxy
    try:
        grpc.channel_ready_future(channel).result(timeout=_ANSWER_S)
    except grpc.FutureTimeoutError:
        raise IncompleteError(
            f"No Ray cluster answers at {address} (RAY_ADDRESS) within {_ANSWER_S:g} s. Start its "
            "head, correct the address, or open the way to it; or unset RAY_ADDRESS to compute on "
            "this machine."
        ) from None
    finally:
        channel.close()


@contextmanager
def _limit_time(address: str) -> Iterator[None]:
    """End the block after a while: a head may answer, and then hang."""

    def make_error() -> IncompleteError:
        where = "on this machine" if address == _LOCAL else f"at {address} (RAY_ADDRESS)"
        return IncompleteError(
            f"Ray {where} was not ready within {_JOIN_S:g} s. Look at the logs of Ray there "
            "(/tmp/ray/session_latest/logs), and run the same command again."
        )

    with end_on(signal.SIGUSR2, make_error) as end:
        timer = threading.Timer(_JOIN_S, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _explain(address: str, error: Exception) -> Exception:
    causes = _list_causes(error)
    said = str(causes[-1]).strip().splitlines() or [type(error).__name__]
    if address == _LOCAL:
        return IncompleteError(
            f"Ray could not be started on this machine: {said[-1]} Its logs lie in "
            "/tmp/ray/session_latest/logs; run the same command again."
        )
    if any(isinstance(one, AuthenticationError) for one in causes):
        return InputError(
            f"Expected the token of the cluster at {address} (RAY_ADDRESS), but it was refused. "
            "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH."
        )
    text = "\n".join(map(str, causes))
    if "ersion mismatch" in text:
        reason = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        return InputError(
            f"Expected Ray and Python of the same versions as at {address} (RAY_ADDRESS), but: "
            f"{reason}"
        )
    if address == "auto":
        return InputError(
            "Expected a Ray cluster on this machine, as RAY_ADDRESS is `auto`, but found none. "
            "Start its head (`ray start --head`), or unset RAY_ADDRESS."
        )
    return IncompleteError(
        f"The Ray cluster at {address} (RAY_ADDRESS) could not be joined: {said[-1]} A driver runs "
        "on a machine of the cluster; from elsewhere, use `osteo-ray submit`."
    )


def _list_causes(error: BaseException) -> list[BaseException]:
    found = [error]
    while (cause := found[-1].__cause__ or found[-1].__context__) is not None:
        found.append(cause)
    return found
