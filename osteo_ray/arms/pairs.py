"""Which arms are compared with which, derived from their roles."""

from collections.abc import Sequence

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.arms.registry import ARMS, find_roles
from osteo_ray.arms.roles import Baseline, Candidate, Control, Oracle, SanityCheck


def choose_judged(arms: Sequence[str]) -> str:
    """Return the arm whose gain over the baseline is judged, whether or not it is planned.

    That is the planned candidate with the highest precedence: out-of-fold LIME masks if they are
    planned. If no candidate is planned, it is the paper's.

    Example:
        >>> choose_judged(["original", "lime", "lime_crossfit"]), choose_judged(["original"])
        ('lime_crossfit', 'lime')
    """
    planned = find_roles(arms, Candidate)
    if planned:
        return max(planned, key=lambda name: planned[name].precedence)
    return next(name for name in find_roles(ARMS, Candidate) if "paper" in ARMS[name].presets)


def list_controls(arms: Sequence[str], judged: str | None = None) -> dict[str, Control]:
    """Return the controls among some arms, in the order in which the verdict examines them.

    A control belongs to the judged arm if the two are akin (`Arm.is_akin`).

    Args:
        arms: Names of arms.
        judged: The arm that is judged; by default the one that `choose_judged` returns.

    Example:
        >>> list(list_controls(["lime", "random_mask", "silhouette", "gradcam"]))
        ['silhouette', 'random_mask']
    """
    examined = ARMS[judged or choose_judged(arms)]
    known = [name for name in ARMS if name in arms and ARMS[name].is_akin(examined)]
    found = find_roles(known, Control)
    return dict(sorted(found.items(), key=lambda item: item[1].place))


def list_primary(arms: Sequence[str]) -> list[tuple[str, str]]:
    """List the contrasts (arm, baseline) that the verdict rests on, the primary one first.

    Example:
        >>> list_primary(["original", "lime", "silhouette"])
        [('lime', 'original'), ('silhouette', 'original'), ('lime', 'silhouette')]
    """
    judged = choose_judged(arms)
    if judged not in arms:
        return []
    pairs = [(judged, ORIGINAL)]
    alike = [name for name in arms if ARMS[name].is_akin(ARMS[judged])]
    for lower in find_roles(alike, Candidate):
        pairs += [(lower, ORIGINAL), (lower, judged)] if lower != judged else []
    controls = list_controls(arms)
    pairs += [(name, ORIGINAL) for name, role in controls.items() if role.if_better_than_baseline]
    pairs += [(judged, name) for name in controls]
    pairs += [(name, ORIGINAL) for name, role in controls.items() if role.gain_must_survive]
    pairs += [(name, ORIGINAL) for name, role in controls.items() if role.if_as_good_as_baseline]
    for oracle in find_roles(arms, Oracle):
        pairs += [(oracle, ORIGINAL), (judged, oracle)]
    return list(dict.fromkeys(pairs))


def list_secondary(arms: Sequence[str]) -> list[tuple[str, str]]:
    """List the contrasts that are shown beside the primary ones: every other arm with the baseline.

    An arm with shuffled labels is in none of them: it is compared with chance.
    """
    primary = set(list_primary(arms))
    pairs = [(arm, ORIGINAL) for arm in arms if arm != ORIGINAL and not ARMS[arm].shuffled]
    return [pair for pair in pairs if pair not in primary]


def list_against_chance(arms: Sequence[str]) -> list[str]:
    """List the arms that are compared with chance: the baseline, then the sanity checks.

    Example:
        >>> list_against_chance(["permuted_labels", "lime", "original"])
        ['original', 'permuted_labels']
    """
    return [*find_roles(arms, Baseline), *find_roles(arms, SanityCheck)]
