"""An engine on a journal file, in a process that is killed or kills itself.

Usage: killed_app.py JOURNAL EFFECTS WHAT. It appends a line to the file EFFECTS for everything that a step does, and prints
a line for everything that it was told is durable.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from wfkit import Engine
from wfkit.api.attempt import step_info
from wfkit.api.definitions import Retry, Workflow, step, workflow
from wfkit.api.primitives import sleep
from wfkit.api.signals import Signal, wait_signal

JOURNAL, EFFECTS, WHAT = sys.argv[1:]
go = Signal("go", int)


def effect(name: str) -> None:
    line = f"{name} {step_info().run_id} {step_info().attempt} {step_info().idempotency_key}\n"
    with Path(EFFECTS).open("a") as file:
        file.write(line)


@step
async def add(x: int) -> int:
    effect(f"add-{x}")
    return x + 1


@step
def add_in_a_thread(x: int) -> int:
    effect(f"thread-{x}")
    time.sleep(0.002)
    return x + 1


@step(retry=Retry(max_attempts=1))
async def deadly() -> None:
    effect("deadly")
    os._exit(9)


@step
async def slow() -> str:
    effect("slow")
    await asyncio.sleep(0.3)
    return "done"


@workflow
async def count(to: int) -> int:
    x = 0
    while x < to:
        x = await add(x)
        if x % 3 == 0:
            await sleep("2ms")
        x = await add_in_a_thread(x)
    return x + await wait_signal(go)


@workflow
async def die() -> None:
    await deadly()


@workflow
async def take_long() -> str:
    return await slow()


@workflow
async def die_in_the_workflow(x: int) -> None:
    await add(x)
    os._exit(9)


def tell(line: str) -> None:
    os.write(1, line.encode() + b"\n")


async def work(engine: Engine) -> None:
    runs = []
    for i in range(10):
        runs.append(await engine.start(count, 20, id=f"run-{i}"))
        tell(f"started run-{i}")
    for i, run in enumerate(runs):
        await run.send(go, 100, dedupe="go")
        tell(f"sent run-{i}")
    for run in runs:
        tell(f"result {run.id} {await run.result()}")


async def die_of_a_step(engine: Engine) -> None:
    innocent = await engine.start(take_long, id="innocent")
    run = await engine.start(die, id="guilty")
    try:
        await run.result()
    except Exception as exc:  # noqa: BLE001  # told to the parent
        tell(str(exc))
    tell(f"innocent {await innocent.result()}")


async def die_of_an_activation(engine: Engine) -> None:
    innocent = await engine.start(take_long, id="innocent")
    run = await engine.start(die_in_the_workflow, 1, id="guilty")
    tell(f"innocent {await innocent.result()}")
    await asyncio.sleep(0.2)
    tell(f"guilty {await run.status()}")


async def main() -> None:
    workflows: list[Workflow[..., Any]] = [count, die, take_long, die_in_the_workflow]
    async with Engine.open(JOURNAL, workflows=workflows, control=False) as engine:
        await {"work": work, "step": die_of_a_step, "activation": die_of_an_activation}[WHAT](engine)
    tell("closed")


asyncio.run(main())
