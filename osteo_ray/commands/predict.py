"""`osteo-ray predict`."""

import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from osteo_ray.base.errors import InputError
from osteo_ray.base.formatting import say_number
from osteo_ray.base.storage import Place, reach, reach_folder, refuse_obstacle, write_whole
from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.help_text import JSON
from osteo_ray.commands.parsing import DONE, FAILED
from osteo_ray.commands.terminal import WARNING, say

if TYPE_CHECKING:
    import numpy as np

    from osteo_ray.pipeline.predict.predictor import Prediction

_PREDICT_HELP = """\
Predict images with the classifiers of a finished run. For research; not for clinical use.

osteo-ray predict RUN IMAGE [IMAGE ...] takes files and folders. The classifiers of all seeds of
the arm that the verdict recommends predict together: those on whole images, unless a real gain is
shown for masks. Each is calibrated by a temperature that its validation images set, and the mean
of all is printed with the lowest and the highest (docs/predict.md). --json prints the result as
JSON. Exit code 1 if an image could not be read.
"""


def predict_command(arguments: list[str]) -> int:
    """Run `osteo-ray predict` with these words; return the exit code."""
    as_json = JSON in arguments
    code = DONE

    def predict(
        run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")],
        model: str | None = None,
        out: Annotated[str | None, tyro.conf.arg(metavar="FILE.csv")] = None,
        masks: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None,
        run_code: bool = False,
    ) -> None:
        """Predict images with the classifiers of a finished run.

        Args:
            run: Path or URI of the run directory.
            images: Files, and folders of files.
            model: The network; by default the one with the lowest log loss on validation images.
            out: Table to write.
            masks: Folder for a PNG per image: the brighter, the more members keep a pixel. Explains
                images even if the classifiers are shown them whole, which takes time.
            run_code: Run the code that the run brings along, if its network is one from a Python
                file. Do so only if you trust its origin.
        """
        nonlocal code
        from osteo_ray.base.runs import open_run
        from osteo_ray.pipeline.predict.predictor import NOTICE, list_columns, predict_images

        table = None if out is None else _locate_table(out)
        folder = None if masks is None else reach_folder(masks, "--masks")
        files: list[Place] = []
        show = None if folder is None else partial(write_mask, folder, files)
        with redirect_stdout(sys.stderr):  # a network of the user's may print
            found = predict_images(
                open_run(run), images, model=model, show_mask=show, run_code=run_code
            )
        code = FAILED if any(one.error for one in found.images) else DONE
        if table is not None:
            _write(table, list_columns(found).to_csv(index=False, lineterminator="\n").encode())
        if as_json:
            rows = list_columns(found).to_dict(orient="records")
            result = {"notice": NOTICE, "ensemble": found.recommendation, "members": found.members}
            print_json(Console(), {**result, "images": rows, "masks": files})
            return
        show_prediction(Console(), found)
        say(Console(), NOTICE, WARNING)

    words = [word for word in arguments if word != JSON]
    tyro.cli(predict, prog="osteo-ray predict", description=_PREDICT_HELP, args=words)
    return code


def _locate_table(out: str) -> Place:
    place = reach(out)
    if not place.name.endswith(".csv") or place.is_dir():
        raise InputError(f"Expected --out FILE.csv, but got {out}. Name the table to write.")
    refuse_obstacle(place.parent)
    return place


def _write(place: Place, content: bytes) -> None:
    with write_whole(place) as unfinished:
        unfinished.write_bytes(content)


def write_mask(
    folder: Place, written: list[Place], place: int, path: str, keep_shares: "np.ndarray"
) -> None:
    """Write a PNG: a pixel is 255 where the masks of all members keep it, 0 where none does.

    Args:
        folder: Where.
        written: The file is added to it.
        place: Of the image among those that are predicted, from 0; its file counts from 1.
        path: Of the image.
        keep_shares: float, (height, width); the share of members that keep each pixel.
    """
    import io

    import numpy as np
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.round(255 * keep_shares).astype(np.uint8)).save(buffer, "PNG", optimize=True)
    from osteo_ray.data.laterality import read_half

    film, half = read_half(path)
    name = PurePath(film).stem + (f"-{half}" if half else "")
    written.append(folder / f"{place + 1:05d}-{name}.png")
    _write(written[-1], buffer.getvalue())


def show_prediction(console: Console, found: "Prediction") -> None:
    """Print the ensemble, how it is calibrated, and what it says of each image."""
    from rich.table import Column, Table
    from rich.text import Text

    chosen = found.recommendation
    n_members = say_number(len(found.members), "classifier", "classifiers")
    say(console, f"{chosen.why} {n_members} of {chosen.model}.")
    raw = [one.seed for one in found.members if not one.n_validation]
    if raw:
        from osteo_ray.experiment.case import name_seeds

        why = "there are too few validation images, or images of one class only"
        say(console, f"Not calibrated, as {why}: {name_seeds(raw)}.")
    table = Table(
        Column("image", overflow="fold"),
        "predicted",
        "probability",
        "lowest … highest",
        "",
        box=None,
    )
    for one in found.images:
        if one.error:
            table.add_row(Text(one.path), "–", "–", "–", Text(one.error))
            continue
        name = one.predicted
        bounds = f"{one.lowest[name]:.3f} … {one.highest[name]:.3f}"
        share = f"{one.probabilities[name]:.3f}"
        table.add_row(Text(one.path), Text(name), share, bounds, Text(one.note))
    console.print(table)
