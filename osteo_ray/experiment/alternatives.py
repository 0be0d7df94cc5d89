"""Which design has the best chance of a settled verdict: the alternatives, and the choice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from osteo_ray.base.formatting import say_number
from osteo_ray.experiment.costs import Parts, count_parts
from osteo_ray.experiment.luck import Assumed
from osteo_ray.experiment.prospects import (
    NONE,
    TWICE,
    Chances,
    Question,
    simulate_chances,
)
from osteo_ray.experiment.simulated_run import Scheme

_SEEDS = (10, 20, 30, 50)
_FOLDS = 5
_FOLD_REPEATS = (2, 10)
_RATIO = (6, 2, 2)
_MORE_IMAGES = (2, 4)


@dataclass(frozen=True)
class Alternative:
    """A design that could be run instead.

    Attributes:
        words: What it is.
        scheme: How it divides the images.
        needs_images: It needs images that are not there yet.
    """

    words: str
    scheme: Scheme
    needs_images: bool = False


@dataclass(frozen=True)
class Assessed:
    """A design with its chances and costs.

    Attributes:
        design: The design.
        none: Chances of the verdicts if there is no difference.
        twice: The same if there is a gain of twice the margin; None where that is impossible.
        cost: Forward passes, as a multiple of those of the planned design.
        hours: On this cluster; None where its speed was not measured.
    """

    design: Alternative
    none: Chances
    twice: Chances | None
    cost: float
    hours: float | None = None

    @property
    def equivalent(self) -> float:
        """Chance of *equivalent* if there is no difference."""
        return self.none.of("equivalent")

    @property
    def gain(self) -> float:
        """Chance of *real gain* if there is a gain of twice the margin."""
        return 0.0 if self.twice is None else self.twice.of("real gain")

    @property
    def false_gain(self) -> float:
        """Chance of *real gain* if there is no difference."""
        return self.none.of("real gain")

    @property
    def settled(self) -> float:
        """Chance of the right verdict if no gain and one of twice the margin are as likely."""
        return (self.equivalent + self.gain) / 2

    def settles(self, power: float) -> bool:
        """Tell whether it finds either truth with at least the wanted probability."""
        return min(self.equivalent, self.gain) >= power


@dataclass(frozen=True)
class Recommendation:
    """The design to run.

    Attributes:
        best: The one with the best chance; None where none has any, or none may be recommended.
        settles: It finds either truth with the wanted probability.
        at_hand: The best that needs no further images, where `best` does; else None.
    """

    best: Assessed | None
    settles: bool
    at_hand: Assessed | None = None


def list_alternatives(
    planned: Scheme, ratio: tuple[int, int, int], *, may_fold: bool = True
) -> list[Alternative]:
    """List designs that differ from the planned one in seeds, folds, ratio or images.

    Args:
        planned: The planned design.
        ratio: Of training, validation and test images.
        may_fold: Whether folds and another ratio are possible.
    """
    parts, folds = planned.parts, planned.folds
    n_images = round(sum(vars(parts).values()))
    seeds = say_number(planned.n_seeds, "seed", "seeds")
    found = []
    for n_seeds in _SEEDS:
        fitting = n_seeds if folds is None else -(-n_seeds // folds) * folds
        scheme = Scheme(fitting, parts, folds, planned.fixed)
        found.append(Alternative(f"{fitting} seeds", scheme))
    if may_fold and not planned.fixed:
        in_folds = count_parts(n_images, ratio, _FOLDS)
        for repeats in _FOLD_REPEATS:
            scheme = Scheme(_FOLDS * repeats, in_folds, _FOLDS)
            found.append(
                Alternative(f"{_FOLDS} folds, {repeats} repeats ({_FOLDS * repeats} seeds)", scheme)
            )
        if folds is None and ratio != _RATIO:
            scheme = Scheme(planned.n_seeds, count_parts(n_images, _RATIO, None))
            words = f"ratio {':'.join(map(str, _RATIO))}, {seeds}"
            found.append(Alternative(words, scheme))
    for times in _MORE_IMAGES:
        more = (
            Parts(parts.train, parts.validation, times * parts.test)
            if planned.fixed
            else Parts(*(times * part for part in vars(parts).values()))
        )
        what = "test images" if planned.fixed else "images"
        found.append(
            Alternative(
                f"{times} times as many {what}, {seeds}",
                Scheme(planned.n_seeds, more, folds, planned.fixed),
                needs_images=True,
            )
        )
    if not planned.fixed:
        train = n_images * ratio[0] / (ratio[0] + ratio[1])
        external = Parts(train, n_images - train, n_images)
        found.append(
            Alternative(
                f"{n_images} test images from elsewhere, the same for all seeds, {seeds}",
                Scheme(planned.n_seeds, external, None, fixed=True),
                needs_images=True,
            )
        )
    kept: dict[Scheme, Alternative] = {}
    for one in found:
        kept.setdefault(one.scheme, one)
    kept.pop(planned, None)
    return list(kept.values())


def assess_design(
    design: Alternative,
    question: Question,
    assumed: Assumed,
    *,
    cost: float,
    hours: float | None,
    n_tables: int,
    seed: int = 0,
) -> Assessed:
    """Simulate a design without a difference, and with a gain of twice the margin."""
    none, twice = (
        simulate_chances(design.scheme, question, assumed, effect, n_tables=n_tables, seed=seed)
        for effect in (NONE, TWICE)
    )
    assert none is not None  # without a difference there is no classifier to look for
    return Assessed(design, none, twice, cost, hours)


def recommend(
    assessed: Sequence[Assessed],
    *,
    alpha: float,
    power: float,
    hours: float | None,
    confirm: Callable[[Assessed], Assessed] = lambda one: one,
) -> Recommendation:
    """Choose the design with the best chance of a settled verdict.

    Of those that find either truth with the wanted probability, it is the cheapest; where none
    does, the one with the best chance. One that finds a gain where there is none in a larger share
    of runs than `alpha` is never chosen, nor one that takes longer than `hours`.

    Args:
        assessed: Designs with their chances.
        alpha: Error rate of a run.
        power: Wanted probability.
        hours: The most that it may take; None for any.
        confirm: Simulates the choice anew, for its chances to be told: of many designs the
            luckiest looks best.
    """
    fitting = [one for one in assessed if hours is None or one.hours is None or one.hours <= hours]
    best = _choose(fitting, alpha, power, confirm)
    if best is None or not best.design.needs_images:
        return Recommendation(best, best is not None and best.settles(power))
    at_hand = [one for one in fitting if not one.design.needs_images]
    return Recommendation(best, best.settles(power), _choose(at_hand, alpha, power, confirm))


def _choose(
    assessed: Sequence[Assessed],
    alpha: float,
    power: float,
    confirm: Callable[[Assessed], Assessed],
) -> Assessed | None:
    left = [one for one in assessed if one.false_gain <= alpha and one.settled > 0]
    while left:
        settling = [one for one in left if one.settles(power)]
        best = (
            min(settling, key=lambda one: (one.design.needs_images, one.cost, -one.settled))
            if settling
            else max(left, key=lambda one: (one.settled, -one.cost))
        )
        confirmed = confirm(best)
        if confirmed.false_gain <= alpha:
            return confirmed
        left.remove(best)
    return None
