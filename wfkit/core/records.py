"""How a record becomes bytes and comes back: JSON, one object a record."""

from __future__ import annotations

import msgspec

from wfkit.core.entries import Record

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)

encode_record = _encoder.encode
decode_record = _decoder.decode
