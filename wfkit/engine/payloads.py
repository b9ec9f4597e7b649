"""Tells when what goes into a history is large: it is allowed, but seldom meant."""

from __future__ import annotations

import logging

from msgspec import Raw

from wfkit.core.codec import PAYLOAD_BYTES_WARN

log = logging.getLogger("wfkit.payload")


def warn_if_heavy(data: Raw, what: str, *names: str) -> None:
    """Log a warning for a value of over 256 KiB; `what` says with its `names` which one it is, as in logging."""
    size = memoryview(data).nbytes
    if size > PAYLOAD_BYTES_WARN:
        told = f"{what} takes %d kB as JSON: store the bulk elsewhere in a step, and pass its address"
        log.warning(told, *names, size // 1000)
