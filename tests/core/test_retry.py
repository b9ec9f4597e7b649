"""When the next attempt comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfkit.core.commands import RetryPolicy
from wfkit.core.retry import backoff, next_attempt

SECOND = 1_000_000

policies = st.builds(
    RetryPolicy,
    max_attempts=st.none() | st.integers(1, 20),
    initial=st.integers(0, 3600 * SECOND),
    backoff=st.floats(1, 1e300),
    max_interval=st.integers(0, 3600 * SECOND),
    jitter=st.floats(0, 1),
)


def test_waits_grow_by_the_factor_up_to_the_longest() -> None:
    """1, 2, 4, 8 seconds, then the limit."""
    policy = RetryPolicy(max_attempts=None, max_interval=5 * SECOND)
    assert [backoff(policy, attempt, "key") for attempt in range(1, 6)] == [
        SECOND,
        2 * SECOND,
        4 * SECOND,
        5 * SECOND,
        5 * SECOND,
    ]


@given(policies, st.integers(1, 10**6))
def test_a_wait_is_never_beyond_its_bounds(policy: RetryPolicy, attempt: int) -> None:
    """However many attempts there were, and however steep the policy: no overflow, nothing negative."""
    wait = backoff(policy, attempt, "key")
    assert 0 <= wait <= policy.max_interval * (1 + policy.jitter) + 1


@given(policies, st.integers(1, 50), st.text(max_size=5))
def test_a_wait_is_the_same_after_a_crash(policy: RetryPolicy, attempt: int, key: str) -> None:
    """Jitter derives from the key and the attempt, not from chance."""
    assert backoff(policy, attempt, key) == backoff(policy, attempt, key)


def test_jitter_spreads_the_waits_of_different_runs() -> None:
    """In both directions, and not beyond its fraction."""
    policy = RetryPolicy(jitter=0.5)
    waits = [backoff(policy, 1, f"key-{i}") for i in range(200)]
    assert min(waits) < 0.7 * SECOND < 1.3 * SECOND < max(waits)
    assert all(0.5 * SECOND <= wait <= 1.5 * SECOND for wait in waits)


@pytest.mark.parametrize(("attempt", "wait"), [(1, SECOND), (3, 4 * SECOND), (4, None), (5, None)])
def test_attempts_include_the_first(attempt: int, wait: int | None) -> None:
    """A policy of 4 waits three times."""
    assert next_attempt(RetryPolicy(max_attempts=4), attempt, "key", ("ValueError",), None) == wait


def test_without_a_limit_there_is_always_another_attempt() -> None:
    """Also the ten-thousandth."""
    assert next_attempt(RetryPolicy(max_attempts=None), 10_000, "key", ("ValueError",), None) == 60 * SECOND


def test_an_error_that_is_not_to_be_retried_ends_the_step() -> None:
    """Its own name counts, and those of its bases."""
    policy = RetryPolicy(non_retryable=("NonRetryable", "CardError"))
    assert next_attempt(policy, 1, "key", ("CardDeclined", "CardError", "Exception"), None) is None
    assert next_attempt(policy, 1, "key", ("NonRetryable", "Exception"), 5) is None
    assert next_attempt(policy, 1, "key", ("ConnectionError",), None) == SECOND


def test_an_error_may_ask_for_its_own_wait() -> None:
    """It replaces the policy's wait, also beyond the longest; it gives no further attempt."""
    policy = RetryPolicy(max_attempts=2)
    assert next_attempt(policy, 1, "key", ("RetryAfter",), 3600 * SECOND) == 3600 * SECOND
    assert next_attempt(policy, 1, "key", ("RetryAfter",), 0) == 0
    assert next_attempt(policy, 2, "key", ("RetryAfter",), 0) is None
