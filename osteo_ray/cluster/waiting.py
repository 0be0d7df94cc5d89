"""Wait for nodes that an autoscaler, or somebody, adds to the connected cluster."""

import time
from collections.abc import Callable

from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.cluster.autoscaler import Answer, asking_for
from osteo_ray.cluster.placement import Layout, count_resources, describe_shortage
from osteo_ray.cluster.settings import WAIT_FOR_AUTOSCALER_S

_LOOK_INTERVAL_S = 1.0
_SAY_INTERVAL_S = 60.0
_ANSWER_S = 30.0
"""Time for an autoscaler to report: it looks every 5 s, and may be busy, or itself just start."""
_MAY_HELP = (Answer.PRESENT, Answer.STARTING)


def wait_for_room(
    look: Callable[[], Layout], given_s: float | None, say: Callable[[str], None]
) -> Layout:
    """Ask for what a layout lacks, and wait for it as long as it may come.

    Args:
        look: Returns the layout on the nodes that there are.
        given_s: How long to wait whatever an autoscaler says; None to wait only for one that runs.
        say: Receives what is waited for, and how long yet.

    Raises:
        InputError: There is no room, and no autoscaler that can make any.
        IncompleteError: There was no room in time.
    """
    layout = look()
    if given_s == 0:
        raise InputError(describe_shortage(layout))
    wait = _Wait(look, given_s, say)
    while not layout.fits:
        layout = wait.ask(layout)
    return layout


class _Wait:
    """A wait that lasts until its time is up, whatever is asked for meanwhile."""

    def __init__(
        self, look: Callable[[], Layout], given_s: float | None, say: Callable[[str], None]
    ) -> None:
        self.look, self.given_s, self.say = look, given_s, say
        self.wait_s = WAIT_FOR_AUTOSCALER_S if given_s is None else given_s
        self.until = time.monotonic() + self.wait_s

    def ask(self, layout: Layout) -> Layout:
        """Ask for what a layout lacks; return that of the nodes that have come.

        They have room, or call for something else: the first one may have a GPU, which each worker
        then gets.
        """
        asked, asked_at, say_at = layout.least, time.monotonic(), 0.0
        with asking_for(asked) as demand:
            while not layout.fits and layout.least == asked:
                answer, passed_s = demand.hear(), time.monotonic() - asked_at
                left_s = self.until - time.monotonic()
                if self.given_s is None and _is_hopeless(answer, passed_s):
                    raise InputError(describe_shortage(layout, f" ({answer.value})"))
                if left_s <= 0:
                    waited = f" after waiting {self.wait_s:g} s for nodes ({answer.value})"
                    raise IncompleteError(describe_shortage(layout, waited))
                if passed_s >= say_at and (answer in _MAY_HELP or self.given_s):
                    self.say(_describe(layout, left_s, answer))
                    say_at = passed_s + _SAY_INTERVAL_S
                time.sleep(min(_LOOK_INTERVAL_S, left_s))
                layout = self.look()
        return layout


def _is_hopeless(answer: Answer, passed_s: float) -> bool:
    """Tell whether to refuse; later on, the autoscaler's limits or its luck may change again.

    Args:
        answer: The autoscaler's.
        passed_s: Time since it was asked.
    """
    if passed_s > _ANSWER_S:
        return answer is Answer.SILENT
    return answer in (Answer.ABSENT, Answer.IMPOSSIBLE)


def _describe(layout: Layout, left_s: float, answer: Answer) -> str:
    wanted = f"{layout.workers} × ({layout.slot})"
    if layout.explainer != layout.slot:
        wanted += f", and {layout.explainer} for an explaining actor"
    return (
        f"wait up to {left_s:.0f} s for nodes: {wanted} needed, {count_resources(layout)} there; "
        f"{answer.value}"
    )
