"""Searches for training settings: what was tried for a model and an arm, and what was chosen.

Every arm has the same candidates, the same budget and the same rule: of all candidates, that with
the lowest validation loss, on a seed that is used for nothing else. A choice is made once. The
trainings of a comparison that has a choice follow it, and their addresses depend on it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from osteo_ray.base.digests import write_record
from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.forms import GROUP, Form, read_record
from osteo_ray.base.networks import name_folder
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import write_json
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.tuning import Choice, read_training

_TRIED: Form = {"number": int, "settings": GROUP, "losses": list, "aucs": list, "failed": str}
_SEARCH: Form = {"tried": [_TRIED], "chosen": int}


@dataclass(frozen=True)
class Tried:
    """One candidate, and how it did.

    Attributes:
        number: Its number among the candidates.
        settings: What was tried, as plain types.
        losses: Validation loss after each epoch that was run, nats per image.
        aucs: Validation AUC after each of them; None where a class has no image.
        failed: Why it has no result; empty if it has one.
    """

    number: int
    settings: dict[str, Any]
    losses: tuple[float, ...]
    aucs: tuple[float | None, ...] = ()
    failed: str = ""

    @property
    def best(self) -> float:
        """Return the lowest validation loss; infinite if there is none."""
        return min(self.losses, default=float("inf"))


@dataclass(frozen=True)
class Search:
    """The search for one model and arm.

    Attributes:
        model: Name of the model.
        arm: Name of the arm.
        tried: All candidates, by number.
        chosen: The number of the candidate that was chosen.
    """

    model: str
    arm: str
    tried: tuple[Tried, ...]
    chosen: int

    @property
    def n_epochs(self) -> int:
        """Return the epochs that all candidates took together."""
        return sum(len(one.losses) for one in self.tried)


def conclude_search(model: str, arm: str, tried: Sequence[Tried]) -> Search:
    """Choose the candidate with the lowest validation loss, of equal ones the first.

    One that diverged cannot be chosen, however low its loss once was: the trainings of the
    comparison would diverge as well, and have no result.

    Raises:
        IncompleteError: No candidate has a result.
    """
    finished = [one for one in tried if one.losses and not one.failed]
    if not finished:
        raise IncompleteError(
            f"Expected one of {len(tried)} candidates for {model}, {arm} to have a result, but "
            f"none has. The first: {tried[0].failed or 'it ended without one'}. Check "
            "--training.learning-rate, and run the same command again."
        )
    best = min(finished, key=lambda one: (one.best, one.number))
    return Search(model, arm, tuple(tried), best.number)


def place_search(run: Run, model: str, arm: str) -> Place:
    """Return the file of a search."""
    return run.tuning / name_folder(model) / f"{arm}.json"


def write_search(run: Run, search: Search) -> None:
    """Write what a search has found."""
    write_json(place_search(run, search.model, search.arm), asdict(search), write_record)


def read_searches(run: Run, models: Sequence[str], arms: Sequence[str]) -> list[Search]:
    """Return the searches of some models and arms that are finished.

    Raises:
        DamagedError: A record is no JSON, or JSON of another form.
    """
    found = []
    for model in models:
        for arm in arms:
            place = place_search(run, model, arm)
            if place.is_file():
                content = read_record(place, _SEARCH)
                tried = tuple(
                    Tried(
                        one["number"],
                        one["settings"],
                        tuple(one["losses"]),
                        tuple(one["aucs"]),
                        one["failed"],
                    )
                    for one in content["tried"]
                )
                found.append(Search(model, arm, tried, content["chosen"]))
    return found


def read_choices(run: Run, config: CompareConfig) -> tuple[Choice, ...]:
    """Return what the searches of a run have chosen; nothing if no settings are searched."""
    if not config.tuning.trials:
        return ()
    return tuple(
        Choice(one.model, one.arm, read_training(one.tried[one.chosen].settings))
        for one in read_searches(run, config.models, config.arms)
    )
