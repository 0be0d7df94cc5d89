"""Read a source once more, for what a run has lost of it."""

from collections.abc import Callable

from osteo_ray.base.digests import forget_digests, join_name, move_sealed, read_tree, write_record
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import digest_file, remove_tree
from osteo_ray.experiment.healing import Losses
from osteo_ray.experiment.run_files import is_checked, is_record
from osteo_ray.experiment.soundness import tell_names


def read_again(run: Run, lost: Losses, create: Callable[[Run], None]) -> None:
    """Put back what a run has lost of its source, if reading it again gives the same bytes.

    Args:
        run: The run; what it has is left alone.
        lost: What is missing, and what is known of it.
        create: Reads the source into a new run.

    Raises:
        InputError: The source no longer gives it.
    """
    draft = Run(run.root / ".read-again")
    remove_tree(draft.root)
    try:
        create(draft)
        made = {name for name in lost.digests if join_name(draft.root, name).is_file()}
        unlike = [name for name in made if not _put_back(run, draft, name, lost.digests[name])]
    finally:
        remove_tree(draft.root)
    if unlike:
        raise InputError(
            f"Expected the source of {run.root} to give again what the run has lost, but it now "
            f"gives other bytes for {tell_names(unlike)}. Restore what was lost from a backup, or "
            "start anew in another --out."
        )
    # The source never gave these, so a list of digests from elsewhere has named them.
    forget_digests(read_tree(run.root, is_checked), lost.digests.keys() - made)


def _put_back(run: Run, draft: Run, name: str, known: frozenset[str]) -> bool:
    fresh, place = join_name(draft.root, name), join_name(run.root, name)
    if digest_file(fresh) not in known:
        return False
    if is_record(name):
        with write_record(place) as unfinished:
            unfinished.write_bytes(fresh.read_bytes())
    else:
        move_sealed(fresh, place)
    return True
