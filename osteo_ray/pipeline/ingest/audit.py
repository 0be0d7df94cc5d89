"""What is wrong with a set of images, and which of them belong together."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from osteo_ray.base.progress import Report, ignore_progress
from osteo_ray.data.copies.groups import find_conflicts, join_groups, join_pairs, resolve_conflicts
from osteo_ray.data.settings import ConflictPolicy
from osteo_ray.data.shortcuts import Shortcut, find_shortcuts
from osteo_ray.pipeline.ingest.duplicates import find_copies
from osteo_ray.pipeline.ingest.reading import Ingest

BLANK_CONTRAST = 2.0
"""Standard deviation of gray, in 0..255, below which an image shows nothing."""
_SEEN = {  # a preview may show anatomy, so that it is no finding that it tells the class
    "frame": "format, size and edges of the files",
    "metadata": "format, size, edges and histogram of the files",
}
IMBALANCE = 3.0
"""How many times more images the largest class may have than the smallest."""


@dataclass(frozen=True)
class Audit:
    """An audited set.

    Attributes:
        images: `Ingest.images` with, in addition: given_label, and label as the policy for
            conflicts has it; copies and group (numbers; images of equal number show one radiograph,
            or belong together), conflict, used (bool).
        pairs: Of copies: see `find_copies`; rows of `images`.
        rejects: See `Ingest.rejects`.
        shortcuts: How well the label is told without the anatomy.
    """

    images: pd.DataFrame
    pairs: pd.DataFrame
    rejects: pd.DataFrame
    shortcuts: list[Shortcut]


def audit_images(
    ingest: Ingest, policy: ConflictPolicy, *, report: Report = ignore_progress
) -> Audit:
    """Find copies, conflicts and shortcuts, and say which images belong together.

    Args:
        ingest: What was read.
        policy: What becomes of copies with several labels.
        report: Told how far it is.
    """
    images = ingest.images.rename(columns={"label": "given_label", "split": "given_split"})
    pairs = find_copies(images["digest"].tolist(), ingest.thumbnails, report=report)
    copies = join_pairs(len(images), pairs)
    given = images["given_label"].tolist()
    labels, used = resolve_conflicts(copies, given, policy)
    groups = join_groups(copies, images["patient"].to_numpy())
    images = images.assign(
        label=labels,
        copies=copies,
        group=groups,
        conflict=find_conflicts(copies, given),
        used=used,
    )
    kept = images[images["used"]]
    shortcuts = (
        find_shortcuts(kept, kept["label"].to_numpy(str), kept["group"].to_numpy())
        if len(kept)
        else []
    )
    return Audit(images, pairs, ingest.rejects, shortcuts)


def describe_audit(audit: Audit) -> dict[str, Any]:
    """Return what an audit found, as audit.json has it; images by their paths.

    Groups of copies come largest first. `findings` says in words what should be looked at; an empty
    list is a clean set.
    """
    images = audit.images
    return {
        "n_images": len(images),
        "n_rejects": len(audit.rejects),
        "reject_reasons": dict(Counter(audit.rejects["reason"]).most_common()),
        "classes": _count(images["given_label"]),
        "n_radiographs": int(images["copies"].nunique()),
        "n_groups": int(images["group"].nunique()),
        "n_patients": int(images.loc[images["patient"] >= 0, "patient"].nunique()),
        "copies": _list_groups(images, images["copies"]),
        "exact_copies": _list_groups(images, images["digest"]),
        "conflicts": _list_groups(images[images["conflict"]], images["copies"]),
        "pairs": _list_pairs(audit),
        "blank": images.loc[images["contrast"] < BLANK_CONTRAST, "path"].tolist(),
        "set_aside": int((~images["used"]).sum()),
        "shortcuts": [
            {**asdict(shortcut), "is_found": shortcut.is_found} for shortcut in audit.shortcuts
        ],
        "findings": list_findings(audit),
    }


def list_findings(audit: Audit) -> list[str]:
    """Say in words what is wrong; nothing for a clean set."""
    images, findings = audit.images, []
    n_copies = len(images) - images["copies"].nunique()
    if n_copies:
        groups = images["copies"].value_counts()
        findings.append(
            f"{n_copies} of {len(images)} images are copies: {int((groups > 1).sum())} radiographs "
            f"stand in the set more than once, up to {int(groups.max())} times"
        )
    if images["conflict"].any():
        groups = images.loc[images["conflict"], "copies"].nunique()
        findings.append(
            f"{groups} radiographs stand in several classes, as "
            f"{int(images['conflict'].sum())} images"
        )
    n_blank = int((images["contrast"] < BLANK_CONTRAST).sum())
    if n_blank:
        findings.append(f"{n_blank} images are blank")
    if len(audit.rejects):
        total = len(images) + len(audit.rejects)
        findings.append(f"{len(audit.rejects)} of {total} files cannot be used")
    sizes = images["given_label"].value_counts()
    if sizes.max() > IMBALANCE * sizes.min():
        findings.append(
            f"class {sizes.index[0]} has {sizes.max() / sizes.min():.1f} times as many images as "
            f"{sizes.index[-1]}"
        )
    findings += [
        f"{_SEEN[shortcut.name]} alone tell the class with a balanced accuracy of "
        f"{shortcut.accuracy:.2f} (95 % interval {shortcut.low:.2f} to {shortcut.high:.2f}; "
        f"chance {shortcut.chance:.2f})"
        for shortcut in audit.shortcuts
        if shortcut.is_found and shortcut.name in _SEEN
    ]
    return findings


def _count(values: "pd.Series[str]") -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().items()}


def _list_groups(images: pd.DataFrame, key: "pd.Series[Any]") -> list[list[str]]:
    groups = images.groupby(key.reindex(images.index), sort=False)["path"]
    found = [paths.tolist() for _, paths in groups if len(paths) > 1]
    return sorted(found, key=lambda paths: (-len(paths), paths))


def _list_pairs(audit: Audit) -> list[dict[str, Any]]:
    paths = audit.images["path"].to_numpy()
    return [
        {
            "first": str(paths[pair.first]),
            "second": str(paths[pair.second]),
            "exact": bool(pair.exact),
            "mirrored": bool(pair.mirrored),
            "likeness": round(float(pair.likeness), 4),
        }
        for pair in audit.pairs.itertuples()
    ]
