"""Checks of what is asked of a benchmark."""

from collections.abc import Sequence

from osteo_ray.base.errors import InputError


def expect_positive(**numbers: Sequence[int]) -> None:
    """Refuse numbers below 1, or none, under the name of their flag.

    Raises:
        InputError: There are such numbers.
    """
    for name, values in numbers.items():
        if min(values, default=0) < 1:
            given = " ".join(map(str, values)) or "none"
            flag = name.replace("_", "-")
            raise InputError(f"Expected numbers of at least 1 for --{flag}, but got {given}.")
