"""When the next attempt of a step comes: arithmetic over a policy, without a clock."""

from __future__ import annotations

from hashlib import blake2b

from wfkit.core.commands import RetryPolicy

DEATHS_MAX = 5
"""How often the process may die under one step, or one activation, before that is held to be the cause."""
SUSPECT_DEATHS = DEATHS_MAX - 2
"""What the process died under so many times in a row, steps and activations alike, goes one at a time: one is the cause."""


def backoff(policy: RetryPolicy, attempt: int, key: str) -> int:
    """Return the wait in microseconds between failed attempt number `attempt` (from 1) and the next one.

    Jitter spreads the wait by up to that fraction in either direction. It derives from the idempotency key, so that it
    is the same after a crash.
    """
    try:
        wait = min(policy.initial * policy.backoff ** (attempt - 1), float(policy.max_interval))
    except OverflowError:  # a policy without end gets there after some 1,000 attempts
        wait = float(policy.max_interval if policy.initial else 0)
    if policy.jitter:
        digest = blake2b(f"{key}/{attempt}".encode(), digest_size=8).digest()
        wait *= 1 + policy.jitter * (2 * int.from_bytes(digest) / 2**64 - 1)
    return round(wait)


def next_attempt(policy: RetryPolicy, attempt: int, key: str, error_types: tuple[str, ...], after: int | None) -> int | None:
    """Decide what follows a failed attempt.

    Args:
        policy: the step's policy.
        attempt: number of the attempt that failed, from 1.
        key: the step's idempotency key.
        error_types: names of the error's class and its bases.
        after: a wait that the error itself asks for (`RetryAfter`), microseconds.

    Returns:
        The wait in microseconds before the next attempt, or None if there is none.
    """
    if any(name in policy.non_retryable for name in error_types):
        return None
    if policy.max_attempts is not None and attempt >= policy.max_attempts:
        return None
    return after if after is not None else backoff(policy, attempt, key)
