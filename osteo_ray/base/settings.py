"""The base of all groups of settings, and what the command line needs to know of one."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen group of settings; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class OnCommandLine:
    """What the flag of a setting has beyond its name, type and description.

    It stands in the annotation: `Annotated[int, OnCommandLine("--epochs")]`.

    Attributes:
        alias: Another, shorter flag; empty for none.
        choices: Its values, where its type does not list them.
    """

    alias: str = ""
    choices: Sequence[str] = ()
