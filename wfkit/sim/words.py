"""Faults in words, as stories tell them."""

from __future__ import annotations

from wfkit.core.durations import display
from wfkit.sim.faults import Fault, plain

_MOMENTS = {
    "start.before_journal": "before the start of {label} was journaled",
    "start.journaled": "after the start of {label} was journaled",
    "step.before": "before {label}() was entered",
    "call.before": "just before {label} was called",
    "call.after": "after {label} took effect, before the step had its answer",
    "step.effect_done_not_journaled": "after {label}() succeeded, before its result was journaled",
    "fail.before_journal": "after {label}() failed, before its failure was journaled",
    "step.journaled": "after the outcome of {label}() was journaled",
    "timer.set": "after the timer was set",
    "timer.fired": "when the timer fired, before that was journaled",
    "timer.journaled": "after the end of the timer was journaled",
    "wait.registered": "when the wait for {label} had begun",
    "event.before_journal": "before {label} was journaled",
    "event.journaled": "after {label} was journaled",
    "child.done_not_journaled": "after child {label} ended, before that was journaled",
    "child.journaled": "after the end of child {label} was journaled",
    "cancel.journaled": "after the request to cancel was journaled",
    "finish.before_journal": "before the end of the run was journaled",
    "finish.journaled": "after the end of the run was journaled",
    "read": "before {label} was read",
    "get": "before {label} was read",
    "put": "before {label} was written",
    "put.after": "after {label} was written",
    "effect": "after {label} happened",
    "commit": "after {label}() committed to its database, before its next statement",
    "journal.append": "before {label} was journaled",
    "journal.fsync": "after {label} was journaled",
    "journal.read": "while it read the history to recover",
}

_KINDS: dict[str, str] = {
    "crash": "worker crashed {moment}",
    "crash_replay": "worker crashed again {moment}",
    "crash_long": "worker crashed {moment}, and is down for {amount}",
    "upgrade": "worker stopped {moment}, to go on with the new code",
    "zombie": "worker is taken for dead {moment}; its call arrives {amount} later",
    "lost_ack": "{label} took effect, and its answer was lost",
    "fail": "{label} failed, and did nothing",
    "fail_n": "{label} does not answer {number} times",
    "fatal": "{label} is refused for good",
    "slow": "{label} took effect, and its answer comes after the timeout",
    "slow_n": "{label} took effect, and its answers come after the timeout, {number} times",
    "outage": "the service behind {label} is down for {amount}",
    "cancel": "cancel requested {moment}",
    "delay": "the step is held up for {amount} {moment}",
    "tie": "several things were ready at once: they came in the other order",
    "dup": "{label} is delivered again, {amount} later",
    "lost_event_ack": "the answer to {label} was lost: its sender sends it again",
    "early": "{label} comes before its time",
    "late": "{label} comes {amount} late",
    "swap": "{label} comes after the delivery that follows it",
    "jump+": "the clock was set {amount} ahead {moment}",
    "jump-": "the clock was set back by {amount} {moment}",
    "freeze": "the clock stood still for 1h {moment}",
    "skew": "worker crashed {moment}; the next one's clock is {amount} behind",
    "big": "{label}() returned more than can be recorded",
    "drop": "{label} is not delivered",
    "dst": "all of it happens around {label}",
    "new_year": "a new year begins while the run is under way",
}

_OF_READS: dict[str, str] = {
    "fail": "{label} failed",
    "slow": "the answer to {label} comes after the timeout",
    "slow_n": "the answers to {label} come after the timeout, {number} times",
}
"""What other words are needed for where nothing takes effect."""


def words(fault: Fault) -> str:
    """Return what a fault is, in words: `worker crashed after charge() succeeded, before its result was journaled`."""
    label = fault.point.label
    kinds = _KINDS | _OF_READS if plain(fault.point.phase) == "read" else _KINDS
    return kinds[fault.kind].format(
        label=label,
        moment=_MOMENTS.get(plain(fault.point.phase), "").format(label=label),
        amount=display(fault.amount),
        number=fault.amount,
    )
