"""What is refused of files and addresses that someone else may have made: see docs/security.md."""

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

    Ray registers types with PyArrow whose values are pickles, in every process that imports Ray
    Data: `to_pandas` and `to_pylist` then run what the pickles say. A table of plain columns needs
    no such type, so none is let through, wherever in a column it stands.

    Args:
        schema: Of the table, before any value of it is looked at.
        place: Of the table.

    Raises:
        InputError: A column is of an extension type.
    """
    for field in schema:
        if _is_extended(field):
            raise InputError(
                f"Expected plain columns in {place}, but `{field.name}` holds {field.type}, which "
                "may run code when it is read. Write it anew with numbers, text and bytes."
            )


def _is_extended(field: pa.Field) -> bool:
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType) or _EXTENSION in (field.metadata or {}):
        return True
    if isinstance(kind, pa.DictionaryType):
        return isinstance(kind.value_type, pa.BaseExtensionType)
    return any(_is_extended(kind.field(number)) for number in range(kind.num_fields))


def refuse_paths(names: Iterable[str], what: str, place: object) -> None:
    """Refuse names that would lead out of a folder if they named a file in it.

    Args:
        names: Such as ids of images, which exports name files after.
        what: They are, for the message.
        place: Where they come from.

    Raises:
        InputError: A name is empty, `.` or `..`, or holds a slash or a control character.
    """
    for name in names:
        text = str(name)
        if text in ("", ".", "..") or re.search(r"[/\\\x00-\x1f]", text):
            raise InputError(
                f"Expected {what} in {place} that can name files, but got {text[:80]!r}. The table "
                "was not written by osteo_ray, or was changed since."
            )


def refuse_secrets(uri: str) -> str:
    """Return a path or URI as it is, unless it holds a key: it will stand in a run's files.

    Raises:
        ValueError: It has a password, or an option that is named like a secret.

    Example:
        >>> refuse_secrets("s3://bucket/knees?region=eu-west-1")
        's3://bucket/knees?region=eu-west-1'
        >>> refuse_secrets("https://host/knees.csv?X-Amz-Signature=0f")
        Traceback (most recent call last):
        ValueError: Expected an address without keys, as it is kept in the files of a run, but got \
one for host with a secret in it. Give keys by the environment of each node.
    """
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    user, at, host = parts.netloc.rpartition("@")
    named = any(_SECRET.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    if named or ":" in user or (at and parts.scheme.startswith("s3")):
        raise ValueError(
            "Expected an address without keys, as it is kept in the files of a run, but got one "
            f"for {host} with a secret in it. Give keys by the environment of each node."
        )
    return uri
