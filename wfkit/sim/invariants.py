"""What users demand of the outside world, and when it is asked.

A plain function `f(world)` or `f(world, recording)` is asked when a schedule has come to rest, whatever went wrong in it.
`False` or an exception is a finding.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from wfkit.core.durations import Duration, microseconds
from wfkit.sim.faults import CLASSES, Point
from wfkit.sim.recording import Broken, Recording

Check = Callable[..., object]

_ASKING = "__wfkit_asking__"
"""The attribute of a check that says when it is asked; one without it is a plain function."""


@dataclass(frozen=True, slots=True)
class Asking:
    """When a check is asked."""

    when: Literal["at rest", "always", "eventually", "sometimes"] = "at rest"
    within: int = 0
    """Of `eventually`: by when the schedule must have come to rest, in microseconds."""
    classes: str = "".join(CLASSES)
    """Of faults: a letter for each."""


_PLAIN = Asking()


def asking_of(check: Check) -> Asking:
    """Return when a check is asked."""
    asking: Asking = getattr(check, _ASKING, _PLAIN)
    return asking


def always(check: Check) -> Check:
    """Ask at every point of a schedule, not only at its end. It is called as `check(world)`."""
    return _asked(check, replace(asking_of(check), when="always"))


def eventually(check: Check, *, within: Duration) -> Check:
    """Ask at the end, when all services have healed; the schedule must have come to rest within this time.

    Raises:
        ValueError: that is no duration.
    """
    return _asked(check, replace(asking_of(check), when="eventually", within=microseconds(within)))


def sometimes(check: Check) -> Check:
    """It must hold at the end of at least one schedule of a campaign, or the campaign has not tried what it should: a warning.

    Nothing is said of it where the search was narrowed, was cut short, or has found an error.
    """
    return _asked(check, replace(asking_of(check), when="sometimes"))


def on(check: Check, *, classes: str) -> Check:
    """Ask only in schedules of these fault classes: `on(paid_or_refunded, classes="MS")`.

    Raises:
        ValueError: a letter is none of M, S, B and T.
    """
    unknown = sorted(set(classes) - set(CLASSES))
    if unknown:
        raise ValueError(f"{''.join(unknown)!r} is no fault class: the classes are {', '.join(CLASSES)}")
    return _asked(check, replace(asking_of(check), classes=classes))


def name_of(check: Check) -> str:
    """Return how reports call an invariant."""
    return str(getattr(check, "__name__", None) or type(check).__name__)


def failed(check: Check, world: Any, recording: Recording[Any] | None) -> str | None:
    """Ask an invariant. Returns what it says if it does not hold, otherwise None."""
    try:
        held = check(world) if recording is None or not _takes_two(check) else check(world, recording)
    except AssertionError as error:
        return str(error) or "an assertion does not hold"
    except Exception as error:  # noqa: BLE001  # it looked for what is not there, in this schedule
        return f"it raised {type(error).__name__}: {error}"
    return "it does not hold" if held is False else None


def _takes_two(check: Check) -> bool:
    return len(inspect.signature(check).parameters) > 1


class Always:
    """Asks the invariants of `always` at every point of a schedule.

    Args:
        checks: all invariants of a subject; the others are asked elsewhere.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self.checks = [check for check in checks if asking_of(check).when == "always"]
        self._asking = False
        self.broken: list[Broken] = []
        """Where each of those that did not hold did not hold first."""

    def ask(self, world: Any, point: Point) -> None:
        """Ask them all, unless one of them has reached the point by using a service itself."""
        if self._asking:
            return
        self._asking = True
        try:
            for check in self.checks:
                name = name_of(check)
                if all(broken.name != name for broken in self.broken):
                    told = failed(check, world, None)
                    if told is not None:
                        self.broken.append(Broken(name, told, str(point)))
        finally:
            self._asking = False


def _asked(check: Check, asking: Asking) -> Check:
    """Return the check, to be asked so; the user's own function stays as it is."""

    @functools.wraps(check)
    def asked(*args: Any) -> object:
        return check(*args)

    setattr(asked, _ASKING, asking)
    asked.__name__ = name_of(check)
    return asked
