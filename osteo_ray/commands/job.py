"""The entry point of a Ray job, on the cluster: `python -m osteo_ray.commands.job compare --out …`.

`osteo-ray submit` has it run there; `jobs/*.py` are the same for `ray job submit`.
"""

import sys
from collections.abc import Sequence

from osteo_ray.base.errors import InputError
from osteo_ray.commands.jobs import check_job
from osteo_ray.commands.main import main
from osteo_ray.commands.parsing import BAD_INPUT


def run_job(name: str, arguments: Sequence[str]) -> int:
    """Run a command as a Ray job; return its exit code.

    Args:
        name: Of the command.
        arguments: Its flags, without the name.
    """
    try:
        check_job(name, arguments)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return BAD_INPUT
    except SystemExit as ended:  # from the parser, which has printed help or what is wrong
        return ended.code if isinstance(ended.code, int) else BAD_INPUT
    return main([name, *arguments])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m osteo_ray.commands.job JOB [OPTIONS]")
    sys.exit(run_job(sys.argv[1], sys.argv[2:]))
