"""The layout of a run directory: where each artifact is.

Every artifact is addressed by what determines it, so a rerun finds what exists and computes only
what is missing.
"""

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from osteo_ray.base.errors import InputError
from osteo_ray.base.storage import Place, reach


@dataclass(frozen=True)
class Run:
    """The paths of one run.

    Attributes:
        root: The run directory: an absolute local path, or a place in object storage.
    """

    root: Place

    @property
    def config(self) -> Place:
        return self.root / "config.yaml"

    @property
    def environment(self) -> Place:
        return self.root / "environment.json"

    @property
    def images(self) -> Place:
        return self.root / "images.parquet"

    @property
    def plan(self) -> Place:
        return self.root / "plan.json"

    @property
    def rejects(self) -> Place:
        return self.root / "rejects.parquet"

    @property
    def audit(self) -> Place:
        return self.root / "audit.json"

    @property
    def splits(self) -> Place:
        return self.root / "splits.parquet"

    @property
    def pixels(self) -> Place:
        return self.root / "pixels"

    @property
    def phantom(self) -> Place:
        return self.root / "phantom"

    @property
    def trials(self) -> Place:
        return self.root / "trials"

    @property
    def tuning(self) -> Place:
        return self.root / "tuning"

    @property
    def networks(self) -> Place:
        return self.root / "networks"

    @property
    def superpixels(self) -> Place:
        return self.root / "superpixels"

    def place_shown_superpixels(self) -> Place:
        """Return where the superpixels are of the images that the report shows."""
        return self.superpixels / "shown"

    @property
    def regions(self) -> Place:
        return self.root / "regions.parquet"

    @property
    def masks(self) -> Place:
        return self.root / "masks"

    @property
    def grid(self) -> Place:
        return self.root / "grid"

    @property
    def faithfulness(self) -> Place:
        return self.root / "faithfulness"

    @property
    def heatmaps(self) -> Place:
        return self.root / "heatmaps"

    @property
    def predictions(self) -> Place:
        return self.root / "predictions.parquet"

    @property
    def results(self) -> Place:
        return self.root / "results.parquet"

    @property
    def curves(self) -> Place:
        return self.root / "curves.parquet"

    @property
    def tensorboard(self) -> Place:
        return self.root / "tensorboard"

    @property
    def conclusions(self) -> Place:
        return self.root / "conclusions.json"

    @property
    def comparison(self) -> Place:
        return self.root / "comparison.json"

    @property
    def report(self) -> Place:
        return self.root / "report.html"

    @property
    def card(self) -> Place:
        return self.root / "card"

    @property
    def logs(self) -> Place:
        return self.root / "logs"


def open_run(text: str) -> Run:
    """Return the run that a user names by a path or URI, whether or not it exists.

    Raises:
        InputError: The URI cannot be opened, or names a file.
    """
    root = reach(text, "a run")
    if root.is_file():
        raise InputError(
            f"Expected a run directory, but {root} is a file. Give the folder that a command named "
            "at its end."
        )
    return Run(root)


def place_logs(run: Run) -> Path:
    """Return a local folder for the files that Ray itself writes while it works on a run.

    They are not needed to resume, so they never go to object storage.
    """
    return run.logs if isinstance(run.logs, Path) else _make_scratch()


@functools.cache
def _make_scratch() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="osteo-ray-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
