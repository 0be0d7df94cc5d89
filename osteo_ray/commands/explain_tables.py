"""What explaining a set of images came to, on a terminal."""

from rich.console import Console

from osteo_ray.commands.terminal import WARNING, print_table, say
from osteo_ray.pipeline.explain.summary import ExplanationSummary


def show_explanations(console: Console, found: ExplanationSummary) -> None:
    """Show how many images were explained, and why the first that failed did."""
    seconds = found.seconds_per_image
    counts: dict[str, str | int] = {
        "images": found.n_images,
        "  explained": found.n_images - found.n_failed,
        "    in this run of the command": found.n_new,
        "  failed": found.n_failed,
        "files refused": found.n_refused,
        "seconds per image, start-up included": "–" if seconds is None else f"{seconds:.3g}",
    }
    print_table(console, ("", ""), counts.items())
    if found.n_failed:
        images = "1 image" if found.n_failed == 1 else f"{found.n_failed} images"
        text = f"{images} could not be explained. The first was {found.first_failure}"
        say(console, text, WARNING)
    for note, n in found.notes:
        say(console, f"{'1 mask' if n == 1 else f'{n} masks'}: {note}.")
