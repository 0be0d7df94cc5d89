"""`osteo-ray card`."""

from typing import Annotated

import tyro
from rich.console import Console

from osteo_ray.base.runs import Run
from osteo_ray.base.storage import reach_folder
from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.help_text import JSON
from osteo_ray.commands.parsing import DONE
from osteo_ray.commands.terminal import say

_CARD_HELP = """\
Write documents about a run or a judgement: a model card, a datasheet of its images, and the
checklists TRIPOD+AI and CLAIM 2024, filled as far as the run knows; an item that it does not know
is "not reported". Beside them, calibration slope and intercept, a decision curve, and subgroups by
side and site where they are known (docs/card.md). --json prints what was written as JSON.
"""


def tell_old_card(console: Console, run: Run) -> None:
    """Say of a run that was judged anew that its documents, if it has any, are older."""
    if run.card.exists():
        say(
            console,
            f"The documents in {run.card} were written before this verdict. `osteo-ray card "
            f"{run.root}` writes them anew.",
        )


def card_command(arguments: list[str]) -> int:
    """Run `osteo-ray card` with these words; return the exit code."""
    as_json = JSON in arguments

    def card(
        run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        out: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None,
    ) -> None:
        """Write documents about a run.

        Args:
            run: Path or URI of a run directory, or of a folder of osteo-ray judge.
            out: Folder for the files; by default `card` in the run directory.
        """
        from osteo_ray.base.runs import open_run
        from osteo_ray.experiment.soundness import refuse_damage
        from osteo_ray.report.card import write_documents
        from osteo_ray.report.page import READ

        opened = open_run(run)
        refuse_damage(opened, READ)
        folder = opened.card if out is None else reach_folder(out)
        found = write_documents(opened, folder)
        if as_json:
            print_json(Console(), {"folder": folder, "card": found})
            return
        for words in found.absent:
            say(Console(), words)
        for name, n in found.n_known.items():
            say(Console(), f"{name}: {n} of {found.n_items[name]} items are filled")
        say(Console(), f"{len(found.files)} files: {folder}")

    words = [word for word in arguments if word != JSON]
    tyro.cli(card, prog="osteo-ray card", description=_CARD_HELP, args=words)
    return DONE
