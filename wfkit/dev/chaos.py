"""Chaos in `wfkit dev`: which faults strike the worker by themselves, and what has struck in this session."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple, get_args

from wfkit.control.messages import ChaosFacts, Fault, Strike, Struck
from wfkit.core.durations import display, microseconds
from wfkit.errors import ChaosProfileError
from wfkit.replay.explain import spell

FAULTS: tuple[Fault, ...] = get_args(Fault)
PROFILES = {
    "calm": "kill:2m,delay:30s,dup:1m,jump:5m",
    "rough": "kill:20s,delay:5s,dup:10s,jump:1m",
    "storm": "kill:5s,delay:1s,dup:2s,jump:20s",
}
"""Names for lists of faults."""
EVERY_MIN_US = 100_000
"""No fault strikes more often on average: a worker needs some time to begin."""
HELD_SECONDS = (0.5, 5.0)
"""Between these a planned `delay` holds a result."""
KEPT = 100
"""So many lines are kept for whoever asks what has struck."""
_SEEDS = 100_000


class Planned(NamedTuple):
    wait: float
    """Seconds after the one before."""
    strike: Strike


@dataclass(frozen=True)
class Profile:
    """Which faults strike, and how often on average. Equal ones plan the same."""

    name: str
    every: Mapping[Fault, int]
    """Microseconds."""
    seed: int

    def __str__(self) -> str:
        return f"{self.name}@{self.seed}"

    def planned(self) -> Iterator[Planned]:
        """Yield without end what strikes when. Each fault comes by chance of its own, whatever others there are."""
        chances = {fault: Random(f"{self.seed}/{fault}") for fault in self.every}
        coming: list[tuple[float, Fault]] = []
        for fault, every in self.every.items():
            heappush(coming, (chances[fault].expovariate(1e6 / every), fault))
        now = 0.0
        while True:
            at, fault = heappop(coming)
            held = round(chances[fault].uniform(*HELD_SECONDS) * 1e6) if fault == "delay" else None
            yield Planned(at - now, Strike(fault=fault, us=held))
            now = at
            heappush(coming, (at + chances[fault].expovariate(1e6 / self.every[fault]), fault))

    def spelled(self) -> str:
        """Return what strikes, and how often."""
        return ", ".join(f"{fault} every {display(every)}" for fault, every in self.every.items())


def parse_profile(text: str, *, jumps: bool) -> Profile:
    """Return the profile that is meant on a command line.

    Args:
        text: a name or a list of faults, and perhaps `@` and a seed; without one, the seed is drawn.
        jumps: the clock may go forward. Otherwise a list must not ask for that, and of a name it is left out.

    Raises:
        ChaosProfileError: it is not understood.
    """
    name, at, seed = text.partition("@")
    if at and not (seed.isascii() and seed.isdecimal() and len(seed) < 19):
        raise ChaosProfileError(f"--chaos {text}: {seed!r} is no seed", help=f"a seed is a number: --chaos {name or 'rough'}@7")
    if ":" not in name and name not in PROFILES:
        near = get_close_matches(name, PROFILES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PROFILES)}"
        raise ChaosProfileError(f"--chaos {text}: there is no profile {name!r}; {hint}")
    every = _faults(text, PROFILES.get(name, name))
    if not jumps and "jump" in every:
        if name not in PROFILES:
            help = "add --ephemeral, or leave jump out: a journal that is kept would hold times that have not come yet"
            raise ChaosProfileError(f"--chaos {text}: the clock can only be moved with --ephemeral", help=help)
        del every["jump"]
    return Profile(name, every, int(seed) if at else secrets.randbelow(_SEEDS))


def _faults(text: str, listed: str) -> dict[Fault, int]:
    found: dict[Fault, int] = {}
    for part in listed.split(","):
        word, _, often = part.strip().partition(":")
        fault = next((known for known in FAULTS if known == word), None)
        if fault is None:
            raise ChaosProfileError(f"--chaos {text}: there is no fault {word!r}; there are {', '.join(FAULTS)}")
        if fault in found:
            raise ChaosProfileError(f"--chaos {text}: {fault} is there twice")
        try:
            found[fault] = microseconds(often)
        except ValueError as error:
            raise ChaosProfileError(f"--chaos {text}: {fault}: {error}") from None
        if found[fault] < EVERY_MIN_US:
            raise ChaosProfileError(f"--chaos {text}: {fault} can strike every {display(EVERY_MIN_US)} at most")
    return found


class Session:
    """What chaos does in one session of `wfkit dev`, whatever becomes of its workers.

    Args:
        profile: what strikes by itself.
        jumps: the clock may go forward.
        tell: is told each line.
    """

    def __init__(self, profile: Profile | None, jumps: bool, tell: Callable[[str], None]) -> None:
        self.profile = profile
        self.ahead = 0
        """How far the clock has gone forward, in microseconds."""
        self._jumps = jumps
        self._tell = tell
        self._number = 0
        self._strikes = 0
        self._struck: deque[Struck] = deque(maxlen=KEPT)
        self._in_vain: set[str] = set()
        self._killed: float | None = None

    @property
    def killed(self) -> bool:
        """The worker was killed, and none has taken over yet."""
        return self._killed is not None

    def facts(self) -> ChaosFacts:
        profile = "" if self.profile is None else str(self.profile)
        return ChaosFacts(profile, self._jumps, self.ahead, self._strikes, list(self._struck))

    def note(self, fault: Fault | None, text: str) -> Struck:
        """Take notice of what chaos did, and tell it."""
        self._number += 1
        self._strikes += fault is not None
        struck = Struck(self._number, time.time_ns() // 1000 + self.ahead, text, fault)
        self._struck.append(struck)
        self._tell(f"⚡ chaos: {text}")
        return struck

    def note_in_vain(self, text: str) -> None:
        """Tell why a planned fault could not strike, the first time that it could not for this reason."""
        if text not in self._in_vain:
            self._in_vain.add(text)
            self._tell(f"⚡ chaos: {text}")

    def note_kill(self, pid: int) -> None:
        self._killed = time.monotonic()
        self.note("kill", f"killed the worker, process {pid}")

    def take_kill(self) -> float | None:
        """Return when the worker was killed that another one takes over from, if it was; once."""
        killed, self._killed = self._killed, None
        return killed

    def give_back(self, killed: float | None) -> None:
        """Nobody took over after all."""
        self._killed = killed

    def note_recovery(self, killed: float, unfinished: int, again: int) -> Struck:
        took = spell(round((time.monotonic() - killed) * 1e6))
        runs = f"{unfinished:,} run{'s go' if unfinished != 1 else ' goes'} on"
        steps = f", {again:,} step{'s run' if again != 1 else ' runs'} again" if again else ""
        return self.note(None, f"recovered {took} later: {runs}{steps}")
