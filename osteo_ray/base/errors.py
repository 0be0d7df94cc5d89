"""The errors with which a command can end."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """The user's input cannot be used; the command ends with exit code 2 and no traceback.

    The message says what was expected, what was found, where, and what to do.
    """


class LeakError(InputError):
    """Images that belong together are in more than one part of a split."""


class IncompleteError(Exception):
    """Something planned did not finish; exit code 1. What finished is kept for the next attempt."""


class StorageError(OSError):
    """Storage failed; `filename` names the place, and `strerror` the reason."""


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean `x`?`` for the most similar known word, or an empty string.

    Example:
        >>> suggest("lmie", ["lime", "original"])
        ' Did you mean `lime`?'
        >>> suggest("zzz", ["lime"])
        ''
    """
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean `{nearest[0]}`?" if nearest else ""
