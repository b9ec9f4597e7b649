"""What faults do where they strike: to the process, to its clock, to a step's call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from wfkit.api.attempt import Attempt
from wfkit.api.definitions import NonRetryable, Step
from wfkit.core.codec import PAYLOAD_BYTES_MAX
from wfkit.errors import CodecError
from wfkit.sim.faults import ANSWERED, ASKED, HOUR, Fault
from wfkit.sim.services import FOREVER, Calling, Pause, Request

if TYPE_CHECKING:
    from wfkit.sim.simulation import Simulation

REFUSALS_MAX = 12
"""How often a call is refused that is retried without end; its run needs attention by then."""

_Call = tuple[str, int, str]
"""A run's id, a command's number, and the name of what is called."""


class Striking:
    """Lets faults strike, and remembers those that last: which calls go on failing.

    Args:
        simulation: what they strike.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.has_struck = False
        """Whether a call went wrong, so that others may go wrong again."""
        self._fatal: dict[_Call, BaseException] = {}
        self._refused: dict[_Call, int] = {}
        self._failing: dict[_Call, int] = {}
        self._hanging: dict[_Call, int] = {}
        self._outages: dict[str, int] = {}

    def strike(self, fault: Fault, run: str) -> bool:
        """Let something go wrong that the engine as a whole meets. Returns True if the process died of it."""
        simulation, clock = self._simulation, self._simulation.clock
        match fault.kind:
            case "crash" | "crash_replay":
                simulation.crash()
            case "crash_long":
                simulation.crash(fault.amount)
            case "upgrade":
                simulation.upgrade()
                simulation.crash()
            case "skew":
                clock.offset -= fault.amount
                simulation.crash()
            case "cancel":
                simulation.outside.cancel(run)
                return False
            case "jump+":
                clock.offset += fault.amount
                return False
            case "jump-":
                clock.offset -= fault.amount
                return False
            case "freeze":
                clock.stopped = clock.now()
                simulation.loop.call_later(HOUR / 1e6, self._thaw, context=simulation.outer())
                return False
            case _:
                return False
        return True

    def _thaw(self) -> None:
        self._simulation.clock.stopped = None

    def strike_step(
        self, fault: Fault, now: Attempt, step: Step[..., Any], label: str, service: str, request: Request | None
    ) -> Calling:
        """Let something go wrong inside a step.

        Args:
            fault: what goes wrong.
            now: the attempt.
            step: its step.
            label: what is called, or the step's name.
            service: by whom it should be answered.
            request: the call, where it is on its way.

        Raises:
            ConnectionError: there is no answer this time.
        """
        simulation = self._simulation
        self.has_struck = True
        call = (now.info.run_id, now.n, label)
        match fault.kind:
            case "zombie":
                if request is not None:
                    simulation.loop.call_later(fault.amount / 1e6, self._call_late, request.arrive, context=simulation.outer())
                simulation.crash()
                yield FOREVER
            case "lost_ack":
                raise ConnectionError(f"{label}: the answer was lost")
            case "fail":
                raise ConnectionError(f"{label}: no answer")
            case "fail_n":
                self._failing[call] = fault.amount
            case "slow_n":
                self._hanging[call] = fault.amount
            case "fatal":
                if request is None or not request.is_done:  # what is done is not refused any more
                    made = request.refusal() if request is not None and request.refusal is not None else None
                    if made is not None:
                        simulation.tell("declined", now.info.run_id, now.n, label)
                    self._fatal[call] = made or _business_error(step, label)
            case "outage":
                self._outages[service] = simulation.loop.now + fault.amount
            case "slow":
                yield self._past_deadline(now)
            case "delay":
                yield fault.amount
            case _:
                if self.strike(fault, now.info.run_id):
                    yield FOREVER

    def _past_deadline(self, now: Attempt) -> Pause:
        """Return how long a call takes that an attempt does not wait for; an hour, if it waits without end."""
        deadline = now.info.deadline
        left = round(deadline.timestamp() * 1e6) - self._simulation.clock.now() if deadline is not None else HOUR
        return max(left, 0) + 1_000_000

    def _call_late(self, late: Callable[[], object]) -> None:
        self._simulation.tell("late", "", 0)
        with suppress(Exception):  # the service refuses it, and nobody is there to hear
            late()

    def strike_again(self, now: Attempt, phase: str, label: str, service: str) -> Calling:
        """Let a call go wrong that an earlier fault makes go wrong more than once, or one that strikes here.

        Args:
            now: the attempt.
            phase: where the call is.
            label: what is called.
            service: by whom it should be answered.

        Raises:
            ConnectionRefusedError: there is no answer for some time.
            BaseException: the business error that the call is refused with.
        """
        call = (now.info.run_id, now.n, label)
        if phase in ASKED:
            self._fail_again(call, service)
        if phase in ANSWERED and self._hanging.get(call):
            self._hanging[call] -= 1
            yield self._past_deadline(now)

    def _fail_again(self, call: _Call, service: str) -> None:
        label = call[2]
        if call in self._fatal and self._refuses(call):
            raise self._fatal[call]
        if self._failing.get(call):
            self._failing[call] -= 1
            raise ConnectionRefusedError(f"{label}: no answer")
        if self._outages.get(service, 0) > self._simulation.loop.now:
            raise ConnectionRefusedError(f"{service} is down")

    def _refuses(self, call: _Call) -> bool:
        """Whether a call is refused once more. One that is retried without end is accepted some time, by somebody's act."""
        self._refused[call] = self._refused.get(call, 0) + 1
        known = self._simulation.disk.points.known_of(call[0], call[1])
        return known is None or not known.endless or self._refused[call] <= REFUSALS_MAX


def too_large(step: Step[..., Any], result: Any) -> Any:
    """Return a result of a step with a text in it that is longer than can be recorded; as it was, if it has no text."""
    codec = step.signature.result
    try:
        return codec.decode(msgspec.json.encode(_with_long_text(msgspec.json.decode(codec.encode(result)))))
    except CodecError:
        return result  # its texts are not free, such as those of an enum


def _with_long_text(value: Any) -> Any:
    """Return a JSON value with its first text made longer."""
    match value:
        case str():
            return value + "." * PAYLOAD_BYTES_MAX
        case list():
            values: Iterable[tuple[Any, Any]] = enumerate(value)
        case dict():
            values = value.items()
        case _:
            return value
    for key, each in values:
        longer = _with_long_text(each)
        if longer is not each:
            changed = value.copy()
            changed[key] = longer
            return changed
    return value


def _business_error(step: Step[..., Any], label: str) -> BaseException:
    """Return an error that is not retried: one that the step declares, if it can be made."""
    for declared in step.declared:
        with suppress(Exception):  # a class of the user's that wants other arguments
            return declared(f"{label}: refused")
    return NonRetryable(f"{label}: refused")
