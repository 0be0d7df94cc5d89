"""Describe what an audit found, for audit.json and in words."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import pandas as pd

from osteo_ray.base.formatting import say_number
from osteo_ray.data.attribute_shortcuts import AttributeShortcut
from osteo_ray.data.attributes import ATTRIBUTES
from osteo_ray.data.decoding.remarks import looks_personal_path
from osteo_ray.data.notes import count_notes
from osteo_ray.pipeline.ingest.auditing import Audit

BLANK_CONTRAST = 2.0
"""Standard deviation of gray, in 0..255, below which an image counts as blank."""
_SEEN = {  # a preview may show anatomy, so it is no finding if it predicts the class
    "frame": "format, size and edges of the files",
    "metadata": "format, size, edges and histogram of the files",
}
_FEWEST_PATIENTS, _MOST_BY_CHANCE, _MANY_TIMES = 3, 10, 5
IMBALANCE = 3.0
"""How many times as many images the largest class may have as the smallest."""


def describe_audit(audit: Audit) -> dict[str, Any]:
    """Return what an audit found, in the form of audit.json; paths stand for images.

    The largest groups of copies come first. `findings` says in words what deserves attention; in a
    clean set it is empty.
    """
    images = audit.images
    return {
        "reading": list(audit.notes),
        "n_images": len(images),
        "n_rejects": len(audit.rejects),
        "reject_reasons": dict(Counter(audit.rejects["reason"]).most_common()),
        "classes": _count(images["given_label"]),
        "n_radiographs": int(images["copies"].nunique()),
        "n_groups": int(images["group"].nunique()),
        "n_patients": int(images.loc[images["patient"] >= 0, "patient"].nunique()),
        "patients_guessed": audit.guessed,
        "copies": _list_groups(images, images["copies"]),
        "exact_copies": _list_groups(images, images["digest"]),
        "conflicts": _list_groups(images[images["conflict"]], images["copies"]),
        "pairs": _list_pairs(audit),
        "films_of_both_knees": images.loc[images["film"] == images["path"], "path"].tolist(),
        "films_cut": int(images.loc[_find_halves(images), "film"].nunique()),
        "blank": images.loc[images["contrast"] < BLANK_CONTRAST, "path"].tolist(),
        "remarks": dict(count_notes(images["remarks"]).most_common()),
        "set_aside": int((~images["used"]).sum()),
        "shortcuts": [
            {**asdict(shortcut), "is_found": shortcut.is_found} for shortcut in audit.shortcuts
        ],
        "attributes": [_describe_attribute(one) for one in audit.attributes],
        "findings": list_audit_findings(audit),
    }


def list_audit_findings(audit: Audit) -> list[str]:
    """Say in words what deserves attention; an empty list for a clean set."""
    images = audit.images
    findings = [doubt.removesuffix(".") for doubt in audit.doubts]
    findings += doubt_patients(images["patient"])
    n_copies = len(images) - images["copies"].nunique()
    if n_copies:
        groups = images["copies"].value_counts()
        repeated = say_number(int((groups > 1).sum()), "radiograph occurs", "radiographs occur")
        findings.append(
            f"{n_copies} of {len(images)} images are copies: {repeated} more than once, up to "
            f"{int(groups.max())} times"
        )
    n_conflicts = images.loc[images["conflict"], "copies"].nunique()
    if n_conflicts:
        found = say_number(n_conflicts, "radiograph occurs", "radiographs occur")
        n_images = int(images["conflict"].sum())
        findings.append(f"{found} in several classes, as {n_images} images in all")
    findings += _describe_films(images)
    n_blank = int((images["contrast"] < BLANK_CONTRAST).sum())
    if n_blank:
        findings.append(say_number(n_blank, "image is blank", "images are blank"))
    findings += [
        f"{say_number(count, 'image', 'images')}: {remark}"
        for remark, count in count_notes(images["remarks"]).most_common()
    ]
    n_named = int(images["path"].map(looks_personal_path).sum())
    if n_named:
        named = say_number(n_named, "path holds", "paths hold")
        findings.append(f"{named} what looks like a patient's name or birth date")
    if len(audit.rejects):
        total = len(images) + len(audit.rejects)
        findings.append(f"{len(audit.rejects)} of {total} files cannot be used")
    sizes = images["given_label"].value_counts()
    if sizes.max() > IMBALANCE * sizes.min():
        findings.append(
            f"class {sizes.index[0]} has {sizes.max() / sizes.min():.1f} times as many images as "
            f"class {sizes.index[-1]}"
        )
    findings += [
        f"{_SEEN[shortcut.name]} alone predict the class with a balanced accuracy of "
        f"{shortcut.accuracy:.2f} (95 % interval {shortcut.low:.2f} to {shortcut.high:.2f}; "
        f"chance {shortcut.chance:.2f})"
        for shortcut in audit.shortcuts
        if shortcut.is_found and shortcut.name in _SEEN
    ]
    findings += [_say_attribute(one) for one in audit.attributes if one.of_class.is_found]
    return findings


def _describe_attribute(one: AttributeShortcut) -> dict[str, Any]:
    return {
        **asdict(one),
        "is_found": one.of_class.is_found,
        "utility": one.utility,
        "detectability": one.detectability,
        "risk": one.risk,
    }


def _say_attribute(one: AttributeShortcut) -> str:
    told = one.of_class
    text = (
        f"the {ATTRIBUTES[one.name]} alone predicts the class with a balanced accuracy of "
        f"{told.accuracy:.2f} (95 % interval {told.low:.2f} to {told.high:.2f}; chance "
        f"{told.chance:.2f})"
    )
    seen = one.of_attribute
    if seen is not None and seen.is_found:
        text += (
            f", and a small preview of the image tells it with {seen.accuracy:.2f} (chance "
            f"{seen.chance:.2f}), so that a classifier may learn it instead of the disease"
        )
    return text


def _find_halves(images: pd.DataFrame) -> "pd.Series[bool]":
    return (images["film"] != "") & (images["film"] != images["path"])


def _describe_films(images: pd.DataFrame) -> list[str]:
    """Say which images are films of both knees, or halves of films that share one label."""
    n_whole = int((images["film"] == images["path"]).sum())
    if n_whole:
        films = images.loc[images["film"] == images["path"]]
        n_wide = int((films["width"] > films["height"]).sum())
        looks = say_number(n_whole, "image looks", "images look")
        return [
            f"{looks} like a film of both knees: a gap parts two sides that are alike in gray and "
            f"structure, and {n_wide} of {n_whole} are wider than high; `--laterality split` cuts "
            "such films into two images of one patient"
        ]
    halves = images[_find_halves(images)]
    unlabelled = halves.loc[halves["item"] == halves["film"], "film"]
    if unlabelled.empty:
        return []
    films = say_number(unlabelled.nunique(), "film of both knees was", "films of both knees were")
    return [
        f"{films} cut, and both halves have the label of their film, though one knee may be "
        "healthy; if labels are per knee, give a table with a row for each side (columns path, "
        "side, label)"
    ]


def doubt_patients(patients: "pd.Series[int]") -> list[str]:
    """Say whether the identifier of a patient is so frequent that it may stand for none.

    Args:
        patients: Number of the patient of each image, -1 if unknown.
    """
    sizes = patients[patients >= 0].value_counts()
    if len(sizes) < _FEWEST_PATIENTS:
        return []
    largest, usual = int(sizes.max()), float(sizes.median())
    if largest < max(_MOST_BY_CHANCE, 0.05 * len(patients)) or largest < _MANY_TIMES * usual:
        return []
    return [
        f"{largest} of {len(patients)} images are said to be of one patient, who usually "
        f"has {usual:g}: the identifier may stand for unknown ones; if so, leave it empty"
    ]


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
            "change": str(pair.change),
            "likeness": round(float(pair.likeness), 4),
        }
        for pair in audit.pairs.itertuples()
    ]
