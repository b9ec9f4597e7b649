"""When an invariant is asked, and in which schedules. A plain function is asked once, when a schedule has come to rest."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from wfkit.core.durations import Duration, microseconds
from wfkit.sim.faults import CLASSES

Check = Callable[..., object]


def always(check: Check) -> Check:
    """Ask this invariant at every point of a schedule: `check(world)`."""
    return _marked(check, when="always")


def eventually(check: Check, *, within: Duration) -> Check:
    """Ask this invariant a while after the last fault, when every service is well again."""
    return _marked(check, when="eventually", within=microseconds(within))


def sometimes(check: Check) -> Check:
    """Expect this of at least one schedule, so that the others are known to test something."""
    return _marked(check, when="sometimes")


def on(check: Check, *, classes: str) -> Check:
    """Ask this invariant only where the faults are of these classes: "M" masked, "S" service, "B" business, "T" time.

    Raises:
        ValueError: there is no such class.
    """
    if unknown := set(classes) - set(CLASSES):
        raise ValueError(f"no class of faults: {', '.join(sorted(unknown))}; there are {', '.join(CLASSES)}")
    return _marked(check, classes=classes)


def _marked(check: Check, **marks: Any) -> Check:
    """Return the same check with marks of its own, so that it can be used elsewhere without them."""

    @functools.wraps(check)
    def asked(*args: Any) -> object:
        return check(*args)

    vars(asked).update(marks)
    return asked
