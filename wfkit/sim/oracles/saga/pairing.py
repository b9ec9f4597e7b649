"""Which step calls undo which: by what is recorded where a saga runs them, by evidence where the user's code does."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from wfkit.core.commands import RunStep
from wfkit.core.entries import StepCompleted
from wfkit.sim.reference import Reference
from wfkit.sim.services import Effect
from wfkit.sim.trails import Trail, Trails

Where: TypeAlias = tuple[str, int, int]
"""A step call: the run's id, its generation, and the number of the command."""

_WORD = re.compile(r"\w+")


class Call(NamedTuple):
    """A step call."""

    trail: Trail
    n: int

    @property
    def step(self) -> RunStep:
        return self.trail.steps[self.n]

    @property
    def where(self) -> Where:
        return self.trail.id, self.trail.start.generation, self.n


class Deed(NamedTuple):
    """A step call that had effects outside."""

    trail: Trail
    n: int
    step: RunStep
    effects: tuple[Effect, ...]

    @property
    def name(self) -> str:
        return self.effects[0].name

    @property
    def where(self) -> Where:
        return self.trail.id, self.trail.start.generation, self.n

    @property
    def services(self) -> set[str]:
        return {effect.service for effect in self.effects}


class Pairing:
    """The undos of deeds.

    A compensation that `s.do` has registered names the call that it is of, and so does an undo by hand with equal
    arguments. Any other undo is of the calls of the step that it is declared to undo whose arguments or results have most in
    common with its own: of the nearest ones, in its own run, its children, or what its parent did. One of which nothing
    is declared, but that a saga ran, is of what was done at the services that it asked. Whether it has undone anything is
    another question: the services know.

    Args:
        reference: the schedules without faults.
        trails: the runs.
        deeds: what they did.
        asked: the services that a call has asked for something; None where that is not known.
        tells: whether a service would tell that there was nothing to undo, since it keeps what was done.
    """

    def __init__(
        self,
        reference: Reference,
        trails: Trails,
        deeds: Sequence[Deed],
        asked: Callable[[Call], Collection[str] | None],
        tells: Callable[[str], bool],
    ) -> None:
        self._reference = reference
        self._trails = trails
        self._asked = asked
        self._tells = tells
        self._registered: dict[str, set[str]] = defaultdict(set)
        """The steps that something was registered to undo, by its name."""
        for trail in (*trails, *reference.trails):
            for _, undo in trail.undos:
                if undo.step:
                    self._registered[undo.undo].add(undo.step)
        self._deeds: dict[str, list[Deed]] = defaultdict(list)
        for deed in deeds:
            if not reference.is_undo(deed.step):
                self._deeds[deed.trail.id].append(deed)
        self._undos: dict[Where, list[Call]] = defaultdict(list)
        self._undone: dict[Where, list[Deed]] = {}
        for undo in self._undo_calls():
            self._undone[undo.where] = self._undone_by(undo)
            for deed in self._undone[undo.where]:
                self._undos[deed.where].append(undo)

    def undos_of(self, deed: Deed) -> list[Call]:
        return self._undos.get(deed.where, [])

    def undone_by(self, undo: Call | Deed) -> list[Deed]:
        """Return the step calls that one undoes; none if it undoes nothing."""
        return self._undone.get(undo.where, [])

    def is_guess(self, undo: Call | Deed) -> bool:
        """Whether nothing but what a call has asked for says what it undoes."""
        return undo.step.undoes is None and not self._names(undo.step)

    def family(self, trail: Trail) -> Iterator[Trail]:
        """Yield a run, its children, and theirs."""
        yield trail
        for command in trail.children.values():
            child = self._trails.newest(command.id)
            if child is not None and child.start.parent is not None and child.start.parent.id == trail.id:
                yield from self.family(child)

    def _undo_calls(self) -> Iterator[Call]:
        for trail in self._trails:
            done = {undo.of for _, undo in trail.undos}
            for n, step in trail.steps.items():
                if self._reference.is_undo(step) or (step.name in self._registered and n not in done):
                    yield Call(trail, n)

    def _undone_by(self, undo: Call) -> list[Deed]:
        of = undo.step.undoes
        if of is not None:
            return [deed for deed in self._deeds[undo.trail.id] if (deed.step.name, deed.step.key) == (of.step, of.key)]
        names = self._names(undo.step)
        if names:
            return self._declared(undo, names)
        return self._unnamed(undo) if undo.step.compensation else []

    def _names(self, undo: RunStep) -> set[str]:
        """Return the names of the steps that one undoes: by its definition, or as it was registered."""
        definition = self._reference.step(undo.name)
        declared = {definition.undoes.name} if definition is not None and definition.undoes is not None else set()
        return declared | self._registered.get(undo.name, set())

    def _declared(self, undo: Call, names: set[str]) -> list[Deed]:
        nearest: Trail | None = undo.trail
        while nearest is not None:
            done = [deed for trail in self.family(nearest) for deed in self._deeds[trail.id] if deed.step.name in names]
            done = [deed for deed in done if deed.where != undo.where]
            if done:
                return self._nearest(undo, done)
            parent = nearest.start.parent
            nearest = self._trails.newest(parent.id) if parent is not None else None
        return []

    def _nearest(self, undo: Call, done: Sequence[Deed]) -> list[Deed]:
        """Return the calls that an undo of their step has most in common with."""
        equal = [deed for deed in done if deed.step.args == undo.step.args]
        if equal:
            return equal
        words = words_of_json(undo.step.args)
        common = [len(words & words_of(deed)) for deed in done]
        if words and not any(common):
            return [deed for deed in done if any(map(self._tells, deed.services))]
        return [deed for deed, count in zip(done, common, strict=True) if count == max(common)]

    def _unnamed(self, undo: Call) -> list[Deed]:
        """Return what a compensation may be of that names no step: of one call, or of all that a child did."""
        own = [[deed] for deed in self._deeds[undo.trail.id] if not self._has_undo_of_its_own(deed)]
        children = [self._trails.newest(command.id) for command in undo.trail.children.values()]
        theirs = [
            [deed for trail in self.family(child) for deed in self._deeds[trail.id]] for child in children if child is not None
        ]
        asked, words = self._asked(undo), words_of_json(undo.step.args)
        groups = [[deed for deed in group if asked is None or deed.services & set(asked)] for group in (*own, *theirs)]
        common = [len(words & set().union(*map(words_of, group))) for group in groups]
        most = max((count for group, count in zip(groups, common, strict=True) if group), default=0)
        return [deed for group, count in zip(groups, common, strict=True) if count == most for deed in group]

    def _has_undo_of_its_own(self, deed: Deed) -> bool:
        definition = self._reference.step(deed.step.name)
        if definition is not None and definition.undoable:
            return True
        return any(undo.of == deed.n for _, undo in deed.trail.undos)


def words_of(deed: Deed) -> set[str]:
    """Return what a call is about: the words of its arguments, its result, and what it told the outside."""
    end = deed.trail.ends.get(deed.n)
    found = words_of_json(deed.step.args).union(*(words_in(effect.payload) for effect in deed.effects))
    return found | words_of_json(end[1].value) if end is not None and isinstance(end[1], StepCompleted) else found


def words_of_json(raw: Any) -> set[str]:
    return set(words_in(msgspec.json.decode(raw)))


def words_in(value: Any) -> Iterator[str]:
    match value:
        case None | bool():
            pass
        case Mapping():
            for each in value.values():
                yield from words_in(each)
        case list() | tuple():
            for each in value:
                yield from words_in(each)
        case _:
            yield from _WORD.findall(str(value))
