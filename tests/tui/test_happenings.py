"""The lines that tell what became durable."""

from __future__ import annotations

from wfkit.control.messages import FeedEvent
from wfkit.core.commands import Failure
from wfkit.core.entries import AttemptFailed
from wfkit_tui.happenings import Happenings


def test_of_an_error_the_first_line_is_told() -> None:
    """What a library adds below it would only push aside when the step is tried again."""
    error = Failure("HTTPStatusError", "503 Service Unavailable\nFor more information check: https://example.com")
    seen = Happenings(10)
    failed = AttemptFailed(t=0, n=1, attempt=2, error=error, due=3_000_000)
    seen.add([FeedEvent(pos=1, run=1, id="order-1", seq=1, entry=failed)], lambda _run: None)
    (line,) = seen.lines
    told = "".join(piece.text for piece in line)
    assert told.endswith("✗ #1 attempt 2: HTTPStatusError: 503 Service Unavailable, again in 3s")
