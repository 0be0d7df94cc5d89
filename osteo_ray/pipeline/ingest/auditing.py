"""Audit a set of images: find copies, conflicts and shortcuts, and what belongs together."""

from dataclasses import dataclass

import pandas as pd

from osteo_ray.data.attribute_shortcuts import AttributeShortcut, find_attribute_shortcuts
from osteo_ray.data.copies.conflicts import find_conflicts, resolve_conflicts
from osteo_ray.data.copies.groups import join_groups, join_pairs
from osteo_ray.data.settings import ConflictPolicy
from osteo_ray.data.shortcuts import Shortcut, find_shortcuts
from osteo_ray.pipeline.ingest.copy_search import find_copies
from osteo_ray.pipeline.ingest.reading import Ingest


@dataclass(frozen=True)
class Audit:
    """An audited set.

    Attributes:
        images: `Ingest.images` with label as the policy for conflicts leaves it, and in addition:
            given_label; copies and group (numbers; images with equal numbers show one radiograph,
            or belong together); conflict and used (bool).
        pairs: Pairs of copies, as `find_copies` returns them; positions in `images`.
        rejects: See `Ingest.rejects`.
        shortcuts: How well the label is predicted without the anatomy.
        attributes: What site, device, view, side, age and sex tell of the class.
        notes: How the source was read; see `Ingest.notes`.
        doubts: What only the user can decide; see `Source.doubts`.
        guessed: Whether patients are what paths suggest; see `Source.guessed`.
    """

    images: pd.DataFrame
    pairs: pd.DataFrame
    rejects: pd.DataFrame
    shortcuts: list[Shortcut]
    attributes: list[AttributeShortcut]
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    guessed: bool = False


def audit_images(ingest: Ingest, policy: ConflictPolicy) -> Audit:
    """Find copies, conflicts and shortcuts in a set, and join what belongs together.

    Args:
        ingest: The images as they were read.
        policy: Decides about copies with several labels; see `resolve_conflicts`.
    """
    images = ingest.images.rename(columns={"label": "given_label", "split": "given_split"})
    pairs = find_copies(images["digest"].tolist(), ingest.thumbnails)
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
    shortcuts: list[Shortcut] = []
    attributes: list[AttributeShortcut] = []
    if len(kept):
        labels, numbers = kept["label"].to_numpy(str), kept["group"].to_numpy()
        shortcuts = find_shortcuts(kept, labels, numbers)
        attributes = find_attribute_shortcuts(kept, labels, numbers)
    told = (ingest.notes, ingest.doubts, ingest.guessed)
    return Audit(images, pairs, ingest.rejects, shortcuts, attributes, *told)
