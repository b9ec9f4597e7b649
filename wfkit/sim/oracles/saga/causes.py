"""Why something that should have been undone was left behind, and what to do about it."""

from __future__ import annotations

from wfkit.core.names import nested, own_functions
from wfkit.sim.oracles.saga.deeds import Deeds
from wfkit.sim.oracles.saga.pairing import Deed
from wfkit.sim.trails import Trail

_REGISTER_FIRST = "let a saga do it: async with saga() as s: await s.do(step, ..., undo=...) registers the undo before the step"


def why_left(deeds: Deeds, trail: Trail, deed: Deed) -> tuple[str, str]:
    """Return why a deed was left behind by a run, its own or that of a child, and what to do about it."""
    undos = deeds.undos_of(deed)
    idle = [undo for undo in undos if undo.trail.ended_well(undo.n) and deeds.is_idle(deed, undo)]
    if idle and deeds.has_asked(idle[0]):
        return f"the call of {idle[0].step.name} failed, and it ended well all the same", (
            "let the exception leave it (over HTTP: raise_for_status()), so that it is tried again"
        )
    if idle:
        return f"{idle[0].step.name} ended well, but asked nobody to undo anything", (
            "undo also what may have been done: a step that failed, or whose end is unknown, may have taken effect all the same"
        )
    in_vain = [undo for undo in undos if deeds.was_in_vain(deed, undo)]
    if in_vain:
        return deeds.told_of_vain(
            deed, in_vain[0]
        ), f"undo what was done: undoes({deed.step.name}) gives its key and its result"
    if deed.trail is not trail:
        why = f"the saga of {deed.trail.workflow} was over when {trail.workflow} failed: its undos were released"
        return why, (
            f"register what undoes {deed.trail.workflow} in the saga of {trail.workflow}, before it is started: s.undo(...)"
        )
    undoing = undoing_of(deeds, deed)
    if undoing:
        return f"{undoing} was still under way when {trail.workflow} ended, which cut it short", (
            "await all that undoes: an asyncio.TaskGroup waits for every task, asyncio.gather not for those that are left over"
        )
    if undos:
        return f"{deed.step.name} was under way when undoing began, and took effect after its undo", (
            "await all that was begun before undoing; a saga does so by itself"
        )
    if any(undo.of == deed.n for undo in trail.unreleased):
        return f"its saga was still open when {trail.workflow} ended, in a task that nobody awaited", (
            "await every task that holds a saga, also when a cancel comes: an asyncio.TaskGroup does"
        )
    return _why_not_begun(deeds, deed)


def _why_not_begun(deeds: Deeds, deed: Deed) -> tuple[str, str]:
    """Say why nothing has begun to undo something."""
    trail, name = deed.trail, deed.step.name
    if _is_registered_without_faults(deeds, deed):
        return f"{name} took effect, and its undo was not registered by then", _REGISTER_FIRST
    if trail.failed_sagas and all(deed.n not in commands for commands in trail.failed_sagas):
        return f"{name} is not part of the saga that was undone", f"do it in the saga: await s.do({name}, ..., undo=...)"
    if trail.status == "cancelled" and not deeds.has_undone(trail) and _catches_exceptions(deeds, trail):
        return "a cancel is no Exception: `except Exception` does not see it, and what stops it ends the undoing", (
            f"except BaseException, undo, and raise again; or {_REGISTER_FIRST}"
        )
    if not trail.ended_well(deed.n):
        return f"{name} took effect but did not return, and its undo was not registered by then", _REGISTER_FIRST
    return f"nothing undid {name}", _REGISTER_FIRST


def _is_registered_without_faults(deeds: Deeds, deed: Deed) -> bool:
    """Whether the code registers an undo of a step by hand that it has not registered here."""
    base, names = deeds.reference.trails.newest(deed.trail.id), set(deeds.reference.undos_of(deed.step.name))
    usual = {undo.undo for _, undo in base.undos if undo.of is None} if base is not None else set()
    return bool(names & usual) and not names & {undo.undo for _, undo in deed.trail.undos}


def _catches_exceptions(deeds: Deeds, trail: Trail) -> bool:
    """Whether the workflow's code names `Exception`, as in `except Exception`."""
    definition = deeds.reference.registry.workflows.get(trail.workflow)
    functions = own_functions(definition.fn) if definition is not None else ()
    return any("Exception" in code.co_names for fn in functions for code in nested(fn.__code__))


def undoing_of(deeds: Deeds, deed: Deed) -> str:
    """Return the name of the step that was undoing a step call when its run ended; empty if none was."""
    under_way = (undo for undo in deeds.undos_of(deed) if undo.n not in undo.trail.ends and undo.trail.ending is not None)
    return next((undo.step.name for undo in under_way), "")
