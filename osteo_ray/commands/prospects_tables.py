"""The chances of each verdict on a terminal, and the design that is recommended."""

from rich.console import Console

from osteo_ray.base.formatting import format_percent
from osteo_ray.commands.terminal import print_table, say
from osteo_ray.experiment.alternatives import Assessed
from osteo_ray.experiment.prospects import MARGIN, NONE, TWICE, Chances
from osteo_ray.experiment.verdict import VERDICTS
from osteo_ray.pipeline.compare.foresight import Foresight
from osteo_ray.pipeline.compare.plan import Plan

_EFFECTS = {
    NONE: "no difference",
    MARGIN: "a gain of the margin",
    TWICE: "a gain of twice the margin",
}
_ALWAYS = ("real gain", "equivalent", "inconclusive")
_UNLIKELY = 0.2


def show_foresight(console: Console, plan: Plan, foresight: Foresight) -> None:
    """Show what the planned comparison would find, and which design would find it more surely."""
    _show_chances(console, plan, foresight)
    for sentence in list_sentences(plan, foresight):
        say(console, sentence)
    _show_designs(console, foresight)
    say(console, describe_recommendation(plan, foresight))


def _show_chances(console: Console, plan: Plan, foresight: Foresight) -> None:
    possible = {effect: one for effect, one in foresight.chances.items() if one is not None}
    found = {name for one in possible.values() for name in one.counts}
    rows = [
        (name, *(_write_chance(one, name) for one in possible.values()))
        for name in VERDICTS
        if name in found or name in _ALWAYS
    ]
    n_tables = possible[NONE].n_tables
    print_table(
        console,
        ("verdict, if there is", *(_EFFECTS[effect] for effect in possible)),
        rows,
        title=f"Chances of each verdict, of {n_tables} simulated runs per column, in %",
    )
    say(
        console,
        f"Behind ±: the standard error that is due to so few simulated runs. Taken to be true: "
        f"{plan.assumptions.basis}; two classes, no copies, every training finishes, and all "
        "controls fail.",
    )


def _write_chance(chances: Chances, verdict: str) -> str:
    return f"{100 * chances.of(verdict):.0f} ± {100 * chances.error_of(verdict):.0f}"


def list_sentences(plan: Plan, foresight: Foresight) -> list[str]:
    """Say in words what can be reached, what cannot, and how often a gain is found that is none."""
    none, twice = foresight.chances[NONE], foresight.chances[TWICE]
    assert none is not None
    sentences = [
        _judge_reach(
            "equivalent",
            none,
            truth="even without any difference",
        )
    ]
    sentences.append(
        f"*real gain* cannot be twice the margin: the baseline's AUC of "
        f"{plan.assumptions.assumed.baseline_auc:.2f} leaves no room for it."
        if twice is None
        else _judge_reach("real gain", twice, truth="even if there is a gain of twice the margin")
    )
    false_gains = none.counts.get("real gain", 0)
    sentences.append(
        f"Without any difference, a real gain is found in {format_percent(none.of('real gain'))} "
        f"of runs ({false_gains} of {none.n_tables}); at most "
        f"{format_percent(plan.question.alpha)} may be."
    )
    if none.mean_seeds is not None:
        found = f"{none.mean_seeds:.1f} seeds on average without any difference"
        if twice is not None and twice.mean_seeds is not None:
            found += f", and after {twice.mean_seeds:.1f} with a gain of twice the margin"
        sentences.append(f"Runs end early where a look settles the verdict: after {found}.")
    return sentences


def _judge_reach(verdict: str, chances: Chances, *, truth: str) -> str:
    share, count = chances.of(verdict), chances.counts.get(verdict, 0)
    found = (
        f"{truth} it is found in {format_percent(share)} of runs ({count} of {chances.n_tables})."
    )
    if count == 0:
        return f"*{verdict}* cannot be shown with this design: {found}"
    if share < _UNLIKELY:
        return f"*{verdict}* is unlikely to be shown with this design: {found}"
    return f"*{verdict}*: {truth.removeprefix('even ')} it is found in {found.split(' in ', 1)[1]}"


def _show_designs(console: Console, foresight: Foresight) -> None:
    measured = any(one.hours is not None for one in foresight.designs)
    print_table(
        console,
        (
            "design",
            "equivalent",
            "real gain",
            "false gain",
            "runs",
            "hours" if measured else "cost",
        ),
        [
            (
                one.design.words + (" *" if one.design.needs_images else ""),
                _write_chance(one.none, "equivalent"),
                "–" if one.twice is None else _write_chance(one.twice, "real gain"),
                _write_chance(one.none, "real gain"),
                str(one.none.n_tables),
                _write_cost(one),
            )
            for one in foresight.designs
        ],
        title="Designs, chances in %",
    )
    say(
        console,
        "equivalent: if there is no difference; real gain: if there is one of twice the margin; "
        "false gain: a real gain if there is none; runs: simulated, per truth; *: needs images "
        "that are not there yet"
        + ("" if measured else "; cost: forward passes, in multiples of the planned design"),
    )


def _write_cost(one: Assessed) -> str:
    return f"× {one.cost:.2g}" if one.hours is None else f"{one.hours:.2g}"


def describe_recommendation(plan: Plan, foresight: Foresight) -> str:
    """Say in words which design to run, or that none can settle the question."""
    found, power = foresight.recommendation, format_percent(plan.design.power)
    within = "" if foresight.hours is None else f" within {foresight.hours:g} hours"
    if found.best is None:
        more = "" if foresight.hours is None else ", more hours"
        return (
            f"Recommended: none. No design of these{within} can be expected to settle the "
            f"question. It takes more images{more}, or a margin that is larger."
        )
    best = _describe(found.best)
    if found.settles:
        text = (
            f"Recommended: {best}. It finds either truth with a chance of at least {power}{within}."
        )
    else:
        text = (
            f"No design of these{within} finds either truth with a chance of {power}. The best: "
            f"{best}."
        )
    if found.at_hand is not None:
        text += f" With the images at hand, the best: {_describe(found.at_hand)}."
    elif found.best.design.needs_images:
        text += f" With the images at hand, no design{within} can be recommended."
    return text


def _describe(one: Assessed) -> str:
    gain = (
        "no gain of twice the margin is possible"
        if one.twice is None
        else f"*real gain* in {format_percent(one.gain)} if there is a gain of twice the margin"
    )
    n_tables = one.none.n_tables
    cost = (
        f"{one.cost:.2g} times the planned work"
        if one.hours is None
        else f"at most {one.hours:.2g} hours"
    )
    return (
        f"{one.design.words} ({gain}, *equivalent* in {format_percent(one.equivalent)} if there is "
        f"no difference, a false gain in {format_percent(one.false_gain)}; {n_tables} simulated "
        f"runs each; {cost})"
    )
