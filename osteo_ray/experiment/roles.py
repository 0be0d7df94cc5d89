"""Which arm plays which part in a verdict: by the roles of the arms, or as the user says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.arms.pairs import choose_judged, list_controls
from osteo_ray.arms.registry import ARMS, find_roles
from osteo_ray.arms.roles import Candidate, Control, Oracle, SanityCheck
from osteo_ray.base.errors import InputError, suggest

NAMED_CONTROL = "explained by a control"
"""What a gain is called that a control of the user's own accounts for."""


@dataclass(frozen=True)
class ControlRole:
    """A planned control, and what a gain is that it accounts for.

    Attributes:
        name: Of the arm.
        verdict: What the gain is called then.
        meaning: The same as a clause: "a second training performs as well".
        if_as_good_as_baseline: What it means if the control is no worse than the baseline, as a
            clause; None if that means nothing.
        gain_must_survive: It accounts for that part of the gain which it does not show itself.
    """

    name: str
    verdict: str
    meaning: str
    if_as_good_as_baseline: str | None = None
    gain_must_survive: bool = False

    @classmethod
    def of(cls, name: str, role: Control) -> "ControlRole":
        """Take the role from what an arm says of itself."""
        meaning, remark = role.words, role.if_as_good_as_baseline
        return cls(name, role.verdict, meaning, remark, role.gain_must_survive)


@dataclass(frozen=True)
class Roles:
    """Which arm plays which part.

    Attributes:
        baseline: Training on the images as they are.
        judged: Whose gain over the baseline is judged.
        controls: Those planned, in the order in which they are asked.
        needed: Names of the controls without which no gain is called real.
        shuffled: Arms on shuffled labels, which must be at chance, with what it means if not.
        memorising: The arm whose masks come from models that saw the labels; None without one.
        if_only_memorising_gains: What it means if that one alone gains.
        oracles: Arms whose masks know the label.
        is_masked: Masked images are known to be compared with images as they are; arms of the
            user's own may show anything.
    """

    baseline: str
    judged: str
    controls: tuple[ControlRole, ...] = ()
    needed: tuple[str, ...] = ()
    shuffled: tuple[tuple[str, str], ...] = ()
    memorising: str | None = None
    if_only_memorising_gains: str = ""
    oracles: tuple[str, ...] = ()
    is_masked: bool = True

    @property
    def change(self) -> str:
        """What is judged, at the start of a sentence."""
        if self.is_masked:
            return "Training on masked images"
        return f"The change from {self.baseline} to {self.judged}"

    @property
    def credited(self) -> str:
        """What a gain would be credited to."""
        return "the masks" if self.is_masked else self.judged


def assign_roles(arms: Sequence[str], *, goes_on: bool = False) -> Roles:
    """Assign roles by what the arms say of themselves.

    Args:
        arms: Names of the planned arms, in any order.
        goes_on: The masked arms start from the weights of the first model.
    """
    known = [name for name in ARMS if name in arms]
    judged = choose_judged(known)
    candidate = ARMS[judged].role
    alike = [name for name in known if ARMS[name].is_akin(ARMS[judged])]
    lower = [name for name in find_roles(alike, Candidate) if name != judged]
    meaning = candidate.if_only_lower_gains if isinstance(candidate, Candidate) else None
    return Roles(
        baseline=ORIGINAL,
        judged=judged,
        controls=tuple(ControlRole.of(name, role) for name, role in list_controls(known).items()),
        needed=tuple(
            name
            for name, role in find_roles(ARMS, Control).items()
            if ARMS[name].is_akin(ARMS[judged]) and role.is_required(goes_on=goes_on)
        ),
        shuffled=tuple((name, role.words) for name, role in find_roles(known, SanityCheck).items()),
        memorising=lower[0] if lower and meaning else None,
        if_only_memorising_gains=meaning or "",
        oracles=tuple(find_roles(known, Oracle)),
        is_masked=ARMS[judged].guidance is None,
    )


def name_roles(
    arms: Sequence[str],
    *,
    baseline: str | None = None,
    judged: str | None = None,
    controls: Sequence[str] | None = None,
) -> Roles:
    """Assign roles as the user says, and else by what the arms say of themselves.

    Args:
        arms: Names of all arms that there are.
        baseline: The arm that the others are compared with.
        judged: The arm whose gain is judged.
        controls: Arms that a gain must exceed; by default those that are known as controls.

    Raises:
        InputError: A name is none of the arms, one arm is given two parts, or the arms do not tell
            which one is judged.
    """
    for flag, names in (
        ("--baseline", [baseline]),
        ("--judged", [judged]),
        ("--controls", controls or []),
    ):
        for name in names:
            if name is not None and name not in arms:
                raise InputError(
                    f"Expected {flag} to name arms of the table, but got `{name}`; the table has "
                    f"{', '.join(sorted(arms))}.{suggest(name, arms)}"
                )
    found = assign_roles(arms)
    chosen = judged or (found.judged if found.judged in arms else None)
    base = baseline or ORIGINAL
    if chosen is None:
        others = sorted(set(arms) - {base})
        if len(others) != 1:
            raise InputError(
                "Expected an arm whose gain is judged, but the table has none of the arms of "
                f"osteo_ray that can be: it has {', '.join(sorted(arms))}. Name it by --judged."
            )
        chosen = others[0]
    for flag, names in (("--judged", [chosen]), ("--controls", controls or [])):
        for name in names:
            if name == base or (flag == "--controls" and name == chosen):
                part = "the baseline" if name == base else "the arm that is judged"
                raise InputError(
                    f"Expected {flag} to name other arms than the baseline and the judged one, but "
                    f"`{name}` is {part}. Name another."
                )
    if controls is None and (base, chosen) == (found.baseline, found.judged):
        return found
    known = list_controls(
        [name for name in ARMS if name in arms], judged=chosen if chosen in ARMS else None
    )
    wanted = (
        [name for name in known if name not in (base, chosen)] if controls is None else controls
    )
    return Roles(
        baseline=base,
        judged=chosen,
        controls=tuple(
            replace(ControlRole.of(name, known[name]), if_as_good_as_baseline=None)
            if name in known
            else ControlRole(name, NAMED_CONTROL, f"{name} performs as well")
            for name in wanted
        ),
        needed=(),
        shuffled=found.shuffled,
        oracles=tuple(name for name in found.oracles if name != chosen),
        is_masked=base == ORIGINAL and chosen in ARMS and ARMS[chosen].view != "image",
    )
