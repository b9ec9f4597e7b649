"""What people write into a field, as JSON."""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

_BEGINS_JSON = re.compile(r'[\[{"]')


def as_json(text: str, type: str) -> Raw:
    """Return the JSON value that is meant by what was written for a parameter.

    Args:
        text: JSON; a text may stand without its quotes.
        type: the parameter's type hint as it is written: for a `str`, `7` is a text.

    Raises:
        ValueError: it begins like JSON, and is none.
    """
    kinds = [kind.strip() for kind in type.split("|")]
    is_text = "str" in kinds and not text.startswith('"') and not (text == "null" and "None" in kinds)
    if is_text and not (len(kinds) > 1 and _BEGINS_JSON.match(text)):
        return Raw(msgspec.json.encode(text))
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        if _BEGINS_JSON.match(text):
            raise ValueError(f"this is not JSON: {str(error).removeprefix('JSON is malformed: ')}") from None
        return Raw(msgspec.json.encode(text))
    return Raw(text.encode())


def as_written(value: Raw, type: str) -> str:
    """Return a JSON value as it would be written into a field: a text without its quotes, if it needs none."""
    text = bytes(msgspec.json.format(value, indent=0)).decode()
    found = msgspec.json.decode(value)
    if isinstance(found, str) and found and bytes(as_json(found, type)) == bytes(Raw(msgspec.json.encode(found))):
        return found
    return text
