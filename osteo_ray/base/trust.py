"""Refuse dangerous content in files and addresses from others; see docs/security.md."""

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa

from osteo_ray.base.errors import InputError

_SECRET = re.compile(
    r"secret|token|signature|password|passwd|credential|account_?key|access_?key|\bsig\b", re.I
)
_EXTENSION = b"ARROW:extension:name"


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

    Raises:
        ValueError: It contains a password, or an option with the name of a secret.

    Example:
        >>> refuse_secrets("s3://bucket/knees?region=eu-west-1")
        's3://bucket/knees?region=eu-west-1'
        >>> refuse_secrets("https://host/knees.csv?X-Amz-Signature=0f")
        Traceback (most recent call last):
        ValueError: Expected an address without keys, because a run keeps it in its files, but the \
address for host contains a secret. Provide keys through the environment of each node.
    """
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    user, at, host = parts.netloc.rpartition("@")
    named = any(_SECRET.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    if named or ":" in user or (at and parts.scheme.startswith("s3")):
        raise ValueError(
            "Expected an address without keys, because a run keeps it in its files, but the "
            f"address for {host} contains a secret. Provide keys through the environment of each "
            "node."
        )
    return uri
