"""How a job may end, what that means for a script, and whether it is worth another try."""

from dataclasses import dataclass
from typing import Literal

_RESULTS = (3, 4)  # exit codes of findings and of drift


@dataclass(frozen=True)
class Outcome:
    """The end of one job.

    Attributes:
        status: `gone`: the cluster answers and does not know the job any more, as after a restart
            of its head. `unreachable`: the cluster did not answer for long; the job may go on.
        code: Exit code of the driver; None where it has none, negative or above 128 where a signal
            ended it.
        message: What the cluster said of it.
    """

    status: Literal["succeeded", "failed", "stopped", "gone", "unreachable"]
    code: int | None = None
    message: str = ""

    @property
    def killed(self) -> bool:
        """Whether the driver ended without an exit code of its own."""
        return self.code is None or self.code < 0 or self.code > 128

    @property
    def may_be_tried_again(self) -> bool:
        """Whether another job could go on from what this one left.

        Not where the driver gave a result (0, findings, drift) or refused its input, where someone
        stopped the job, or where it may still be running.

        Example:
            >>> Outcome("failed", 1).may_be_tried_again, Outcome("failed", 2).may_be_tried_again
            (True, False)
            >>> Outcome("failed", -9).may_be_tried_again, Outcome("stopped").may_be_tried_again
            (True, False)
        """
        return self.status == "gone" or (
            self.status == "failed" and (self.killed or self.code == 1)
        )

    @property
    def exit_code(self) -> int:
        """The driver's exit code; 1 where there is none, or no success behind it.

        Example:
            >>> Outcome("failed", 3).exit_code, Outcome("failed", -9).exit_code
            (3, 1)
            >>> Outcome("succeeded", 0).exit_code, Outcome("stopped").exit_code
            (0, 1)
        """
        if self.status == "succeeded":
            return 0
        return 1 if self.status != "failed" or self.killed or not self.code else self.code

    @property
    def has_result(self) -> bool:
        """Whether the driver came to a result, be it findings or drift."""
        return self.status == "succeeded" or (self.status == "failed" and self.code in _RESULTS)

    def describe(self) -> str:
        """Say it in words, to follow the name of a job.

        Example:
            >>> Outcome("failed", 137).describe()
            'failed: its driver was killed by signal 9'
        """
        if self.status == "failed" and self.code is None:
            return f"failed before its driver ended: {self.message or 'no reason is known'}"
        if self.status == "failed" and self.code is not None:
            signal = -self.code if self.code < 0 else self.code - 128
            end = f"was killed by signal {signal}" if self.killed else f"ended with {self.code}"
            return f"failed: its driver {end}"
        return {
            "succeeded": "is done",
            "stopped": "was stopped",
            "gone": "is lost: the cluster does not know it any more, its head may have restarted",
            "unreachable": f"is out of sight: {self.message}",
        }[self.status]


def name_attempt(name: str, attempt: int) -> str:
    """Return the id of a job's first, second, … attempt: Ray takes each id once.

    Example:
        >>> name_attempt("knees", 0), name_attempt("knees", 2)
        ('knees', 'knees-retry-2')
    """
    return f"{name}-retry-{attempt}" if attempt else name
