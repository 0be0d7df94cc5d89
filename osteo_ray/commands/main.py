"""The `osteo-ray` command, which hands each command line to the function that runs it."""

import importlib.metadata
import io
import os
import sys
from collections.abc import Callable, Sequence

from pydantic import ValidationError
from rich.console import Console

from osteo_ray.base.errors import IncompleteError, InputError, StorageError, suggest
from osteo_ray.base.startup import end_quickly
from osteo_ray.commands.audit import audit_command
from osteo_ray.commands.card import card_command
from osteo_ray.commands.check_table import check_table_command
from osteo_ray.commands.compare import compare_command
from osteo_ray.commands.completion import completion_command
from osteo_ray.commands.explain import explain_command
from osteo_ray.commands.export import export_command
from osteo_ray.commands.failures import describe_failure
from osteo_ray.commands.figures import figures_command
from osteo_ray.commands.help_text import HELP_ALL
from osteo_ray.commands.init import init_command
from osteo_ray.commands.judge import judge_command
from osteo_ray.commands.parsing import BAD_INPUT, DONE, FAILED
from osteo_ray.commands.phantom import phantom_command
from osteo_ray.commands.plan import plan_command
from osteo_ray.commands.predict import predict_command
from osteo_ray.commands.protocols import protocols_command
from osteo_ray.commands.report import report_command
from osteo_ray.commands.reproduce import reproduce_command
from osteo_ray.commands.submit import submit_command
from osteo_ray.commands.terminal import ERROR, RESUMABLE, WARNING, say
from osteo_ray.commands.validate import validate_command
from osteo_ray.commands.variance import variance_command
from osteo_ray.commands.verify import verify_command
from osteo_ray.config.problems import describe_problems

os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")  # a link to pydantic helps no user
end_quickly()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return its exit code.

    0: done; 1: something failed; 2: bad input; 3: an audit, a printed table or a check of files has
    findings; 4: a reproduced run has drifted.
    """
    for stream in (sys.stdout, sys.stderr):  # names of files need not be text in any encoding
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return run_safely(_dispatch, list(sys.argv[1:] if argv is None else argv))


def run_safely(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command; turn errors that the user can act on into messages and exit codes."""
    errors = Console(stderr=True)
    try:
        code = command(arguments)
        sys.stdout.flush()  # here, where a reader that has gone away is no error
        return code
    except ValidationError as error:  # of settings that a command derives from those it was given
        return _end(errors, f"Error: {describe_problems(error)}", BAD_INPUT)
    except BrokenPipeError:  # `osteo-ray … | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
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
    except Exception as error:
        told = describe_failure(error)
        if told is None:
            raise
        return _end(errors, *told)


def _end(console: Console, message: str, code: int, style: str = ERROR) -> int:
    say(console, message, style)
    return code


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", HELP_ALL):
        _show_commands()
        return DONE if arguments else BAD_INPUT
    if arguments[0] in ("-V", "--version"):
        print(f"osteo-ray {importlib.metadata.version('osteo-ray')}")
        return DONE
    commands = {name: run for group in COMMANDS.values() for name, (run, _) in group.items()}
    if arguments[0] not in commands:
        raise InputError(
            f"Expected a command among {', '.join(commands)}, but got `{arguments[0]}`."
            + suggest(arguments[0], commands)
        )
    return commands[arguments[0]](arguments[1:])


def _show_commands() -> None:
    lines = ["usage: osteo-ray COMMAND [DATA] [OPTIONS]"]
    for title, group in COMMANDS.items():
        lines += ["", f"{title}:", *(f"  {name:<12} {says}" for name, (_, says) in group.items())]
    lines += [
        "",
        "osteo-ray compare --demo shows all of it on synthetic knees, in minutes.",
        "osteo-ray COMMAND --help lists the usual options of each, --help-all every one.",
    ]
    print("\n".join(lines))


def _complete(arguments: list[str]) -> int:
    meanings = {name: says for group in COMMANDS.values() for name, (_, says) in group.items()}
    return completion_command(arguments, meanings)


COMMANDS: dict[str, dict[str, tuple[Callable[[list[str]], int], str]]] = {
    "What are my images": {
        "init": (init_command, "Write a commented file of settings for what is in a folder."),
        "audit": (audit_command, "Find copies, conflicts and shortcuts in a set of images."),
        "phantom": (phantom_command, "Write a set of synthetic knees, with the truth about them."),
    },
    "Does masking help, and is the gain real": {
        "plan": (plan_command, "Say what a comparison can detect and what it will cost."),
        "compare": (compare_command, "Train, explain, mask, retrain, compare; give a verdict."),
        "protocols": (protocols_command, "Measure how much of a gain the protocol creates."),
        "variance": (variance_command, "Measure what each source of randomness contributes."),
    },
    "What does a classifier look at": {
        "explain": (explain_command, "Explain each image of a set with a trained classifier."),
    },
    "Can a result be believed": {
        "judge": (judge_command, "Judge predictions that anybody made with anything."),
        "check-table": (check_table_command, "Find printed figures that contradict each other."),
        "reproduce": (reproduce_command, "Rerun a stored run; report what has drifted."),
        "validate": (validate_command, "Measure the error rates of osteo_ray's statistics."),
    },
    "What a run leaves": {
        "predict": (predict_command, "Predict images with the classifiers of a run."),
        "report": (report_command, "Write the report of a run again, or one about several."),
        "verify": (verify_command, "Check that the files of a run are as they were written."),
        "figures": (figures_command, "Write figures and tables for a paper."),
        "card": (card_command, "Write a model card, a datasheet and filled checklists."),
        "export": (export_command, "Write images as an arm saw them, or classifiers."),
    },
    "Clusters and shells": {
        "submit": (submit_command, "Run a command as a job on a Ray cluster, and follow it."),
        "completion": (_complete, "Print a script with which a shell completes commands."),
    },
}
"""By the question that they answer."""


if __name__ == "__main__":
    sys.exit(main())
