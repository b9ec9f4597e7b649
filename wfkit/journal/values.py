"""Large values, stored once per run.

A workflow that passes a growing list to a step on every turn would store the square of it. So a payload over 4 KiB is cut
into blocks from its start, and each block is stored once per run, in the first record that holds it:

    {"blocks": {"<hash>": "<text>", ...}, "payloads": [[["entry", "value"], ["<hash>", ...]], ...], "record": {...}}

Inside `record` the payload is null; `payloads` says by path what belongs there. An ordinary body is the record itself and
begins with `{"entry"`, so nothing that a user stores can be taken for a reference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TypeAlias, TypeVar, cast

import msgspec
from msgspec import Raw, Struct

from wfkit.core.entries import Record
from wfkit.core.records import decode_record, encode_record

LARGE_BYTES = 4096
"""A payload longer than this is cut into blocks of this length; a body that is not longer holds none."""
_HASH_BYTES = 12
_NULL = Raw(b"null")
FRAME = b'{"blocks"'
"""How a body begins that holds large values."""

_Path: TypeAlias = list[str | int]
T = TypeVar("T", bound=Struct)


class _Body(Struct, frozen=True):
    blocks: dict[str, str]
    payloads: list[tuple[_Path, list[str]]]
    record: Record


_encode_body = msgspec.json.Encoder().encode
_decode_body = msgspec.json.Decoder(_Body).decode


def is_large(body: bytes) -> bool:
    """Whether a stored body refers to blocks, so that `RunValues` must decode it."""
    return body.startswith(FRAME)


def outline(body: bytes) -> Record:
    """Return the record of a stored body with its large payloads null: enough to tell a run's status."""
    return _decode_body(body).record if is_large(body) else decode_record(body)


class RunValues:
    """What is known of the blocks of one run. It is fed the run's records in order: first by `decode`, then by `encode`.

    Encoding needs only the names of the blocks that are stored; without those of earlier records it stores a block again.
    Decoding needs the blocks themselves, of all earlier records: they are kept until `end_reading`.
    """

    def __init__(self) -> None:
        self._stored: set[str] = set()
        self._blocks: dict[str, bytes] = {}

    def encode(self, record: Record) -> bytes:
        """Return the body to store. It must be stored: later bodies refer to its blocks."""
        body = encode_record(record)
        if len(body) <= LARGE_BYTES:
            return body
        payloads: list[tuple[_Path, list[str]]] = []
        new: dict[str, str] = {}
        for path, payload in _large_payloads(record, []):
            hashes = []
            for block in _cut(payload):
                name = hashlib.blake2b(block, digest_size=_HASH_BYTES).hexdigest()
                hashes.append(name)
                if name not in self._stored:
                    self._stored.add(name)
                    new[name] = block.decode()
            payloads.append((path, hashes))
        if not payloads:
            return body
        for path, _ in payloads:
            record = _replace(record, path, _NULL)
        return _encode_body(_Body(new, payloads, record))

    def decode(self, body: bytes) -> Record:
        """Return the record of a stored body, with its payloads as they were.

        Raises:
            KeyError: the body refers to a block of a record that was not decoded before, or before `end_reading`.
        """
        if not is_large(body):
            return decode_record(body)
        stored = _decode_body(body)
        for name, text in stored.blocks.items():
            self._stored.add(name)
            self._blocks[name] = text.encode()
        record = stored.record
        for path, hashes in stored.payloads:
            record = _replace(record, path, Raw(b"".join([self._blocks[name] for name in hashes])))
        return record

    def end_reading(self) -> None:
        """Let go of the blocks: what comes next is encoded."""
        self._blocks.clear()


def _large_payloads(value: object, path: _Path) -> Iterator[tuple[_Path, bytes]]:
    if isinstance(value, Raw):
        payload = bytes(value)
        if len(payload) > LARGE_BYTES:
            yield path, payload
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from _large_payloads(getattr(value, name), [*path, name])
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _large_payloads(item, [*path, index])


def _cut(payload: bytes) -> Iterator[bytes]:
    """Cut at multiples of the block length from the start, or up to three bytes before, between two characters."""
    start = 0
    while start < len(payload):
        end = start + LARGE_BYTES
        while end < len(payload) and payload[end] & 0xC0 == 0x80:  # a UTF-8 continuation byte
            end -= 1
        yield payload[start:end]
        start = end


def _replace(value: T, path: _Path, payload: Raw) -> T:
    """Return a record with the payload at `path` replaced."""
    name = cast("str", path[0])
    return msgspec.structs.replace(value, **{name: _replaced(getattr(value, name), path[1:], payload)})


def _replaced(value: object, path: _Path, payload: Raw) -> object:
    if not path:
        return payload
    if isinstance(value, tuple):
        index = cast("int", path[0])
        return (*value[:index], _replaced(value[index], path[1:], payload), *value[index + 1 :])
    return _replace(cast("Struct", value), path, payload)
