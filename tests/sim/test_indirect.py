"""What is declared of a step holds however its workflow comes to call it."""

from __future__ import annotations

import pytest

from tests.sim.judging import bank, book, found, release, reserve, subject_of, unbook
from wfkit import Expect, Step, Workflow, step, workflow

CRASH = "crash@1:step.effect_done_not_journaled:"


@step(expect=Expect(at_least_once="two mails are fine"))
async def tell(who: str) -> None:
    await bank.get().call("tell", who=who)


TOOLS = {"tell": tell}


@workflow
async def by_table() -> None:
    await TOOLS["tell"]("ann")


@workflow
async def by_computed_name() -> None:
    module = __import__("importlib").import_module(__name__)
    await getattr(module, "te" + "ll")("ann")


def made(name: str) -> Step[[str], None]:
    """A step that is nowhere to be found before it is called."""

    @step(name=name, expect=Expect(at_least_once="two mails are fine"))
    async def send(who: str) -> None:
        await bank.get().call("tell", who=who)

    return send


@workflow
async def made_while_it_runs() -> None:
    await made("send")("ann")


@pytest.mark.parametrize("indirect", [by_table, by_computed_name, made_while_it_runs], ids=lambda workflow: workflow.name)
def test_a_step_may_happen_twice_if_it_says_so(indirect: Workflow[[], None]) -> None:
    """Its definition is at hand when it is called, whatever led to it."""
    name = "send" if indirect is made_while_it_runs else "tell"
    assert found(subject_of(indirect), CRASH + name) == []


UNDO: dict[Step[[str], str], Step[[str], None]] = {reserve: release, book: unbook}


@workflow
async def undoes_by_table() -> None:
    done: list[tuple[Step[[str], str], str]] = []
    try:
        for do in UNDO:
            done.append((do, "a"))
            await do("a")
        await tell("ann")
    except Exception:
        for do, what in reversed(done):
            await UNDO[do](what)
        raise


def test_a_table_of_undos_shows_that_a_workflow_undoes_what_it_does() -> None:
    """Although the code names none of them, and none is called where nothing undoes."""
    [violation] = found(subject_of(undoes_by_table), "cancel@3:call.before:tell")
    assert (violation.oracle, violation.severity) == ("saga", "error")
    assert violation.title.startswith("undoes_by_table was cancelled, and ")
