"""A subject as it travels to another process: by where its parts are defined, and by its input as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Raw, Struct

from wfkit.api.definitions import Workflow
from wfkit.sim.sources import Source, found, source_of
from wfkit.sim.subject import Instance, Replace, RunId, Subject


class _Run(Struct, frozen=True):
    workflow: Source
    args: Raw
    id: Source | str | None
    at: int


class Carried(Struct, frozen=True):
    """What executes a schedule without faults."""

    main: _Run
    runs: tuple[_Run, ...]
    workflows: tuple[Source, ...]
    world: Source | None
    resources: tuple[tuple[Source, Source], ...]
    script: Source | None
    start: datetime
    until: int | None
    io: Literal["refuse", "allow"]

    def unpacked(self) -> Subject:
        """Return the subject, whose code is loaded for it.

        Raises:
            Exception, SystemExit: the user's code fails as it is loaded.
        """
        main, *runs = (_instance(run) for run in (self.main, *self.runs))
        return Subject(
            main.workflow,
            main.args,
            found(self.world) if self.world is not None else None,
            [Replace(found(resource), found(by)) for resource, by in self.resources],
            found(self.script) if self.script is not None else None,
            runs,
            until=self.until,
            start=self.start,
            id=main.id,
            workflows=[found(each) for each in self.workflows],
            io=self.io,
        )


class NotCarried(Exception):  # no error: that process goes without
    """A part of a subject that another process cannot find."""


def carry(subject: Subject) -> Carried:
    """Return what another process needs to execute the schedule without faults.

    Raises:
        NotCarried: it cannot find everything.
    """
    return Carried(
        _packed(subject.workflow, subject.args, subject.id, 0),
        tuple(_packed(each.workflow, each.args, each.id, each.at) for each in subject.runs),
        tuple(map(_source, subject.workflows)),
        _source(subject.world) if subject.world is not None else None,
        tuple((_source(each.resource), _source(each.by)) for each in subject.resources),
        _source(subject.script) if subject.script is not None else None,
        subject.start,
        subject.until,
        subject.io,
    )


def _packed(workflow: Workflow[..., Any], args: Sequence[Any], id: RunId | None, at: int) -> _Run:
    sender = _source(id) if callable(id) else id
    return _Run(_source(workflow), workflow.signature.encode(tuple(args), {}), sender, at)


def _instance(run: _Run) -> Instance:
    workflow = found(run.workflow)
    instance = Instance(workflow, *workflow.signature.decode(run.args))
    instance.id = found(run.id) if isinstance(run.id, Source) else run.id
    instance.at = run.at
    return instance


def _source(thing: Any) -> Source:
    source = source_of(thing)
    if source is None:
        raise NotCarried(getattr(thing, "__qualname__", None) or getattr(thing, "name", None) or repr(thing))
    return source
