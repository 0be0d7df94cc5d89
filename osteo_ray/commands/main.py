"""The `osteo-ray` command: a thin face on the functions that do the work."""

import os
import sys
from collections.abc import Callable, Sequence

from rich.console import Console

from osteo_ray.base.errors import IncompleteError, InputError, StorageError, suggest
from osteo_ray.commands.compare import (
    compare_command,
    plan_command,
    protocols_command,
    variance_command,
)
from osteo_ray.commands.data import audit_command, phantom_command
from osteo_ray.commands.explain import explain_command
from osteo_ray.commands.parsing import BAD_INPUT, DONE, FAILED
from osteo_ray.commands.reproduce import reproduce_command
from osteo_ray.commands.results import check_table_command, export_command, report_command
from osteo_ray.commands.submit import submit_command
from osteo_ray.commands.validate import validate_command

os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")  # a link to pydantic helps no user


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return its exit code.

    0 done, 1 something failed, 2 bad input, 3 an audit or a printed table has findings, 4 a run
    that was reproduced has drifted.
    """
    return run_safely(_dispatch, list(sys.argv[1:] if argv is None else argv))


def run_safely(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command; turn the errors that a user can do something about into messages and codes."""
    errors = Console(stderr=True)
    try:
        return command(arguments)
    except InputError as error:
        return _end(errors, f"Error: {error}", BAD_INPUT)
    except IncompleteError as error:
        return _end(errors, f"Failed: {error}", FAILED)
    except StorageError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        kept = "What finished is kept; the same command goes on."
        return _end(errors, f"Failed: storage refused: {reason}. {kept}", FAILED)
    except KeyboardInterrupt:  # in a command that leaves nothing to say about what is kept
        return _end(errors, "\nInterrupted.", BAD_INPUT, style="yellow")
    except SystemExit as ended:  # from the parser, which has said why
        return ended.code if isinstance(ended.code, int) else BAD_INPUT


def _end(console: Console, message: str, code: int, style: str = "red") -> int:
    console.print(message, style=style, markup=False, highlight=False, soft_wrap=True)
    return code


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        console = Console()
        console.print("usage: osteo-ray COMMAND [OPTIONS]\n", highlight=False)
        for name, (_, meaning) in _COMMANDS.items():
            console.print(f"  {name:<12} {meaning}", highlight=False)
        console.print("\nosteo-ray COMMAND --help tells the options of each.", highlight=False)
        return DONE if arguments else BAD_INPUT
    if arguments[0] not in _COMMANDS:
        raise InputError(
            f"Expected a command among {', '.join(_COMMANDS)}, but got `{arguments[0]}`."
            + suggest(arguments[0], _COMMANDS)
        )
    return _COMMANDS[arguments[0]][0](arguments[1:])


_COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "compare": (compare_command, "Train, explain, mask, retrain, compare, and give a verdict."),
    "plan": (plan_command, "Say what a comparison could find out, and what it would cost."),
    "protocols": (protocols_command, "Compare by a clean and by the paper's protocol; subtract."),
    "variance": (variance_command, "Say which source of chance makes how much of the variance."),
    "audit": (audit_command, "Find copies, conflicts and shortcuts in a set of images."),
    "explain": (explain_command, "Explain each image of a set with one trained classifier."),
    "reproduce": (reproduce_command, "Rerun a stored run, or a sample, and say what has drifted."),
    "submit": (submit_command, "Run compare, audit, explain or reproduce as a job on a cluster."),
    "report": (report_command, "Write the report of a run again from its tables."),
    "export": (export_command, "Write the images as an arm saw them, as a data set for others."),
    "check-table": (check_table_command, "Say which printed figures contradict each other."),
    "phantom": (phantom_command, "Write a set of synthetic knees, with the truth about them."),
    "validate": (validate_command, "Measure the error rates of the product's own statistics."),
}


if __name__ == "__main__":
    sys.exit(main())
