"""`osteo-ray verify`."""

from typing import Annotated

import tyro
from rich.console import Console

from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.parsing import DONE, FINDINGS

_VERIFY_HELP = """\
Check that the files of a run are as they were written.

osteo-ray verify RUN compares each file with the digest that was noted when it was written, and
counts by kind what is sound, damaged (other content), missing, foreign (not written by the run) or
unverified (without a digest, as earlier versions left it). Nothing is changed: the command that
made the run, run again, restores what is damaged or makes it anew (docs/faults.md). RUN may also be
the --out of osteo-ray explain. Exit code 0: nothing is damaged, missing or foreign; 3: some file
is.
"""


def verify_command(arguments: list[str]) -> int:
    """Run `osteo-ray verify` with these words; return the exit code."""

    def verify(
        run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        json: tyro.conf.FlagCreatePairsOff[bool] = False,
    ) -> tuple[str, bool]:
        """Check the files of a run.

        Args:
            run: Path or URI of the run directory.
            json: Print the findings as JSON.
        """
        return run, json

    text, as_json = tyro.cli(
        verify, prog="osteo-ray verify", description=_VERIFY_HELP, args=arguments
    )
    from osteo_ray.base.runs import open_run
    from osteo_ray.commands.verify_tables import show_inspection
    from osteo_ray.experiment.soundness import inspect_finished

    run = open_run(text)
    found = inspect_finished(run)
    bad = found.list_bad()
    if as_json:
        files = [{"file": one.name, "state": one.state} for one in bad]
        print_json(Console(), {"run": run.root, "kinds": found.count_kinds(), "findings": files})
    else:
        show_inspection(Console(), found)
    return FINDINGS if bad else DONE
