"""The `osteo-ray` command, which hands each command line to the function that runs it."""

import os
import sys
from collections.abc import Callable, Sequence

from rich.console import Console

from osteo_ray.base.errors import IncompleteError, InputError, StorageError, suggest
from osteo_ray.commands.audit import audit_command
from osteo_ray.commands.check_table import check_table_command
from osteo_ray.commands.compare import compare_command
from osteo_ray.commands.explain import explain_command
from osteo_ray.commands.export import export_command
from osteo_ray.commands.judge import judge_command
from osteo_ray.commands.parsing import BAD_INPUT, DONE, FAILED
from osteo_ray.commands.phantom import phantom_command
from osteo_ray.commands.plan import plan_command
from osteo_ray.commands.protocols import protocols_command
from osteo_ray.commands.report import report_command
from osteo_ray.commands.reproduce import reproduce_command
from osteo_ray.commands.submit import submit_command
from osteo_ray.commands.terminal import ERROR, RESUMABLE, WARNING, say
from osteo_ray.commands.validate import validate_command
from osteo_ray.commands.variance import variance_command

os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")  # a link to pydantic helps no user


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return its exit code.

    0: done; 1: something failed; 2: bad input; 3: an audit or a printed table has findings; 4: a
    reproduced run has drifted.
    """
    return run_safely(_dispatch, list(sys.argv[1:] if argv is None else argv))


def run_safely(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command; turn errors that the user can act on into messages and exit codes."""
    errors = Console(stderr=True)
    try:
        return command(arguments)
    except InputError as error:
        return _end(errors, f"Error: {error}", BAD_INPUT)
    except IncompleteError as error:
        return _end(errors, f"Failed: {error}", FAILED)
    except StorageError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        text = f"Failed: the storage reported an error: {reason}. {RESUMABLE}"
        return _end(errors, text, FAILED)
    except KeyboardInterrupt:  # in a command that keeps nothing
        return _end(errors, "\nInterrupted.", BAD_INPUT, style=WARNING)
    except SystemExit as ended:  # from the parser, which has printed the reason
        return ended.code if isinstance(ended.code, int) else BAD_INPUT


def _end(console: Console, message: str, code: int, style: str = ERROR) -> int:
    say(console, message, style)
    return code


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        console = Console()
        console.print("usage: osteo-ray COMMAND [OPTIONS]\n", highlight=False)
        for name, (_, meaning) in _COMMANDS.items():
            console.print(f"  {name:<12} {meaning}", highlight=False)
        console.print("\nosteo-ray COMMAND --help lists the options of each.", highlight=False)
        return DONE if arguments else BAD_INPUT
    if arguments[0] not in _COMMANDS:
        raise InputError(
            f"Expected a command among {', '.join(_COMMANDS)}, but got `{arguments[0]}`."
            + suggest(arguments[0], _COMMANDS)
        )
    return _COMMANDS[arguments[0]][0](arguments[1:])


_COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "compare": (compare_command, "Train, explain, mask, retrain, compare, and give a verdict."),
    "plan": (plan_command, "Say what a comparison can detect and what it will cost."),
    "protocols": (protocols_command, "Measure how much of a gain the paper's protocol creates."),
    "variance": (variance_command, "Measure how much variance each source of randomness adds."),
    "audit": (audit_command, "Find copies, conflicts and shortcuts in a set of images."),
    "explain": (explain_command, "Explain each image of a set with one trained classifier."),
    "reproduce": (reproduce_command, "Rerun a stored run, or a sample; report what has drifted."),
    "judge": (judge_command, "Judge predictions that anybody made with anything."),
    "submit": (submit_command, "Run compare, audit, explain or reproduce as a job on a cluster."),
    "report": (report_command, "Write the report of a run again from its tables."),
    "export": (export_command, "Write the images as an arm saw them, as a data set for others."),
    "check-table": (check_table_command, "Find printed figures that contradict each other."),
    "phantom": (
        phantom_command,
        "Write a set of synthetic knees, with the truth about them.",
    ),
    "validate": (validate_command, "Measure the error rates of the statistics of osteo_ray."),
}


if __name__ == "__main__":
    sys.exit(main())
