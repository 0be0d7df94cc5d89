"""What two sets of images share: radiographs, patients, and labels that disagree."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from osteo_ray.data.copies.groups import join_groups, join_pairs
from osteo_ray.data.copies.thumbnails import join_thumbnails
from osteo_ray.pipeline.ingest.copy_search import find_copies
from osteo_ray.pipeline.ingest.reading import Ingest

_HERE, _THERE = "here", "there"


def describe_overlap(here: Ingest, there: Ingest, scratch: Path) -> dict[str, Any]:
    """Find what one set shares with another, in the form of `against` in audit.json.

    Args:
        here: The audited set, read with the same key as the other.
        there: The set that it is compared with.
        scratch: Folder for the thumbnails of both.

    Returns:
        n_images, n_rejects, classes: of the other set; n_shared_radiographs; n_copies and
        n_same_pixels: images of the other set that show a radiograph of the audited one, and those
        of them with equal pixels; n_shared_patients; n_of_shared_patients: images of the other set;
        both None if one of the sets does not name its patients; n_new: images of the other set that
        share neither, copies and patients joined in chains;
        labels: a row for each pair of labels that a shared radiograph has here and there, with the
        number of radiographs; disagreements: shared radiographs whose labels differ, with paths and
        labels; pairs: as in audit.json, with labels, the first of the audited set, those with
        different labels first; findings: in words.
    """
    n_here = len(here.images)
    both = pd.concat([here.images, there.images], ignore_index=True)
    side = np.where(np.arange(len(both)) < n_here, _HERE, _THERE)
    thumbnails = join_thumbnails(scratch / "both.u8", here.thumbnails, there.thumbnails)
    pairs = find_copies(both["digest"].tolist(), thumbnails)
    copies = join_pairs(len(both), pairs)
    veiled = np.concatenate([here.veiled, there.veiled])
    patients = np.where(veiled == "", -1, np.unique(veiled, return_inverse=True)[1])
    table = pd.DataFrame(
        {
            "side": side,
            "path": both["path"],
            "label": both["label"],
            "copies": copies,
            "patient": patients,
            "group": join_groups(copies, patients),
        }
    )
    radiographs = _list_shared(table, "copies")
    shared = {
        name: set(values)
        for name, values in (
            ("copies", [number for number, _ in radiographs]),
            ("patient", [number for number, _ in _list_shared(table[patients >= 0], "patient")]),
            ("group", [number for number, _ in _list_shared(table, "group")]),
        )
    }
    theirs = table[n_here:]
    digests = set(here.images["digest"])
    are_named = here.names_patients and there.names_patients
    labels, disagreements = _compare_labels(radiographs)
    found: dict[str, Any] = {
        "n_images": len(there.images),
        "n_rejects": len(there.rejects),
        "classes": dict(Counter(there.images["label"].tolist()).most_common()),
        "n_shared_radiographs": len(radiographs),
        "n_copies": int(theirs["copies"].isin(shared["copies"]).sum()),
        "n_same_pixels": int(there.images["digest"].isin(digests).sum()),
        "n_shared_patients": len(shared["patient"]) if are_named else None,
        "n_of_shared_patients": (
            int(theirs["patient"].isin(shared["patient"]).sum()) if are_named else None
        ),
        "n_new": int((~theirs["group"].isin(shared["group"])).sum()),
        "labels": labels,
        "disagreements": disagreements,
        "pairs": _list_pairs(pairs, table, n_here),
    }
    return {**found, "findings": _say(found, set(here.images["label"]), len(table) - n_here)}


def _list_shared(table: pd.DataFrame, name: str) -> list[tuple[int, pd.DataFrame]]:
    """List the groups of a column that have images on both sides."""
    sides = table.groupby(name)["side"].transform("nunique")
    return [(int(number), rows) for number, rows in table[sides > 1].groupby(name, sort=False)]


def _compare_labels(
    radiographs: list[tuple[int, pd.DataFrame]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Count the labels of shared radiographs on both sides, and list where these differ."""
    counts: Counter[tuple[str, str]] = Counter()
    disagreements = []
    for _, rows in radiographs:
        sides = {side: rows[rows["side"] == side] for side in (_HERE, _THERE)}
        labels = {side: sorted(set(part["label"])) for side, part in sides.items()}
        counts.update((one, other) for one in labels[_HERE] for other in labels[_THERE])
        if labels[_HERE] != labels[_THERE]:
            disagreements.append(
                {
                    side: {"paths": part["path"].tolist(), "labels": labels[side]}
                    for side, part in sides.items()
                }
            )
    rows = [
        {_HERE: here, _THERE: there, "radiographs": count}
        for (here, there), count in sorted(counts.items())
    ]
    return rows, disagreements


def _list_pairs(pairs: pd.DataFrame, table: pd.DataFrame, n_here: int) -> list[dict[str, Any]]:
    """List the pairs across: those with different labels first, then the least alike."""
    across = pairs[(pairs["first"] < n_here) & (pairs["second"] >= n_here)]
    paths, labels = table["path"].tolist(), table["label"].tolist()
    rows = [
        {
            "first": paths[pair.first],
            "second": paths[pair.second],
            "first_label": labels[pair.first],
            "second_label": labels[pair.second],
            "exact": bool(pair.exact),
            "mirrored": bool(pair.mirrored),
            "change": str(pair.change),
            "likeness": round(float(pair.likeness), 4),
        }
        for pair in across.itertuples()
    ]
    return sorted(
        rows, key=lambda row: (row["first_label"] == row["second_label"], row["likeness"])
    )


def _say(found: dict[str, Any], classes: set[str], total: int) -> list[str]:
    findings = []
    if found["n_copies"]:
        findings.append(
            f"{found['n_copies']} of {total} images of the other set show a radiograph of this one"
        )
    if found["n_of_shared_patients"]:
        findings.append(
            f"{found['n_of_shared_patients']} of {total} images of the other set are of a patient "
            f"of this one; patients in both: {found['n_shared_patients']}"
        )
    if found["disagreements"]:
        findings.append(
            f"{len(found['disagreements'])} of {found['n_shared_radiographs']} radiographs that "
            "both sets hold are labelled differently"
        )
    theirs = set(found["classes"])
    for names, where in ((classes - theirs, "this set"), (theirs - classes, "the other set")):
        if names:
            findings.append(f"only {where} has the class {', '.join(sorted(names))}")
    return findings
