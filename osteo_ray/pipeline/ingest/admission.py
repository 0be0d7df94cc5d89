"""Admit the images of an external cohort: all but those that a run may know already."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from osteo_ray.data.copies.conflicts import find_conflicts
from osteo_ray.data.copies.groups import join_groups, join_pairs
from osteo_ray.data.copies.thumbnails import join_thumbnails
from osteo_ray.pipeline.ingest.copy_search import find_copies
from osteo_ray.pipeline.ingest.reading import Ingest


@dataclass(frozen=True)
class Admission:
    """Which images of a cohort are used.

    Attributes:
        images: A row per image that is used, sorted by path, with the columns of the images table.
        dropped: A row per image that was read and is not used, sorted by path: path, reason.
        rejects: See `Ingest.rejects`.
    """

    images: pd.DataFrame
    dropped: pd.DataFrame
    rejects: pd.DataFrame


def admit_cohort(known: Ingest, cohort: Ingest, scratch: Path) -> Admission:
    """Drop the images of a cohort that show a radiograph or a patient of a run.

    Copies chain: a copy of a copy is dropped, too, and so is every image of a patient of whom one
    image is a copy of an image of the run. Copies within the cohort that stand in two classes are
    dropped as well, since one of the labels is wrong.

    Args:
        known: The images of the run, read with the same key as the cohort.
        cohort: The images of the cohort.
        scratch: Folder for the thumbnails of both.
    """
    n_known = len(known.images)
    both = pd.concat([known.images, cohort.images], ignore_index=True)
    thumbnails = join_thumbnails(scratch / "both.u8", known.thumbnails, cohort.thumbnails)
    copies = join_pairs(len(both), find_copies(both["digest"].tolist(), thumbnails))
    veiled = np.concatenate([known.veiled, cohort.veiled])
    patients = np.where(veiled == "", -1, np.unique(veiled, return_inverse=True)[1])
    groups = join_groups(copies, patients)
    digests = both["digest"].to_numpy(str)
    reasons = _explain(both["path"].tolist(), n_known, digests, copies, patients, groups)
    images = cohort.images.rename(columns={"split": "given_split"})
    copies, groups = copies[n_known:], groups[n_known:]
    conflict = find_conflicts(copies, images["label"].tolist())
    reasons = [
        reason or ("A copy of it stands in another class." if contradicted else "")
        for reason, contradicted in zip(reasons, conflict, strict=True)
    ]
    images = images.assign(
        given_label=images["label"],
        copies=copies,
        group=groups,
        conflict=conflict,
        used=True,
        reason=reasons,
    )
    is_dropped = images["reason"] != ""
    dropped = images.loc[is_dropped, ["path", "reason"]].reset_index(drop=True)
    kept = images[~is_dropped].drop(columns="reason").reset_index(drop=True)
    return Admission(kept, dropped, cohort.rejects)


def _explain(
    paths: list[str],
    n_known: int,
    digests: np.ndarray,
    copies: np.ndarray,
    patients: np.ndarray,
    groups: np.ndarray,
) -> list[str]:
    """Say why each image of the cohort must go; an empty string if it may stay."""
    of_digest, of_copies, of_patient, of_group = (
        _find_first(values[:n_known]) for values in (digests, copies, patients, groups)
    )
    reasons = []
    for row in range(n_known, len(paths)):
        reason = ""
        if groups[row] in of_group:
            if digests[row] in of_digest:
                reason = f"It has the pixels of {paths[of_digest[digests[row]]]} of the run."
            elif copies[row] in of_copies:
                reason = f"It is a copy of {paths[of_copies[copies[row]]]} of the run."
            elif patients[row] >= 0 and patients[row] in of_patient:
                whose = paths[of_patient[patients[row]]]
                reason = f"Its patient is also that of {whose} of the run."
            else:
                other = paths[of_group[groups[row]]]
                reason = f"It belongs with {other} of the run, by way of copies and patients."
        reasons.append(reason)
    return reasons


def _find_first(values: np.ndarray) -> dict[object, int]:
    """Return the first row of each value."""
    found, rows = np.unique(values, return_index=True)
    return dict(zip(found.tolist(), rows.tolist(), strict=True))
