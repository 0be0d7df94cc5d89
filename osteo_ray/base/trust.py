"""Refuse dangerous content in files and addresses from others; see docs/security.md."""

import re
from collections.abc import Iterable
from urllib.parse import unquote

import pyarrow as pa

from osteo_ray.base.errors import InputError

_SECRET = re.compile(
    r"secret|token|signature|password|passwd|credential|(account|access|api)[_-]?key"
    r"|\bsig\b|^key$",
    re.I,
)
_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role of the machine",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or the service account of the machine",
}
"""Where keys belong, by scheme."""
_EXTENSION = b"ARROW:extension:name"


class AddressError(InputError, ValueError):
    """A path or URI cannot be used; also a ValueError, as which pydantic takes it.

    The message says all that may be said of the address. Never add the address itself, which may
    contain a secret.
    """


def refuse_objects(schema: pa.Schema, place: object) -> None:
    """Refuse a table with columns that become Python objects when they are read.

    In every process that imports Ray Data, Ray registers types with PyArrow whose values are
    pickles. `to_pandas` and `to_pylist` then run the code in these pickles. A table of plain
    columns needs no such type, so all extension types are refused, at any depth of a column.

    Args:
        schema: Schema of the table; call this before any value is read.
        place: Path or URI of the table, for the message.

    Raises:
        InputError: A column is of an extension type.
    """
    for field in schema:
        if _is_extended(field):
            raise InputError(
                f"Expected plain columns in {place}, but `{field.name}` has the type {field.type}, "
                "which can run code when it is read. Rewrite it as numbers, text or bytes."
            )


def _is_extended(field: pa.Field) -> bool:
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType) or _EXTENSION in (field.metadata or {}):
        return True
    if isinstance(kind, pa.DictionaryType):
        return isinstance(kind.value_type, pa.BaseExtensionType)
    return any(_is_extended(kind.field(number)) for number in range(kind.num_fields))


def refuse_paths(names: Iterable[str], what: str, place: object) -> None:
    """Refuse names that, used as names of files, could lead out of their folder.

    Args:
        names: The names, such as ids of images, which exports use for files.
        what: What the names are, for the message.
        place: Where the names come from, for the message.

    Raises:
        InputError: A name is empty, `.` or `..`, or contains a slash or a control character.
    """
    for name in names:
        text = str(name)
        if text in ("", ".", "..") or re.search(r"[/\\\x00-\x1f]", text):
            raise InputError(
                f"Expected {what} in {place} that can name files, but got {text[:80]!r}. The table "
                "was not written by osteo_ray, or was changed afterwards."
            )


def require_consent(given: bool, whose: str) -> None:
    """Refuse to run code that came with results, unless the user has asked for it.

    Args:
        given: Whether the user has given `--run-code`.
        whose: Whose code it is and where it stands, for the message.

    Raises:
        InputError: The user has not.
    """
    if not given:
        raise InputError(
            f"Expected --run-code, since the network {whose} is Python code that would run here "
            "with your permissions, but got none. Read the code first, and add --run-code if you "
            "trust it."
        )


def refuse_secrets(uri: str) -> str:
    """Return a path or URI unchanged unless it contains a key: a run keeps it in its files.

    Args:
        uri: A path or a URI, also behind a name, as in NAME=URI.

    Raises:
        AddressError: It contains a password, a user where that is a key, or an option with the name
            of a secret. The message does not repeat it.

    Example:
        >>> refuse_secrets("s3://bucket/knees?region=eu-west-1")
        's3://bucket/knees?region=eu-west-1'
        >>> refuse_secrets("https://host/knees.csv?X-Amz-Signature=0f")
        Traceback (most recent call last):
        osteo_ray.base.trust.AddressError: Expected an address without keys, because a run keeps \
it in its files, but the address for host contains a secret. Provide keys through the environment, \
on every node.
    """
    before, mark, address = uri.partition("://")
    if not mark:
        return uri
    scheme = re.split(r"[^a-z0-9+.-]", before.lower())[-1]
    place, *rest = re.split(r"[?#]", address, maxsplit=1)
    user, at, host = place.partition("/")[0].rpartition("@")
    is_key = bool(at) and scheme.startswith(("s3", "http"))
    # A slash in a password ends what looks like the host, and leaves what looks like a port.
    port = re.search(r":([^:\]]+)$", host) if scheme.startswith(("s3", "gs", "http")) else None
    is_cut = port is not None and not (scheme.startswith("http") and port[1].isdigit())
    options = re.split(r"[?#&;]", "".join(rest))
    names = (unquote(option.partition("=")[0]) for option in options if "=" in option)
    if ":" in user or is_key or is_cut or any(map(_SECRET.search, names)):
        raise AddressError(
            "Expected an address without keys, because a run keeps it in its files, but the "
            f"address for {'…' if is_cut else host} contains a secret. Provide keys through "
            f"{_KEYS.get(scheme, 'the environment')}, on every node."
        )
    return uri
