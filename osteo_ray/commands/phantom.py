"""`osteo-ray phantom`."""

from typing import Annotated

import tyro
from rich.console import Console

from osteo_ray.base.errors import InputError
from osteo_ray.base.storage import locate_here
from osteo_ray.commands.parsing import DONE
from osteo_ray.commands.terminal import say
from osteo_ray.data.settings import PhantomSettings


def phantom_command(arguments: list[str]) -> int:
    """Run `osteo-ray phantom` with these words; return the exit code."""

    def phantom(
        out: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")],
        settings: Annotated[PhantomSettings, tyro.conf.arg(name="")] = PhantomSettings(),
    ) -> None:
        """Write a set of synthetic knees, with regions of disease and a list of planted copies.

        Args:
            out: A new or empty folder.
            settings: What the set holds.
        """
        from osteo_ray.base.tables import write_whole
        from osteo_ray.data.phantoms.sets import write_phantoms

        path = locate_here(out, "DIR")
        if path.exists():
            if not path.is_dir() or any(path.iterdir()):
                raise InputError(
                    f"Expected a new or empty folder, but {path} is in use. Choose another folder."
                )
            path.rmdir()
        with write_whole(path) as unfinished:
            write_phantoms(unfinished, settings)
        say(Console(), f"Images: {path / 'images'}")

    tyro.cli(phantom, prog="osteo-ray phantom", args=arguments)
    return DONE
