"""Where the Python files of users' networks lie, apart from the names of the networks."""

from typing import Any

from osteo_ray.base.networks import read_reference
from osteo_ray.base.paths import locate_file


def name_file(file: str) -> str:
    """Return the name of a file without its folder.

    Example:
        >>> name_file("/home/me/net.py"), name_file("s3://bucket/net.py")
        ('net.py', 'net.py')
    """
    return file.rpartition("/")[2]


def separate_files(models: Any, networks: Any) -> tuple[Any, Any]:
    """Separate the names of models from the folders of their files.

    A folder that is given with a model counts; without one, the file is that of the same name among
    `networks`, or else in the working directory.

    Args:
        models: Names of networks, those of Python files with or without a folder.
        networks: Paths or URIs of Python files.

    Returns:
        The names without folders, and the absolute paths of the files that they need. What is no
        list of texts comes back as it is, for others to refuse.

    Raises:
        ValueError: Files of different folders have the same name, or a URI contains a secret.

    Example:
        >>> separate_files(["resnet18", "/home/me/net.py:make"], [])
        (('resnet18', 'net.py:make'), ('/home/me/net.py',))
        >>> separate_files(["net.py:make"], ["/job/net.py"])
        (('net.py:make',), ('/job/net.py',))
    """
    models = (models,) if isinstance(models, str) else models
    networks = (networks,) if isinstance(networks, str) else networks
    if not all(
        isinstance(entries, list | tuple) and all(isinstance(entry, str) for entry in entries)
        for entries in (models, networks)
    ):
        return models, networks
    given = {name_file(file): locate_file(file) for file in networks}
    names: list[str] = []
    files: dict[str, str] = {}
    for model in models:
        path, _, function = model.rpartition(":")
        name = f"{name_file(path)}:{function}"
        reference = read_reference(name)
        names.append(model if reference is None else name)
        if reference is None:
            continue
        is_placed = "/" in path or reference.file not in given
        place = locate_file(path) if is_placed else given[reference.file]
        if files.setdefault(reference.file, place) != place:
            raise ValueError(
                f"Expected files of different names, but got {files[reference.file]} and {place}, "
                "whose results could not be told apart. Rename one."
            )
    return tuple(names), tuple(files.values())
