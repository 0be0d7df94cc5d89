"""The Python files of users' networks: read and checked first of all, then kept in the run."""

import ast
from collections.abc import Mapping

from osteo_ray.base.digests import write_record
from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.networks import FileReference, read_reference
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import locate
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.network_files import name_file
from osteo_ray.config.setup import SetupConfig
from osteo_ray.experiment.first_weights import read_code


def read_networks(config: SetupConfig) -> dict[str, str]:
    """Read the files of the networks that have one, and find what is wrong without running them.

    Returns:
        The text of the file, by the name of the network.

    Raises:
        InputError: A file cannot be read, is not Python, or does not define its function.
    """
    codes = {}
    for name, file in config.network_files.items():
        try:
            codes[name] = locate(file).read_text(encoding="utf-8-sig")  # editors may leave a mark
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise InputError(
                f"Expected the Python file of the network `{name}`, but {file}: {reason}. Correct "
                "--models, or name the file by --networks."
            ) from None
        reference = read_reference(name)
        assert reference is not None
        _check_definition(codes[name], file, reference)
    return codes


def _check_definition(code: str, file: str, reference: FileReference) -> None:
    try:
        tree = ast.parse(code, file)
    except (SyntaxError, ValueError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise InputError(
            f"Expected Python in {file}, but it cannot be read as such{line} "
            f"({str(error).splitlines()[0]}). Correct the file."
        ) from None
    names = _list_names(tree)
    if reference.function not in names and "*" not in names:
        raise InputError(
            f"Expected a function `{reference.function}` in {file}, but it defines no such name."
            + suggest(reference.function, names)
        )


def _list_names(tree: ast.Module) -> set[str]:
    """List what a module may define at its top; `*` stands for names that only running tells."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(one.asname or one.name).partition(".")[0] for one in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def store_networks(run: Run, codes: Mapping[str, str]) -> None:
    """Keep the files of networks in a run, in place of an earlier version.

    Args:
        run: The run.
        codes: The texts, by the names of the networks.
    """
    for name, code in codes.items():
        reference = read_reference(name)
        assert reference is not None
        place = run.networks / reference.file
        if not place.is_file() or place.read_text(encoding="utf-8") != code:
            with write_record(place) as unfinished:
                unfinished.write_text(code, encoding="utf-8")


def refer_to_run(config: CompareConfig, run: Run) -> CompareConfig:
    """Return a configuration that names the files where the run keeps them.

    The user's may move, and those of a job are deleted with its folder.
    """
    kept = tuple(str(run.networks / name_file(file)) for file in config.networks)
    return config.model_copy(update={"networks": kept})


def has_networks(run: Run, codes: Mapping[str, str]) -> bool:
    """Tell whether a run keeps just these files."""
    try:
        return all(read_code(run, name) == code for name, code in codes.items())
    except InputError:
        return False
