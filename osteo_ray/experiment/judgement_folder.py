"""The folder that a judgement of tables is written to."""

from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

import pyarrow as pa

from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, find_obstacle, reach, remove_tree
from osteo_ray.base.tables import read_json, write_json, write_table, write_whole
from osteo_ray.experiment.judge_tables import Judgement


def locate_judgement(out: str) -> Run:
    """Return the folder that a judgement may be written to: new, empty, or an earlier judgement.

    Raises:
        InputError: It holds something else, or cannot be written to.
    """
    run = Run(reach(out))
    place = run.root
    problem = find_obstacle(place) if isinstance(place, Path) else None
    if problem is None and place.exists() and not _is_free(run):
        problem = f"{place} holds something else"
    if problem is not None:
        raise InputError(
            "Expected --out to be a new or empty folder, or an earlier judgement, which is "
            f"replaced, but {problem}. Choose another --out."
        )
    return run


def is_judgement(run: Run) -> bool:
    """Tell whether a folder holds a judgement of tables, and not a run."""
    if not run.comparison.is_file():
        return False
    try:
        found = read_json(run.comparison)
    except ValueError:  # cut off, or not ours
        return False
    return isinstance(found, dict) and "judgement" in found


def keep_judgement(run: Run, judged: Judgement) -> None:
    """Write the tables of a judgement, which replace those of an earlier one, and its page.

    The predictions are kept so that figures can be drawn wherever the folder goes. All files appear
    together, once each is written, since a verdict beside the tables of another would mislead.
    """
    with ExitStack() as together:

        def put_off(place: Place) -> AbstractContextManager[Path]:
            return nullcontext(together.enter_context(write_whole(place)))

        results, images = (
            pa.Table.from_pandas(table, preserve_index=False)
            for table in (judged.results, judged.images)
        )
        write_table(run.results, results, how=put_off)
        write_table(run.predictions, judged.predictions, how=put_off)
        write_table(run.images, images, how=put_off)
        # The last of them appears first; it tells whose folder this is.
        write_json(run.comparison, judged.comparison, put_off)
        remove_tree(run.report)


def _is_free(run: Run) -> bool:
    tables = (run.results, run.predictions, run.images)
    ours = {place.name for place in (run.comparison, run.report, run.card, *tables)}
    # Digests are hidden, and so is what a system notes of a folder that somebody has looked at.
    names = {place.name for place in run.root.iterdir() if not place.name.startswith(".")}
    return not names or (names <= ours and is_judgement(run))
