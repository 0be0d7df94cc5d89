"""`osteo-ray export`."""

from typing import Annotated, Literal

import tyro
from rich.console import Console

from osteo_ray.commands.parsing import DONE
from osteo_ray.commands.terminal import say


def export_command(arguments: list[str]) -> int:
    """Run `osteo-ray export` with these words; return the exit code."""

    def export(
        run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        arm: str = "lime",
        form: Annotated[
            Literal["folder", "npz", "parquet", "onnx", "safetensors"], tyro.conf.arg(name="as")
        ] = "folder",
        out: str | None = None,
        models: tuple[str, ...] = (),
        seeds: tuple[int, ...] = (),
        run_code: bool = False,
    ) -> None:
        """Write the images as an arm saw them, or its classifiers, for other tools.

        Args:
            run: Path or URI of the run directory.
            arm: An arm of the run.
            form: Images as a folder of PNG files, NumPy arrays, or a Parquet file, with masks,
                splits and a datasheet; or classifiers as ONNX (needs the package onnx), or as
                safetensors that timm loads.
            out: Where to write; by default exports/ARM-FORM in the run directory.
            models: Models to export; by default all models of the run.
            seeds: Seeds to export; by default all seeds of the run.
            run_code: Run the code that the run brings along, if the network of an exported
                classifier is one from a Python file. Do so only if you trust its origin.
        """
        from osteo_ray.base.runs import open_run
        from osteo_ray.base.storage import reach
        from osteo_ray.pipeline.export.exports import export_run
        from osteo_ray.pipeline.export.networks import NOTICE, export_networks

        place = None if out is None else reach(out)
        if form == "onnx" or form == "safetensors":
            written = export_networks(
                open_run(run), arm, form, out=place, models=models, seeds=seeds, run_code=run_code
            )
            for folder in written:
                say(Console(), f"Written: {folder}")
            say(Console(), NOTICE)
            return
        for data_set in export_run(open_run(run), arm, form, out=place, models=models, seeds=seeds):
            text = "Written" if data_set.is_new else "Already there, left unchanged"
            say(Console(), f"{text}: {data_set.path}")

    tyro.cli(export, prog="osteo-ray export", args=arguments)
    return DONE
