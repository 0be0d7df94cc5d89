"""An audit on a terminal."""

from typing import Any

from rich.console import Console

from osteo_ray.base.formatting import format_difference, format_interval, format_score
from osteo_ray.commands.terminal import GOOD, WARNING, print_table, say
from osteo_ray.data.attributes import ATTRIBUTES
from osteo_ray.data.copies.kinds import KINDS_FOUND, KINDS_MISSED


def show_audit(console: Console, found: dict[str, Any]) -> None:
    """Show what audit.json holds."""
    patients = "patients, unconfirmed" if found["patients_guessed"] else "known patients"
    counts = {
        "images": found["n_images"],
        **{f"  of class {name}": n for name, n in found["classes"].items()},
        "files refused": found["n_rejects"],
        "copies of another image": found["n_images"] - found["n_radiographs"],
        "  groups of copies": len(found["copies"]),
        "  groups with identical pixels": len(found["exact_copies"]),
        "  groups with conflicting classes": len(found["conflicts"]),
        patients: found["n_patients"],
        "groups that a split keeps whole": found["n_groups"],
        "films of both knees": len(found["films_of_both_knees"]),
        "films that were cut in two": found["films_cut"],
        "blank images": len(found["blank"]),
    }
    print_table(console, ("", ""), counts.items())
    say(console, f"{KINDS_FOUND} {KINDS_MISSED}")
    if found["shortcuts"]:
        print_table(
            console,
            ("seen", "balanced accuracy", "95 % interval", "chance"),
            [
                (
                    shortcut["name"],
                    format_score(shortcut["accuracy"], 2),
                    format_interval(shortcut["low"], shortcut["high"], _show_accuracy),
                    format_score(shortcut["chance"], 2),
                )
                for shortcut in found["shortcuts"]
            ],
            title="How well the class can be predicted without the anatomy",
        )
    if found["attributes"]:
        print_table(
            console,
            ("attribute", "known", "Cramér's V", "class from it", "it from image", "risk"),
            [
                (
                    ATTRIBUTES[one["name"]],
                    one["n_known"],
                    format_score(one["association"], 2),
                    _show_measured(one["of_class"]),
                    _show_measured(one["of_attribute"]),
                    "–" if one["risk"] is None else format_score(one["risk"], 2),
                )
                for one in found["attributes"]
            ],
            title="What else may tell the class (balanced accuracy, 95 % interval / chance)",
        )
    if "against" in found:
        _show_overlap(console, found["against"])
    for leak in found.get("leak", {}).get("models", []):
        interval = format_interval(leak["low"], leak["high"])
        say(
            console,
            f"{leak['model']}: accuracy {format_score(leak['random'])} with copies across the "
            f"split, {format_score(leak['grouped'])} without; difference "
            f"{format_difference(leak['difference'])} (95 % interval {interval})",
        )
    for note in found["reading"]:
        say(console, note)
    for note in found.get("against", {}).get("reading", ()):
        say(console, f"--against: {note}")
    for finding in found["findings"]:
        say(console, f"Finding: {finding}.", WARNING)
    if not found["findings"]:
        say(console, "No problems were found.", GOOD)


def _show_overlap(console: Console, other: dict[str, Any]) -> None:
    n_patients = other["n_shared_patients"]
    counts = {
        "images": other["n_images"],
        **{f"  of class {name}": n for name, n in other["classes"].items()},
        "files refused": other["n_rejects"],
        "show a radiograph of this set": other["n_copies"],
        "  with the same pixels": other["n_same_pixels"],
        "radiographs in both sets": other["n_shared_radiographs"],
        "  with different labels": len(other["disagreements"]),
        "patients in both sets": "–" if n_patients is None else n_patients,
        "images that share neither": other["n_new"],
    }
    print_table(console, ("", ""), counts.items(), title=f"Compared with {other['source']}")
    if other["labels"]:
        rows = [(row["here"], row["there"], row["radiographs"]) for row in other["labels"]]
        columns = ("label here", "label there", "radiographs")
        print_table(console, columns, rows, title="How radiographs in both sets are labelled")


def _show_measured(found: dict[str, Any] | None) -> str:
    if found is None:
        return "–"
    interval = format_interval(found["low"], found["high"], _show_accuracy)
    chance = format_score(found["chance"], 2)
    return f"{format_score(found['accuracy'], 2)} ({interval}) / {chance}"


def _show_accuracy(value: float | None) -> str:
    return format_score(value, 2)
