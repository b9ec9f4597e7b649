"""Another machine at another time: where a history is replayed, to see whether its workflow would notice.

Everything that a workflow may not depend on is different there: the clock and its pace, chance, the time zone, the
language, the environment. It is different also for what the determinism guard does not see: `unsafe` blocks, names that
were bound before the guard was in place, and `datetime.now`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from random import Random
from types import CoroutineType
from typing import Any, NamedTuple

from wfkit.core.loop import running
from wfkit.sim import ambient

_DAY = 86_400_000_000
_HOUR = 3_600_000_000
_SECOND = 1_000_000


class Difference(NamedTuple):
    """How a place differs from where a history was recorded. Times are microseconds."""

    ahead: int = 0
    """How much later it is."""
    pace: int = 1
    """How much time passes from one look at the clock to the next."""
    lot: float | None = None
    """What the first random number is; None for any."""
    zone: str = ""
    """The time zone; empty for that of this machine, as with the language."""
    language: str = ""
    environment: bool = False
    """The variables of the environment have other values."""


NONE = Difference()
DIFFERENCES = (
    Difference(_DAY, 1, None, "Pacific/Kiritimati", "de_DE.UTF-8", environment=True),
    Difference(_DAY // 2 + 1_234_567_891, _SECOND, 0.0, "Pacific/Pago_Pago", "tr_TR.UTF-8"),
    Difference(5 * _DAY + 37 * _SECOND, 97 * 60 * _SECOND, 1 - 2**-20, "America/St_Johns", "C", environment=True),
    Difference(123 * _DAY + 4_000_001, 11, 0.5, "UTC", "en_US.UTF-8"),
    Difference(29 * _DAY - 7_200_000_003, 25 * _HOUR, None, "Europe/Berlin", "ja_JP.UTF-8", environment=True),
    Difference(1000 * _DAY + 18_000_017, 1, 0.0, "America/Los_Angeles", "fr_FR.UTF-8"),
    Difference(64 * _DAY + 21_600_000_029, 40 * _DAY, 1 - 2**-20, "Asia/Kolkata", "C"),
)
"""Among them: another hour, weekday, month and year; a clock that hardly goes, and one that races; and the zones that are
furthest ahead and behind, so that in one of them it is another date at any time. The most different come first."""
MOMENTS = tuple(
    Difference(ahead)
    for ahead in (
        *(hour * _HOUR for hour in range(1, 24)),
        *(day * _DAY for day in range(1, 31)),
        *(31 * month * _DAY for month in range(1, 12)),
        *(365 * year * _DAY for year in (2, 5, 10, 30)),
    )
)
"""Later and nothing else: at every hour, on every day of a month, in every month. For code that looks at the clock."""
_PATIENCE = 1_000
"""After so many looks time goes by the hour: whoever waits for a moment is not to wait for ever."""


class Sight(NamedTuple):
    """Workflow code looked at something that differs from one execution to the next."""

    what: str
    """Such as `time.time()`."""
    line: str
    """`file:line in function`."""


class Elsewhere:
    """One place.

    Args:
        difference: how it differs.
        start: what the clock showed when the history was recorded, microseconds UTC.
        seed: where its chance comes from.
    """

    def __init__(self, difference: Difference, start: int, seed: int) -> None:
        self.difference = difference
        self.sights: dict[Sight, None] = {}
        """What was looked at, in order."""
        self._began = self._now = start + difference.ahead
        self._looks = 0
        self._random = _Leaning(seed)
        self._random.first = difference.lot

    def wall(self) -> int:
        now = self._now
        self._looks += 1
        self._now += self.difference.pace if self._looks < _PATIENCE else _HOUR
        return now

    def since(self) -> int:
        return self.wall() - self._began

    def computed(self) -> int:
        return self.since()

    def slept(self, seconds: float) -> None:
        self._now += round(seconds * 1e6)

    def chance(self) -> Random:
        return self._random

    def connection(self, factory: Any) -> Any:
        return factory

    def saw(self, what: str, line: str, *, through: str) -> None:
        if running() is not None:
            self.sights[Sight(what, line)] = None

    def asked(self, service: str, what: str, line: str) -> None:
        self.sights[Sight(f"{service}.{what}", line)] = None

    def unawaited(self, coroutine: CoroutineType[Any, Any, Any], line: str) -> None:
        """Nothing: the schedule whose history this is has told of it."""

    def end_with(self, error: BaseException) -> None:
        """Nothing: it is raised where the replay comes to it, and no schedule came so far."""


class _Leaning(Random):
    """Chance whose first number is extreme: it takes the branch that is hardly ever taken."""

    first: float | None = None

    def random(self) -> float:
        value, self.first = self.first, None
        return super().random() if value is None else value


@contextmanager
def anywhere(namespaces: Iterable[dict[str, Any]]) -> Iterator[None]:
    """Make it possible to be elsewhere for as long as the block runs.

    Args:
        namespaces: globals of the modules of workflows, in which names of the real functions are bound anew.
    """
    with ambient.installed(namespaces), _other_environment():
        yield


@contextmanager
def at(place: Elsewhere) -> Iterator[None]:
    """Let the workflow code of this thread be elsewhere. Only within `anywhere`."""
    difference = place.difference
    settings = {"TZ": difference.zone, **dict.fromkeys(("LANG", "LC_ALL", "LANGUAGE"), difference.language)}
    with _settings({name: value for name, value in settings.items() if value}), ambient.within(place):
        yield


@contextmanager
def _settings(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= settings
    time.tzset()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is not None:
                os.environ[name] = value
            else:
                del os.environ[name]
        time.tzset()


@contextmanager
def _other_environment() -> Iterator[None]:
    """Let workflow code find other values in the environment, where the guard lets it look."""
    kind: Any = type(os.environ)
    real = kind.__getitem__

    @wraps(real)
    def looked_up(self: Any, key: str) -> str:
        place = ambient.of_workflow()
        if not isinstance(place, Elsewhere):
            return real(self, key)  # type: ignore[no-any-return]  # a text
        try:
            value: str | None = real(self, key)
        except KeyError:
            value = None
        ambient.tell(place, f"os.environ[{key!r}]")
        if place.difference.environment:
            return other_value(value)
        return real(self, key)  # type: ignore[no-any-return]  # a text

    kind.__getitem__ = looked_up
    try:
        yield
    finally:
        kind.__getitem__ = real


_OPPOSITES = {"true": "false", "yes": "no", "on": "off"}
_OPPOSITES |= {no: yes for yes, no in _OPPOSITES.items()}


def other_value(value: str | None) -> str:
    """Return another value for a variable of the environment, of the same kind as far as one can see."""
    if value is None:
        return "1"
    if value.isdecimal():
        return str(int(value) + 1)
    if "/" in value:
        return value  # a path, which is to lead to the same files
    return _OPPOSITES.get(value.lower(), f"{value}-elsewhere")
