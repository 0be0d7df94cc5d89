"""`osteo-ray init`."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from osteo_ray.base.errors import InputError
from osteo_ray.base.formatting import say_number
from osteo_ray.base.paths import locate_data
from osteo_ray.base.storage import locate_here
from osteo_ray.commands.parsing import DONE
from osteo_ray.commands.terminal import say

if TYPE_CHECKING:
    from osteo_ray.data.sources.listing import Source

_FEW_SITES, _FEW_IMAGES = 2, 200


def init_command(arguments: list[str]) -> int:
    """Run `osteo-ray init` with these words; return the exit code."""

    def init(
        data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")],
        out: Annotated[str, tyro.conf.arg(metavar="FILE")] = "osteo-ray.yaml",
    ) -> None:
        """Write a commented file of settings for the images of DATA, which are not read.

        Args:
            data: Anything that `osteo-ray compare` takes: a folder with a subfolder per class, a
                manifest, an archive.
            out: The file, which must not exist yet.
        """
        # Imported here: pandas takes a second to import, and `--help` does without it.
        from osteo_ray.config.starter import write_starter
        from osteo_ray.data.sources.kinds import open_source

        file = locate_here(out)
        if file.exists():
            raise InputError(f"Expected a new file, but {file} exists. Choose another --out.")
        place = locate_data(data)
        source = open_source(place)
        settings = {"data": place, **_choose_settings(source)}
        heading = [
            f"Settings of `osteo-ray compare --config {file.name}`, for {place}.",
            *_describe_source(source),
            "The lines with # right before a name are defaults: remove the # to change one, and "
            "that of the name of its group if it is indented.",
        ]
        try:
            file.write_text(write_starter(heading, settings), encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"Expected --out to be a file that can be written, but {file}: {error.strerror}."
            ) from None
        console = Console()
        for line in _describe_source(source):
            say(console, line)
        say(console, f"Settings: {file}")
        audit = shlex.join(["osteo-ray", "audit", data])
        compare = shlex.join(["osteo-ray", "compare", "--config", str(file)])
        say(
            console,
            f"Next: `{audit}` for copies and shortcuts, `{compare} --dry-run` for what would be "
            "done, and the same without --dry-run to do it.",
        )

    tyro.cli(init, prog="osteo-ray init", args=arguments)
    return DONE


def _choose_settings(source: "Source") -> dict[str, Any]:
    """Return the settings that follow from what a source says of its images."""
    from osteo_ray.experiment.positive_class import find_positive_class

    items = source.items
    classes = sorted(items["label"].unique())
    found: dict[str, Any] = {}
    if len(classes) == 2:
        positive = find_positive_class(classes)
        if positive.basis == "recognised":
            found["positive_class"] = positive.name
    parts = items.groupby("split")["label"].agg(set)
    if all(parts.get(part) == set(classes) for part in ("train", "validation", "test")):
        found["split"] = "given"
    elif len(items) < _FEW_IMAGES:
        found |= {"folds": 5, "seeds": 10}  # so that each image is tested
    return found


def _describe_source(source: "Source") -> Iterator[str]:
    items = source.items
    counts = ", ".join(f"{name} {n}" for name, n in items["label"].value_counts().items())
    yield f"Found {len(items)} images: {counts}."
    if len(source.refused):
        path, reason = source.refused.iloc[0]
        left_out = say_number(len(source.refused), "entry", "entries")
        yield f"Left out {left_out}; the first is {path}: {reason}."
    sites, parts = (sorted(set(items[column]) - {""}) for column in ("site", "split"))
    if parts:
        yield f"The source names parts of a split: {', '.join(parts)}."
    if sites:
        advice = " `split: site` leaves one out at a time." if len(sites) >= _FEW_SITES else ""
        yield f"The source names {say_number(len(sites), 'site', 'sites')}.{advice}"
    yield from (*source.notes, *source.doubts)
