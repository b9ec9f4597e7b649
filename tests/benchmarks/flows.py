"""The workflows that are measured: no-op steps, so that what is left is the engine."""

import asyncio

from wfkit import now, sleep, step, workflow


@step
async def no_op(x: int) -> int:
    """Return at once."""
    return x


@workflow
async def one_step(n: int) -> int:
    return await no_op(n)


@workflow
async def sequential(n: int) -> int:
    for i in range(n):
        await no_op(i)
    return n


@workflow
async def parallel(n: int) -> int:
    return sum(await asyncio.gather(*(no_op(i) for i in range(n))))


@workflow
async def sleeper(seconds: float) -> float:
    """Sleep, and return when it should have woken up, as a time stamp."""
    due = now().timestamp() + seconds
    await sleep(seconds)
    return due


@workflow
async def waits_then_steps(n: int) -> int:
    """Do some steps, sleep, and do another one: for the recovery of a long history."""
    for i in range(n):
        await no_op(i)
    await sleep(0.5)
    return await no_op(n)


ALL = (one_step, sequential, parallel, sleeper, waits_then_steps)
