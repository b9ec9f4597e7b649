"""The names that one version of an app's code defines."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from difflib import get_close_matches
from types import FunctionType, ModuleType
from typing import Any

from msgspec import Raw

from wfkit.api.definitions import Step, Workflow, where_defined
from wfkit.api.signals import Signal
from wfkit.core.names import nested
from wfkit.core.reach import Seen, reached
from wfkit.errors import CodecError, DuplicateName, UnknownWorkflow

Definition = Step[..., Any] | Workflow[..., Any]

log = logging.getLogger("wfkit.app")

_NAMED_MAX = 10
"""So many workflows are named where one of them may have been meant."""


class Registry:
    """Workflows and steps by name. Each name means one definition.

    Raises:
        DuplicateName: two definitions share a name.
        CodecError: a parameter or result has a type that cannot travel.

    A parameter without a type hint is logged as a warning, once for each definition.
    """

    def __init__(self, definitions: Iterable[Any] = ()) -> None:
        self.workflows: dict[str, Workflow[..., Any]] = {}
        self.steps: dict[str, Step[..., Any]] = {}
        self._signals: dict[str, dict[str, list[Signal[Any]]]] = {}
        self.add(definitions)

    def add(self, definitions: Iterable[Any]) -> None:
        """Add definitions, and all that their code may come to call: by name, through tables, objects and other modules."""
        pending = [thing for thing in definitions if isinstance(thing, Step | Workflow)]
        seen: Seen = {}
        while pending:
            definition = pending.pop()
            if self._put(definition):
                called = reached(definition.fn, (Step, Workflow), seen)
                pending += (thing for thing in called if isinstance(thing, Step | Workflow))

    def _put(self, definition: Definition) -> bool:
        table: dict[str, Any] = self.steps if isinstance(definition, Step) else self.workflows
        known = table.get(definition.name)
        if known is None:
            _warn_of_missing_hints(definition)
            table[definition.name] = definition
            return True
        if known.fn is not definition.fn:
            kind = "steps" if isinstance(definition, Step) else "workflows"
            places = sorted((where_defined(known.fn), where_defined(definition.fn)))
            raise DuplicateName(f"two {kind} are named {definition.name!r}: {places[0]} and {places[1]}")
        return False

    def workflow(self, name: str) -> Workflow[..., Any]:
        """Return a workflow by name.

        Raises:
            UnknownWorkflow: there is none; the message names the nearest.
        """
        found = self.workflows.get(name)
        if found is None:
            near = get_close_matches(name, self.workflows, n=3)
            hint = f"; did you mean {' or '.join(repr(other) for other in near)}?" if near else ""
            raise UnknownWorkflow(f"no workflow is named {name!r}{hint}", help=self._which())
        return found

    def _which(self) -> str:
        names = sorted(self.workflows)
        more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
        return f"the app defines {', '.join(names[:_NAMED_MAX])}{more}"

    def triggered_by(self, signal: str) -> list[Workflow[..., Any]]:
        """Return the workflows that a published signal of this name starts, by name."""
        return [wf for _, wf in sorted(self.workflows.items()) if wf.on is not None and wf.on.name == signal]

    def signals_of(self, workflow: str) -> dict[str, list[Signal[Any]]]:
        """Return the signals that a workflow's code may take, by name; several if one name carries values of several types."""
        if workflow not in self.workflows:
            return {}
        if workflow not in self._signals:
            self._signals[workflow] = _signals_of(self.workflows[workflow])
        return self._signals[workflow]

    def check_payload(self, signal: str, payload: Raw, workflow: str | None = None) -> None:
        """Refuse a payload that would block whoever takes it, as far as the code tells what its signals carry.

        Args:
            signal: its name.
            payload: what it carries.
            workflow: of the run that is to get it; whichever may wait for it unless given.

        Raises:
            CodecError: the code has another type for it; the message names the path, such as `$.amount`.
        """
        refusal = None
        for name in self.workflows if workflow is None else (workflow,):
            for known in self.signals_of(name).get(signal, ()):
                try:
                    known.codec.decode(payload)
                except CodecError as error:
                    refusal = error
                else:
                    return
        if refusal is not None:
            raise CodecError(f"signal {signal!r} has a payload of the wrong type: {refusal}", help="nothing was sent")


def definitions_of(module: ModuleType) -> list[Definition]:
    """Return the definitions that a module holds at its top level, its own and imported ones."""
    return [thing for thing in vars(module).values() if isinstance(thing, Step | Workflow)]


def _warn_of_missing_hints(definition: Definition) -> None:
    missing = definition.signature.missing
    if missing:
        told = "%s %s, at %s, has no type hint for %s: tuples, sets and dates come back as lists and text there"
        kind = "step" if isinstance(definition, Step) else "workflow"
        log.warning(told, kind, definition.name, where_defined(definition.fn), ", ".join(missing))


def _signals_of(workflow: Workflow[..., Any]) -> dict[str, list[Signal[Any]]]:
    """Return the signals that code has as objects, and names by no text as well: what a text stands for may carry anything."""
    found: dict[str, dict[Signal[Any], None]] = {}
    texts: set[str] = set()
    for thing in (workflow.on, *reached(workflow.fn, (Signal, Step, Workflow))):
        if isinstance(thing, Signal):
            found.setdefault(thing.name, {})[thing] = None
        elif isinstance(thing, FunctionType):
            texts |= {text for code in nested(thing.__code__) for text in code.co_consts if isinstance(text, str)}
    return {name: list(signals) for name, signals in sorted(found.items()) if name not in texts}
