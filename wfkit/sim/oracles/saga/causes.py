"""Why something that should have been undone was left behind, and what to do about it."""

from __future__ import annotations

from wfkit.sim.oracles.saga.deeds import Deed, Deeds
from wfkit.sim.trails import Trail

_REGISTER_FIRST = "let a saga do it: async with saga() as s: await s.do(step, ..., undo=...) registers the undo before the step"


def why_left(deeds: Deeds, trail: Trail, done: Deed) -> tuple[str, str]:
    idle = [n for n in deeds.undos_of(done, trail) if trail.ended_well(n) and deeds.is_idle(done, trail, n)]
    if idle:
        return f"{trail.steps[idle[0]].name} ended well, but asked nobody to undo anything", (
            "undo also what may have been done: a step that failed, or whose end is unknown, may have taken effect all the same"
        )
    in_vain = [n for n in deeds.undos_of(done, trail) if deeds.was_in_vain(done, trail, n)]
    if in_vain:
        return f"{trail.steps[in_vain[0]].name} ended well, but the service had found nothing to undo by it", (
            f"undo what was done: undoes({done.step.name}) gives its key and its result"
        )
    if done.trail is not trail:
        why = f"the saga of {done.trail.workflow} was over when {trail.workflow} failed: its undos were released"
        return (
            why,
            f"register what undoes {done.trail.workflow} in the saga of {trail.workflow}, before it is started: s.undo(...)",
        )
    undoing = undoing_of(deeds, trail, done)
    if undoing:
        return f"{undoing} was still under way when {trail.workflow} ended, which cut it short", (
            "await all that undoes: an asyncio.TaskGroup waits for every task, asyncio.gather not for those that are left over"
        )
    if deeds.undos_of(done, trail):
        return f"{done.step.name} was under way when undoing began, and took effect after its undo", (
            "await all that was begun before undoing; a saga does so by itself"
        )
    if any(undo.of == done.n for undo in trail.unreleased):
        return f"its saga was still open when {trail.workflow} ended, in a task that nobody awaited", (
            "await every task that holds a saga, also when a cancel comes: an asyncio.TaskGroup does"
        )
    if trail.status == "cancelled" and not deeds.has_undone(trail):
        return "a cancel is no Exception: `except Exception` does not see it, and what stops it ends the undoing", (
            f"except BaseException, undo, and raise again; or {_REGISTER_FIRST}"
        )
    if not deeds.undos_of(done, trail) and not trail.ended_well(done.n):
        why = f"{done.step.name} took effect but did not return, and its undo was not registered by then"
        return why, _REGISTER_FIRST
    return f"nothing undid {done.step.name}", _REGISTER_FIRST


def undoing_of(deeds: Deeds, trail: Trail, done: Deed) -> str:
    """Return the name of the step that was undoing a step call when its run ended; empty if none was."""
    return next((trail.steps[n].name for n in deeds.undos_of(done, trail) if n not in trail.ends), "")
