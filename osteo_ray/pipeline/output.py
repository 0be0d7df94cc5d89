"""The output directory of a job: where it is, whether the job may use it, and how it is filled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pandas as pd
import pyarrow as pa

from osteo_ray.base.digests import write_record
from osteo_ray.base.errors import InputError
from osteo_ray.base.paths import PHANTOM
from osteo_ray.base.runs import Run
from osteo_ray.base.settings import Settings
from osteo_ray.base.storage import fill_directory, is_free, reach_folder
from osteo_ray.base.tables import REJECTS, write_table, write_yaml
from osteo_ray.cluster.placement import Layout
from osteo_ray.config.parts import Devices
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.experiment.dataset import read_devices
from osteo_ray.experiment.records import restore_identity
from osteo_ray.pipeline.ingest.intake import check_unchanged


def check_devices(run: Run, layout: Layout) -> None:
    """Refuse to go on with a run on another class of device than it began on.

    Raises:
        InputError: It began on a CPU and would go on on a GPU, or the other way round.
    """
    before = read_devices(run)
    here = Devices(layout.slot.device, layout.explainer.device)
    if before != here:
        raise InputError(
            f"Expected to compute on the device on which the run in {run.root} began "
            f"({_name_devices(before)}), but this cluster would use {_name_devices(here)}, which "
            "gives other digits. Give another --out, or choose the device: "
            "--resources.gpus-per-worker 0 for the CPU, 1 for a GPU."
        )


def _name_devices(devices: Devices) -> str:
    if devices.training == devices.explaining:
        return devices.training
    return f"{devices.training}, and {devices.explaining} for explaining"


def locate_output(
    out: str | None,
    default: str,
    *,
    what: str,
    list_differences: Callable[[Run], list[str] | None],
    say: Callable[[str], None] = lambda text: None,
) -> Run:
    """Return the output directory of a job, whether or not it exists yet.

    Args:
        out: What the user gave as `--out`.
        default: Path of the directory if the user gave none.
        what: What such a directory holds, with its article.
        list_differences: Given a directory with a config.yaml, returns how it differs from what the
            job would write; None if the job did not write it.
        say: Told if its records had to be restored.

    Raises:
        InputError: The directory cannot be written to, holds something else, or holds the results
            of other settings.
    """
    run = Run(reach_folder(default if out is None else out))
    if is_free(run.root, run.config.name):
        return run
    restore_identity(run, say)
    reason = "it holds something else"
    differences = None
    if run.config.is_file():
        try:
            differences = list_differences(run)
        except InputError as error:
            reason = f"its {run.config.name} is not valid: {str(error).splitlines()[0]}"
    if differences is None:
        raise InputError(
            f"Expected --out to be a new or empty folder, or {what}, but got {run.root}: {reason}"
            f"{'' if reason.endswith('.') else '.'} Choose another --out."
        )
    if differences:
        raise InputError(
            f"Expected --out to be a new folder, or {what} with the same settings, but the one in "
            f"{run.root} differs in {'; '.join(differences)}. Choose another --out, or repeat the "
            "earlier settings to resume it."
        )
    return run


def list_source(
    data: str,
    phantom: PhantomSettings,
    run: Run,
    options: SourceOptions,
    *,
    labels_needed: bool = True,
) -> Source | PhantomSettings:
    """List the images of a source, or return the settings of the phantoms to draw.

    Args:
        data: What the user gave as `--data`.
        phantom: Settings of the phantoms that are drawn if the user gave no source.
        run: The output directory; a job that was begun there must find the same files.
        options: What the user says about how it is to be read.
        labels_needed: Whether each image must have a class.

    Raises:
        InputError: The source cannot be used, or has changed since the job began.
    """
    if data == PHANTOM:
        return phantom
    source = open_source(data, options, labels_needed=labels_needed)
    check_unchanged(source, run)
    return source


@contextmanager
def fill_output(
    run: Run, config: Settings, confirm: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Fill a new output directory in the block. It counts as existing once it has a config.yaml.

    Args:
        run: The directory.
        config: The configuration of the job.
        confirm: Called after the block; if either raises, nothing stays in the directory.
    """
    with fill_directory(run.root):
        yield
        confirm()
        write_yaml(run.config, config.model_dump(mode="json"), write_record)


def write_images(run: Run, images: pd.DataFrame, schema: pa.Schema, rejects: pd.DataFrame) -> None:
    """Write the tables of the images that were accepted, and of those that were rejected."""
    for path, table, columns in ((run.images, images, schema), (run.rejects, rejects, REJECTS)):
        part = pa.Table.from_pandas(table[columns.names], columns, preserve_index=False)
        write_table(path, part, how=write_record)
