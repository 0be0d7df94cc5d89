"""The base of all groups of settings, and what the command line needs to know of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_core import PydanticCustomError

NOT_A_SWITCH = "not_a_switch"
"""The kind of error for true or false in place of a number."""


class Settings(BaseModel):
    """A frozen group of settings; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _refuse_switches(
        cls, value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """Refuse true and false for a number, since pydantic takes them for 1 and 0."""
        found = validate(value)
        kind = cls.model_fields[str(info.field_name)].annotation
        if _holds_switch(value) and not _takes_switch(kind):
            raise PydanticCustomError(NOT_A_SWITCH, "Input should be a number")
        return found


def _holds_switch(value: Any) -> bool:
    return isinstance(value, bool) or (
        isinstance(value, list | tuple) and any(isinstance(one, bool) for one in value)
    )


def _takes_switch(kind: Any) -> bool:
    return kind in (bool, Any) or isinstance(kind, bool) or any(map(_takes_switch, get_args(kind)))


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
