"""Say in one way that what `--data` names cannot be read."""

from collections.abc import Iterator
from contextlib import contextmanager

from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import first_line


@contextmanager
def expecting(
    what: str, uri: str, advice: str, errors: tuple[type[Exception], ...] = (OSError,)
) -> Iterator[None]:
    """Turn errors in the block into an `InputError` that users can act on.

    Args:
        what: What was expected.
        uri: Where it was expected.
        advice: A sentence that says what to do.
        errors: The errors to turn; an `InputError` passes as it is.

    Raises:
        InputError: One of these errors was raised.

    Example:
        >>> with expecting("a table", "x.csv", "Mend it."):
        ...     raise OSError("gone")
        Traceback (most recent call last):
        osteo_ray.base.errors.InputError: Expected a table, but reading x.csv failed: gone. Mend it.
    """
    try:
        yield
    except InputError:
        raise
    except errors as error:
        raise InputError(
            f"Expected {what}, but reading {uri} failed: {first_line(error)}. {advice}"
        ) from None
