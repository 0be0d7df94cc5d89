"""How a Ray job can end, which exit code that makes, and whether another attempt may help."""

from dataclasses import dataclass
from typing import Literal

_RESULTS = (3, 4)  # exit codes of findings and of drift


@dataclass(frozen=True)
class JobOutcome:
    """How one Ray job ended.

    Attributes:
        status: `gone`: the cluster answers but no longer knows the job, for example because its
            head has restarted. `unreachable`: the cluster has not answered for a long time; the job
            may still be running.
        code: Exit code of the driver; None if there is none; negative or above 128 if a signal
            ended it.
        message: What the cluster said about the job.
    """

    status: Literal["succeeded", "failed", "stopped", "gone", "unreachable"]
    code: int | None = None
    message: str = ""

    @property
    def killed(self) -> bool:
        """Whether the driver ended without choosing an exit code."""
        return self.code is None or self.code < 0 or self.code > 128

    @property
    def may_be_tried_again(self) -> bool:
        """Whether another job could continue from what this one left.

        It cannot if the driver came to a result (0, findings, drift) or refused its input, if
        someone stopped the job, or if the job may still be running.

        Example:
            >>> [JobOutcome("failed", code).may_be_tried_again for code in (1, 2, -9)]
            [True, False, True]
            >>> JobOutcome("stopped").may_be_tried_again
            False
        """
        return self.status == "gone" or (
            self.status == "failed" and (self.killed or self.code == 1)
        )

    @property
    def exit_code(self) -> int:
        """The driver's exit code; 1 if it has none, or the job did not end by itself.

        Example:
            >>> JobOutcome("failed", 3).exit_code, JobOutcome("failed", -9).exit_code
            (3, 1)
            >>> JobOutcome("succeeded", 0).exit_code, JobOutcome("stopped").exit_code
            (0, 1)
        """
        if self.status == "succeeded":
            return 0
        return 1 if self.status != "failed" or self.killed or not self.code else self.code

    @property
    def has_result(self) -> bool:
        """Whether the driver came to a result; findings and drift are results, too."""
        return self.status == "succeeded" or (self.status == "failed" and self.code in _RESULTS)

    def describe(self) -> str:
        """Describe it in words that can follow the name of a job.

        Example:
            >>> JobOutcome("failed", 137).describe()
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
            "gone": "is lost: the cluster no longer knows it; perhaps its head has restarted",
            "unreachable": f"is out of sight: {self.message}",
        }[self.status]
