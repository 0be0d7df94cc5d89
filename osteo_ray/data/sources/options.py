"""What the user says about how a source is to be read."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from osteo_ray.data.laterality import Laterality
from osteo_ray.data.sources.columns import read_choices_of_columns

NO_PATTERN = "none"
"""Says that paths name no patients."""


@dataclass(frozen=True)
class SourceOptions:
    """What the user says about how a source is to be read.

    Attributes:
        columns: Name of the column by role; see `columns.choose_columns`.
        root: Folder that the paths of a table or list are relative to, as an absolute path or URI;
            None for the folder that it lies in.
        patient_pattern: Regular expression that finds the patient in the path of an image, `none`
            if paths name no patients, or None if the usual forms are to be tried.
        laterality: Whether films of both knees are cut in two.
        lenient: Whether columns that the source lacks are passed over, as for a second source.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    root: str | None = None
    patient_pattern: str | None = None
    laterality: Laterality = "whole"
    lenient: bool = False

    @classmethod
    def of(
        cls,
        columns: Iterable[str],
        root: str | None,
        patient_pattern: str | None = None,
        laterality: Laterality = "whole",
    ) -> "SourceOptions":
        """Return the options that flags stand for.

        Raises:
            ValueError: An entry of `columns` is not ROLE=COLUMN.
        """
        return cls(read_choices_of_columns(columns), root, patient_pattern, laterality)


def check_pattern(pattern: str) -> str:
    """Return a pattern of patients if it is a regular expression.

    Raises:
        ValueError: It is none, or an empty one.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"Expected a regular expression such as ([0-9]+)_, but got `{pattern}`: {error}."
        ) from None
    if compiled.fullmatch(""):
        raise ValueError(
            f"Expected a regular expression that matches some text, but `{pattern}` matches none "
            f"at all. Write {NO_PATTERN} if paths name no patients."
        )
    return pattern
