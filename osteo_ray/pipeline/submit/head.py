"""The head of a cluster as the place to submit jobs to, with errors that say what to do."""

import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Never

import aiohttp
import ray
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from osteo_ray.base.errors import IncompleteError, InputError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
_ADDRESS, _MODE = "RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE"
_TIMEOUTS_S = (10, 60)  # to connect, and to wait for an answer
_CHATTY = (
    "ray._private.runtime_env.packaging",
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
)


class UnreachableError(Exception):
    """The head does not answer at the moment."""


class UnknownJobError(Exception):
    """The head answers, but does not know the job."""


class NoAgentError(IncompleteError):
    """The head answers, but nothing there starts jobs yet, as while it comes up."""


class _BoundedClient(JobSubmissionClient):
    """Ray's client with a time limit; without it, requests wait forever if the network is cut."""

    def _do_request(self, method: str, endpoint: str, **kwargs: Any) -> requests.Response:
        return super()._do_request(method, endpoint, **{"timeout": _TIMEOUTS_S, **kwargs})


class Head:
    """A connection to the dashboard of a cluster, which takes jobs.

    Attributes:
        address: Its URL.
    """

    def __init__(self, address: str | None = None) -> None:
        """Connect.

        Args:
            address: URL of the dashboard; by default $RAY_API_SERVER_ADDRESS, else this machine's.

        Raises:
            InputError: The address or the token cannot be used, or the cluster runs another version
                of Ray.
            IncompleteError: Nothing answers at the address.
        """
        self.address = _complete(address or os.environ.get(_ADDRESS) or DEFAULT_ADDRESS)
        os.environ[_ADDRESS] = self.address  # Ray prefers this to its argument
        _check_token()
        for name in _CHATTY:  # they report each upload and connection
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            self._client = _BoundedClient(self.address)
        except AuthenticationError as error:
            _refuse_token(self.address, error)
        except requests.exceptions.InvalidURL:
            _refuse_address(self.address)
        except (ConnectionError, requests.RequestException) as error:
            raise IncompleteError(
                f"No Ray cluster answers at {self.address} ({type(error).__name__}). Start its "
                "head, open a tunnel to its dashboard (`ray dashboard cluster.yaml`, `kubectl "
                f"port-forward`), or give another --address or {_ADDRESS}."
            ) from None
        except (RuntimeError, KeyError, TypeError) as error:  # an answer of another form
            raise InputError(
                f"Expected the dashboard of a Ray cluster at {self.address}, but the answer is not "
                f"that of one: {error}"
            ) from None
        self._check_version()

    def _check_version(self) -> None:
        found = str(self._client._do_request("GET", "/api/version").json()["ray_version"])
        if found.split(".")[:2] != ray.__version__.split(".")[:2]:
            raise InputError(
                f"Expected Ray {ray.__version__} on the cluster, as this osteo_ray needs it, but "
                f"{self.address} runs {found}. Use the osteo_ray of the cluster's image, or "
                "install this one there."
            )

    def submit(self, job: str, entrypoint: str, folder: Path) -> None:
        """Start a job in a copy of a folder.

        Args:
            job: Its id, which no other job of this cluster has had.
            entrypoint: Shell command that it runs.
            folder: Uploaded unless the cluster already has the same content.

        Raises:
            InputError: The id is taken, or the cluster refuses the token.
            NoAgentError: The cluster does not start jobs yet.
            IncompleteError: It did not answer, so the job may run; or it refuses the job.
        """
        try:
            self._client.submit_job(
                entrypoint=entrypoint,
                submission_id=job,
                runtime_env={"working_dir": str(folder)},
            )
        except AuthenticationError as error:
            _refuse_token(self.address, error)
        except requests.RequestException as error:
            raise IncompleteError(
                f"{self.address} did not answer while job {job} was submitted "
                f"({type(error).__name__}). Before you try again, check with `ray job list` "
                "whether it runs."
            ) from None
        except RuntimeError as error:
            self._explain_refusal(job, str(error))

    def _explain_refusal(self, job: str, said: str) -> Never:
        if "already exists" in said:
            raise InputError(
                f"Expected a new --id, but the cluster at {self.address} already has a job {job}."
            ) from None
        if "No available agent" in said:
            raise NoAgentError(
                f"The cluster at {self.address} has no agent that accepts jobs. Either it is still "
                "starting, or another Ray on the head's machine uses the agent's port (start the "
                "head with another --dashboard-agent-listen-port)."
            ) from None
        last = said.strip().splitlines()[-1]
        raise IncompleteError(f"The cluster at {self.address} refused job {job}: {last}") from None

    def read_details(self, job: str) -> JobDetails:
        """Return what the cluster knows about a job.

        Raises:
            UnreachableError: The cluster does not answer, or not sensibly, as while it starts.
            UnknownJobError: The cluster does not know the job.
            InputError: The cluster refuses the token.
        """
        try:
            return self._client.get_job_info(job)
        except AuthenticationError as error:
            _refuse_token(self.address, error)
        except requests.RequestException as error:
            raise UnreachableError(type(error).__name__) from None
        except RuntimeError as error:
            if "status code 404" in str(error):
                raise UnknownJobError from None
            raise UnreachableError(str(error).splitlines()[0][:200]) from None

    async def tail(self, job: str) -> AsyncIterator[str]:
        """Yield the log of a job from its beginning and as it grows, until the log ends.

        Raises:
            UnreachableError: The connection broke.
        """
        try:
            async for text in self._client.tail_job_logs(job):
                yield text
        except (RuntimeError, OSError, aiohttp.ClientError) as error:
            raise UnreachableError(type(error).__name__) from None


def _complete(address: str) -> str:
    if "@" in address:  # before any message that repeats it
        raise InputError(
            "Expected an address without a password, but it has an `@`. Give the host and the port "
            f"alone; a cluster that asks who you are takes a token ({_MODE}=token)."
        )
    scheme, separator, place = address.partition("://")
    if not separator:
        scheme, place = "http", address
    if scheme not in ("http", "https") or not place.strip("/"):
        _refuse_address(address)
    return f"{scheme}://{place.rstrip('/')}"


def _refuse_address(address: str) -> Never:
    raise InputError(
        f"Expected the URL of a dashboard, such as {DEFAULT_ADDRESS}, but got {address}."
    ) from None


def _locate_token() -> Path:
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()


def _check_token() -> None:
    """Refuse a missing token where one is needed; Ray's own loader would end the process."""
    if os.environ.get(_MODE) != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    path = _locate_token()
    try:
        empty = not path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"Expected the cluster's token in {path}, as {_MODE}=token is set, but it cannot be "
            f"read ({type(error).__name__}). Copy the head's ~/.ray/auth_token there, or name its "
            "place with RAY_AUTH_TOKEN_PATH."
        ) from None
    if empty:
        raise InputError(f"Expected the cluster's token in {path}, but the file is empty.")


def _refuse_token(address: str, error: Exception) -> Never:
    if os.environ.get(_MODE) != "token":
        raise InputError(
            f"The cluster at {address} requires a token. Set {_MODE}=token, and copy the head's "
            f"~/.ray/auth_token to {_locate_token()} or to where RAY_AUTH_TOKEN_PATH points."
        ) from None
    place = "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else str(_locate_token())
    raise InputError(
        f"The cluster at {address} refuses the token from {place}: it belongs to another cluster, "
        "or is an old one. Copy the head's ~/.ray/auth_token again."
    ) from None
