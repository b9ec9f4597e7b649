"""Where a history and the code that made it disagree, and what that code looked at beside the history."""

from __future__ import annotations

import dis
from collections.abc import Iterable, Iterator, MutableMapping, MutableSequence, MutableSet, Sequence
from random import Random
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from wfkit.core.commands import Command, CompleteRun, FailRun, RunStep, StartChild
from wfkit.core.compare import Difference, describe, differences, identity, name_of
from wfkit.core.machine import Activation, Code, Machine
from wfkit.core.names import nested, own_functions
from wfkit.sim.elsewhere import DIFFERENCES, MOMENTS, NONE, Elsewhere, at
from wfkit.sim.suspects import Suspect, suspect

PREFIXES_MAX = 200
"""Beginnings of one history that are replayed."""
_ALL_UNTIL = 64
"""Up to this length all of them are, beyond it ever fewer."""
_ACTIVATIONS_MAX = 20_000
"""About so many activations the beginnings of one history, and as many its wholes, may cost: half a second each."""
_PLACES_MIN = 3
"""In so many places a history is replayed that shares most of its turns with others."""
_TRIES = 8
"""Replays in the same place that must go the same way."""
_COMMAND_CHARS_MAX = 80
_BEGINNING_CHARS = 30
_BEFORE_CHARS = 15
"""How much is shown of what two commands have in common, at their beginning and before they differ."""


class Disagreement(Struct, frozen=True):
    """One replay that asked for something else than its history holds."""

    workflow: str
    run: str
    n: int
    breaks: bool
    """It takes another way, so the run could not go on; otherwise only arguments differ."""
    about: str
    """The step, signal or workflow that a command names, or the kind of command."""
    recorded: str
    requested: str
    entry: int
    """Number of the entry whose activation disagrees."""
    length: int
    """How many records the whole history has."""
    line: str
    """Where the code asks for what is not in the history, `file:line in function`; empty if not known."""
    sights: tuple[tuple[str, str], ...]
    """What the code looked at that differs between executions, and where."""
    zone: bool
    """Another time zone or language makes it."""
    state: tuple[str, str] | None
    """What of its module the code may have changed, and where."""
    suspect: Suspect | None = None
    """What of the code answers otherwise in every process, if it looked at nothing else."""


class _Replay(NamedTuple):
    """One replay, and how it differs from its history."""

    machine: Machine
    place: Elsewhere
    fed: Sequence[Activation]
    length: int
    apart: Sequence[Difference]
    error: Exception | None = None
    """Why the code could not be replayed at all."""

    @property
    def breaks(self) -> bool:
        return self.error is not None or any(each.breaks for each in self.apart)

    @property
    def way(self) -> str:
        """What is asked for in place of what was recorded, in full; empty if nothing is."""
        if self.error is not None:
            return f"{type(self.error).__name__}: {self.error}".splitlines()[0]
        return spelt(self.telling.requested, arguments=not self.breaks) if self.apart else ""

    @property
    def telling(self) -> Difference:
        """The difference that tells most: the one that breaks, or else the first."""
        return self.apart[-1] if self.breaks else self.apart[0]

    def told(self) -> list[Disagreement]:
        """Return what there is to tell: how it breaks, or else each difference of arguments."""
        if self.error is not None:
            return [self._raised()]
        return [self._told(each) for each in ([self.telling] if self.breaks else self.apart)]

    def _told(self, apart: Difference) -> Disagreement:
        command = apart.requested or apart.recorded
        assert command is not None
        sites = self.machine.sites
        assert sites is not None
        texts = [spelt(each, arguments=not apart.breaks) for each in (apart.recorded, apart.requested)]
        return Disagreement(
            workflow=self.machine.code.name,
            run=self.machine.start.id,
            n=getattr(command, "n", 0),
            breaks=apart.breaks,
            about=about(apart.recorded or command),
            recorded=around_difference(*texts),
            requested=around_difference(*reversed(texts)),
            entry=apart.seq,
            length=self.length,
            line=sites.get(identity(apart.requested), "") if apart.requested is not None else "",
            sights=tuple(self.place.sights),
            zone=False,
            state=state_of(self.machine.code),
        )

    def _raised(self) -> Disagreement:
        machine = self.machine
        recorded = next((commands[0] for seq, _, commands in self.fed if seq == machine.seq and commands), None)
        return Disagreement(
            workflow=machine.code.name,
            run=machine.start.id,
            n=getattr(recorded, "n", 0),
            breaks=True,
            about=about(recorded) if recorded is not None else machine.code.name,
            recorded=spelt(recorded, arguments=False),
            requested=self.way,
            entry=machine.seq,
            length=self.length,
            line="",
            sights=tuple(self.place.sights),
            zone=False,
            state=state_of(machine.code),
        )


def disagreements(
    code: Code, fed: Sequence[Activation], length: int, start: int, *, beginnings: bool = True, moments: bool = True
) -> list[Disagreement]:
    """Replay a history and its beginnings elsewhere, until one takes another way. Only within `elsewhere.anywhere`.

    Args:
        code: the workflow.
        fed: the activations of the history.
        length: how many records it has.
        start: when it was recorded, microseconds UTC.
        beginnings: whether its beginnings are replayed as well as the whole.
        moments: whether code that looks at the clock is replayed at many moments.

    Returns:
        The replay that took another way, or else the first differences of arguments.
    """
    whole = next((index for index, activation in enumerate(fed) if activation.commands is None), len(fed))
    first: tuple[int, _Replay] | None = None
    looks_at_clock = False
    for number, prefix in enumerate(_prefixes(whole, beginnings=beginnings)):
        replay = _replay(code, fed[:prefix], length, _place(number, start))
        if replay.breaks:
            return _explained(replay, number, start)
        if replay.apart and first is None:
            first = number, replay
        looks_at_clock = looks_at_clock or _has_clock(replay.place.sights)
    if looks_at_clock and moments:
        at_moments = (_replay(code, fed[:whole], length, moment) for moment in _moments(whole, start))
        if (broken := next((replay for replay in at_moments if replay.breaks), None)) is not None:
            return broken.told()
    return _explained(first[1], first[0], start) if first is not None else []


def _has_clock(sights: Iterable[tuple[str, str]]) -> bool:
    return any(what.startswith(("time.", "datetime.")) for what, _ in sights)


def _moments(whole: int, start: int) -> Iterator[Elsewhere]:
    """Yield the moments, or as many of them as a history of so many activations allows."""
    few = max(1, min(len(MOMENTS), _ACTIVATIONS_MAX // max(whole, 1)))
    for moment in MOMENTS[:: -(-len(MOMENTS) // few)]:
        yield Elsewhere(moment, start, 0)


def _place(number: int, start: int) -> Elsewhere:
    return Elsewhere(DIFFERENCES[number % len(DIFFERENCES)], start, number + 1)


def _prefixes(whole: int, *, beginnings: bool) -> Iterator[int]:
    """Yield lengths, the whole first and so often that it is seen everywhere, or in the most different places."""
    if not whole:
        return
    yield from [whole] * max(2, min(len(DIFFERENCES) if beginnings else _PLACES_MIN, _ACTIVATIONS_MAX // whole))
    if not beginnings:
        return
    yield from range(1, min(whole, _ALL_UNTIL))
    factor = max((whole / _ALL_UNTIL) ** (1 / (PREFIXES_MAX - _ALL_UNTIL)), 1 + whole / _ACTIVATIONS_MAX)
    length = float(_ALL_UNTIL)
    while length < whole:
        yield int(length)
        length = max(length * factor, length + 1)


class _Object:
    """As large as most objects of users are."""


def _explained(found: _Replay, number: int, start: int) -> list[Disagreement]:
    """Find out by more replays what it depends on: on what the code looked at, on the time zone, or on the process."""
    kept: list[_Object] = []

    def way(place: Elsewhere) -> str:
        kept.extend(_Object() for _ in range(5))  # so that the objects of the next replay get other addresses
        again = _replay(found.machine.code, found.fed, found.length, place)
        return again.way if again.breaks == found.breaks else ""

    told = found.told()
    same = way(Elsewhere(NONE, start, 0))
    ways = {way(_place(number, start)) for _ in range(_TRIES)}
    # Another way in the same place is chance, or what the last replay left behind; the same one everywhere, the process.
    if ways != {found.way} or {same, *(way(_place(other, start)) for other in range(len(DIFFERENCES)))} == ways:
        return [replace(each, sights=(), suspect=_suspect(found)) for each in told]
    if _has_clock(found.place.sights) and any(way(moment) for moment in _moments(found.length, start)):
        return told  # in the zone of this machine too
    moved = NONE._replace(zone=found.place.difference.zone, language=found.place.difference.language)
    if not same and way(Elsewhere(moved, start, 0)):
        return [replace(each, zone=True) for each in told]
    return told if found.place.sights else [replace(each, suspect=_suspect(found)) for each in told]


def _suspect(found: _Replay) -> Suspect | None:
    """Return what of the code answers otherwise in every process, by what was recorded and is asked for now."""
    if found.error is not None:
        return None
    apart = found.telling
    recorded, requested = (spelt(each, arguments=True) for each in (apart.recorded, apart.requested))
    ahead = (
        spelt(command, arguments=not apart.breaks)
        for seq, _, commands in found.fed
        for command in commands or ()
        if command != apart.recorded and (seq >= apart.seq or not apart.breaks)
    )
    reordered = apart.requested is not None and spelt(apart.requested, arguments=not apart.breaks) in ahead
    return suspect(found.machine.code.fn, requested, recorded, reordered=reordered)


def _replay(code: Code, fed: Sequence[Activation], length: int, place: Elsewhere) -> _Replay:
    machine = Machine(code, capture_sites=True)
    apart: list[Difference] = []
    error = None
    with at(place):
        try:
            machine.loop.inside(_feed, machine, fed, apart)
        except Exception as exc:  # noqa: BLE001  # code that cannot even be replayed
            error = exc
        finally:
            machine.evict()
    return _Replay(machine, place, fed, length, apart, error)


def _feed(machine: Machine, fed: Sequence[Activation], found: list[Difference]) -> None:
    for seq, entry, recorded in fed:
        requested = machine.feed(entry, seq)
        if requested != recorded:
            assert recorded is not None
            found += differences(recorded, requested, seq)
            if found and found[-1].breaks:
                return


def about(command: Command) -> str:
    """Return what a command names, or its kind."""
    return name_of(command) or describe(command)[0]


def spelt(command: Command | None, *, arguments: bool) -> str:
    """Return a command in words, such as `step charge`, with its arguments if asked for."""
    kind, what = describe(command)
    if not arguments:
        return f"{kind} {what}".strip()
    match command:
        case RunStep() | StartChild():
            text = bytes(command.args).decode()[1:-1]
            return f"{command.name if isinstance(command, RunStep) else command.workflow}({text})"
        case CompleteRun():
            return f"return {bytes(command.value).decode()}"
        case FailRun():
            return f"raise {command.error.type}: {command.error.message}"
        case _:
            payload = getattr(command, "payload", None)
            return f"{kind} {what}" + (f" {bytes(payload).decode()}" if payload is not None else "")


def around_difference(text: str, other: str) -> str:
    """Return a text so short that it fits into a line, with its beginning and the part in which it differs from another."""
    if len(text) <= _COMMAND_CHARS_MAX:
        return text
    same = next((at for at, pair in enumerate(zip(text, other, strict=False)) if pair[0] != pair[1]), len(other))
    begin = max(same - _BEFORE_CHARS, 0)
    if begin <= _BEGINNING_CHARS:
        return f"{text[:_COMMAND_CHARS_MAX]}..."
    shown = f"{text[:_BEGINNING_CHARS]} ... {text[begin : begin + _COMMAND_CHARS_MAX - _BEGINNING_CHARS]}"
    return shown if begin + _COMMAND_CHARS_MAX - _BEGINNING_CHARS >= len(text) else f"{shown}..."


CHANGING = frozenset(
    ("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update")
)
"""Methods that change a container."""


def state_of(code: Code) -> tuple[str, str] | None:
    """Return what workflow code changes of its module, and where it uses it: `SEEN`, `shop.py:12`."""
    for function in own_functions(code.fn):
        for inner in nested(function.__code__):
            instructions = list(dis.get_instructions(inner))
            stored = {each.argval for each in instructions if each.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")}
            changes = bool(CHANGING & set(inner.co_names)) or any(each.opname == "STORE_SUBSCR" for each in instructions)
            for each in instructions:
                if each.opname != "LOAD_GLOBAL":
                    continue
                value = function.__globals__.get(each.argval)
                container = isinstance(value, MutableSet | MutableMapping | MutableSequence) and changes
                if each.argval in stored or container or isinstance(value, Random | Iterator) or hasattr(value, "cache_info"):
                    line = each.positions.lineno if each.positions is not None else inner.co_firstlineno
                    return each.argval, f"{inner.co_filename}:{line}"
    return None
