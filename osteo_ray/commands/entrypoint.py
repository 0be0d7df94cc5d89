"""The entry point of a Ray job: `python -m osteo_ray.commands.entrypoint compare --out …`.

This is what `osteo-ray submit` runs on the cluster. The scripts `jobs/*.py` do the same for Ray's
own `ray job submit`.
"""

import sys
from collections.abc import Sequence

from osteo_ray.base.errors import InputError
from osteo_ray.commands.main import main
from osteo_ray.commands.parsing import BAD_INPUT
from osteo_ray.commands.submittable import check_submittable


def run_entrypoint(command: str, arguments: Sequence[str]) -> int:
    """Run a command as the driver of a Ray job; return its exit code.

    Args:
        command: Its name, such as `compare`.
        arguments: Its flags.
    """
    try:
        check_submittable(command, arguments)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return BAD_INPUT
    except SystemExit as ended:  # the parser has printed help, or what is wrong
        return ended.code if isinstance(ended.code, int) else BAD_INPUT
    return main([command, *arguments])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m osteo_ray.commands.entrypoint COMMAND [FLAGS]")
    sys.exit(run_entrypoint(sys.argv[1], sys.argv[2:]))
