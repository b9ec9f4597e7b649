"""Correct workflows that look wrong. None of them may be found, with no more declared than is declared here."""

from __future__ import annotations

import asyncio
import time
from time import time as wall_clock  # the guard does not see a name that was bound before

from tests.quality.bugs import PAYMENTS, payments_counted
from tests.quality.case import Case
from tests.quality.outside import ONCE, charge, jitter, note, outside
from wfkit import Step, StepError, logger, step, step_info, unsafe, workflow
from wfkit.testing import Instance, outcome

# C01: the wall clock is read for the log alone: it reaches no command and no result.


@workflow
async def clock_for_the_log() -> str:
    logger.info("at %s", time.time())
    await charge(5)
    return "ok"


@workflow
async def unsafe_clock_for_the_log() -> str:
    with unsafe("for the log alone"):
        logger.info("at %s", time.time())
    await charge(5)
    return "ok"


@workflow
async def bound_clock_for_the_log() -> str:
    logger.info("at %s", wall_clock())
    await charge(5)
    return "ok"


# C03: answers are handled in the order in which they come. That order is in the journal.


@workflow
async def in_order_of_arrival() -> None:
    waiting = {asyncio.create_task(jitter(i)) for i in range(4)}
    out: list[int] = []
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        out += [task.result() for task in done]
    await note(f"all of {sorted(out)}")


# C05: when the provider is slow there is another answer, and that is declared.


@step
async def quote() -> str:
    return str(await outside.get().call("quote", idempotency_key=step_info().idempotency_key))


@workflow
async def quote_or_fallback() -> str:
    try:
        await quote.with_options(timeout="60s", retry=ONCE)()
    except (StepError, OSError):  # StepTimeout is a StepError, ConnectionError an OSError
        return "fallback"
    return "live"


FALLBACK = tuple(outcome(fault=fault, value="fallback") for fault in ("slow", "lost_ack", "fail", "fail_n", "outage", "fatal"))

# C07: the same natural key in two places, for the same operation.


@step
async def charge_for_order(order: str) -> None:
    await outside.get().call("charge", idempotency_key=order, amount=5)


@workflow
async def same_key_twice() -> str:
    await charge_for_order("order-1")
    await charge_for_order("order-1")
    return "ok"


# C09: children end in any order, and so do their effects; there are always the same ones.


@workflow
async def child_with_note(i: int) -> int:
    await jitter(i)
    await note(f"child {i}")
    return i


@workflow
async def children_in_any_order() -> list[int]:
    return sorted(await asyncio.gather(*(child_with_note(i) for i in range(3))))


# An agent calls the same tool in each turn: each call has a key of its own.


@step
async def think(messages: list[str]) -> str:
    return str(await outside.get().read("think", messages=messages))


@step
async def use_tool(query: str) -> str:
    return str(await outside.get().call("use tool", idempotency_key=step_info().idempotency_key, query=query))


@workflow
async def agent(goal: str) -> list[str]:
    messages = [goal]
    while (thought := await think(messages)) != "done":
        messages.append(await use_tool(thought))
    return messages


# Two runs share one key on purpose: the invoice is paid once, whoever comes first.


@workflow
async def pay_invoice() -> str:
    await invoice_payment("acme", "2026-11")(50)
    return "ok"


def invoice_payment(customer: str, month: str) -> Step[[int], str]:
    return charge.with_options(key=f"invoice/{customer}/{month}")


# A late zombie: its call lands, with the same key, when the attempt after it has been completed long ago.


@step(timeout="10s")
async def charge_in_time(amount: int) -> None:
    await outside.get().call("charge", idempotency_key=step_info().idempotency_key, amount=amount)


@workflow
async def charge_and_go_on() -> str:
    await charge_in_time(50)
    await note("charged")
    return "ok"


CASES = (
    Case("C01", clock_for_the_log),
    Case("C01", unsafe_clock_for_the_log),
    Case("C01", bound_clock_for_the_log),
    Case("C03", in_order_of_arrival),
    Case("C05", quote_or_fallback, expect=FALLBACK),
    Case("C07", same_key_twice),
    Case("C09", children_in_any_order),
    Case("C11", payments_counted, script=PAYMENTS),
    Case("agent", agent, ("find it",)),
    Case("shared key", pay_invoice, run_id="a", runs=(Instance(pay_invoice, id="b", at=5),)),
    Case("late zombie", charge_and_go_on),
)
