"""Files that cannot be read as what they should be: one error that names them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import first_line


class DamagedError(InputError, pa.ArrowInvalid):
    """A file of a run cannot be read as what it should be.

    It is a `ValueError` as well, for those who try whether a file can be read.

    Attributes:
        reason: Why, as the reader says it.
    """

    def __init__(self, place: object, reason: str) -> None:
        super().__init__(
            f"Expected {place} as osteo_ray wrote it, but it cannot be read: {reason}. Run the "
            "command that wrote it again, which makes anew what is damaged, or restore it from a "
            "backup."
        )
        self.reason = reason


@contextmanager
def naming_damage(place: object) -> Iterator[None]:
    """Tell which file it was that could not be read in the block.

    Raises:
        DamagedError: The content is not of the form that it should have.
    """
    try:
        yield
    except DamagedError:
        raise
    except (pa.ArrowException, ValueError) as error:
        raise DamagedError(place, first_line(error)) from None
    except OSError as error:
        if error.errno is not None:  # a disk or a network, while PyArrow tells of content without
            raise
        raise DamagedError(place, first_line(error)) from None
