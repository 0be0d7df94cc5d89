"""What the files of a run are, by their names relative to it: records, spare copies, the rest."""

from pathlib import Path

from osteo_ray.base.digests import DIGESTS, SPARE, name_parent
from osteo_ray.base.runs import Run

SET_ASIDE = "set-aside"
"""The folder of a run to which damaged files are moved."""
COHORT = "cohort"
VARIANCE = "variance.json"
"""What `osteo-ray variance` found."""
FROZEN = "frozen"
"""The folder of OpenVINO's graph beside the masks of `osteo-ray explain`; one file in storage."""
KINDS = frozenset(
    {
        *(COHORT, VARIANCE, FROZEN, f"{FROZEN}.zip"),
        *(
            getattr(Run(Path()), name).name
            for name, value in vars(Run).items()
            if isinstance(value, property)
        ),
    }
) - {"logs", "card"}
"""Names of the files and folders of a run that are checked, all but what is there to be read."""
_DERIVED = frozenset(
    {"predictions", "results", "curves", "comparison", "report", "variance", FROZEN}
)
"""Files of a run, without suffix, that are made from its artifacts when it ends, or goes on."""
_FROM_SOURCE = frozenset({"images", "rejects", "audit", "splits", "regions", "dropped", COHORT})
"""Records, without suffix, that reading the source gives again."""
_FOLDERS = frozenset({"tuning", "networks"})
"""Folders of records."""


def is_checked(top: str) -> bool:
    """Tell of a name in a run whether its files, or those below it, have digests."""
    return top in KINDS or top == SPARE


def split_cohort(name: str) -> tuple[str, str]:
    """Split the name of a file into the folder of its cohort, if it is in one, and the rest.

    Example:
        >>> split_cohort("cohort/0a/pixels/a.parquet"), split_cohort("plan.json")
        (('cohort/0a', 'pixels/a.parquet'), ('', 'plan.json'))
    """
    parts = name.split("/", 2)
    return ("/".join(parts[:2]), parts[2]) if parts[0] == COHORT and parts[2:] else ("", name)


def names_folder(name: str) -> bool:
    """Tell whether a name is that of a folder, so that no file should have it.

    Example:
        >>> names_folder("masks"), names_folder("tuning/net/spare"), names_folder("plan.json")
        (True, True, False)
    """
    cohort, rest = split_cohort(name)
    is_cohort = not cohort and rest.startswith(f"{COHORT}/")
    return is_cohort or (rest in KINDS and "." not in rest) or rest.rpartition("/")[2] == SPARE


def is_derived(name: str) -> bool:
    """Tell whether a file of a run is made again at each end."""
    return "/" not in name and name.partition(".")[0] in _DERIVED


def is_record(name: str) -> bool:
    """Tell whether nothing but a spare copy, or the source, gives a file of a run again."""
    _, rest = split_cohort(name)
    if "/" not in rest:
        return not (is_derived(rest) or names_folder(name) or rest == DIGESTS)
    inside = rest.partition("/")[0] in _FOLDERS
    return inside and not is_spare(rest) and not rest.endswith(f"/{DIGESTS}")


def comes_from_source(record: str) -> bool:
    """Tell of a record whether reading the source again gives it."""
    _, rest = split_cohort(record)
    return rest.partition(".")[0] in _FROM_SOURCE


def is_spare(name: str) -> bool:
    """Tell whether a file is the spare copy of a record."""
    return name_parent(name).rpartition("/")[2] == SPARE


def name_original(name: str) -> str:
    """Return the record that a spare copy is of.

    Example:
        >>> name_original("spare/plan.json"), name_original("tuning/net/spare/lime.json")
        ('plan.json', 'tuning/net/lime.json')
    """
    folder, _, last = name.rpartition("/")
    above = name_parent(folder)
    return f"{above}/{last}" if above else last


def name_spare(name: str) -> str:
    """Return where the spare copy of a record is.

    Example:
        >>> name_spare("plan.json"), name_spare("tuning/net/lime.json")
        ('spare/plan.json', 'tuning/net/spare/lime.json')
    """
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{SPARE}/{last}"
