"""W1 to W6: what an engine on a journal file does in a second, and how long one thing takes."""

import asyncio
import itertools
import statistics
import time
from pathlib import Path

from tests.benchmarks import flows
from tests.benchmarks.figures import report, report_times
from wfkit import Engine
from wfkit.api.registry import Registry
from wfkit.core.entries import Record
from wfkit.core.machine import Machine, activations
from wfkit.core.records import decode_record, encode_record
from wfkit.engine.engine import running
from wfkit.journal.duckdb import open_journal


async def throughput(engine: Engine, runs: int = 1_000) -> None:
    """W1: runs of 3 steps, started together."""
    rates = []
    for _ in range(3):
        start = time.perf_counter()
        started = await asyncio.gather(*(engine.start(flows.sequential, 3) for _ in range(runs)))
        await asyncio.gather(*(run.result() for run in started))
        rates.append(runs / (time.perf_counter() - start))
    report("W1_runs_of_3_steps", statistics.median(rates), "runs/s", best=round(max(rates)))


async def sequential(engine: Engine, commit: float, steps: int = 500) -> None:
    """W2: one run, one step after the other. Times between entries of the history, which are in whole microseconds."""
    run = await engine.start(flows.sequential, steps)
    await run.result()
    times = [record.entry.t for record in await run.history()]
    between = [(later - earlier) / 1e6 for earlier, later in itertools.pairwise(times)]
    median = report_times("W2_step_of_one_run", between)
    report("W2_in_bare_commits", median / commit, "commits")


async def round_trip(engine: Engine, commit: float, runs: int = 200) -> None:
    """W3: from start to result of a run of one step, one after the other."""
    times = []
    for i in range(runs):
        start = time.perf_counter()
        await (await engine.start(flows.one_step, i)).result()
        times.append(time.perf_counter() - start)
    median = report_times("W3_start_to_result", times)
    report("W3_in_bare_commits", median / commit, "commits")


async def parallel(engine: Engine, steps: int = 200) -> None:
    """W4: one run with many steps at once."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        await (await engine.start(flows.parallel, steps)).result()
        times.append(time.perf_counter() - start)
    report_times("W4_200_parallel_steps", times)


async def timers(engine: Engine, runs: int = 1_000) -> None:
    """W6: how late runs wake up that sleep for a second, up to the delivery of their result."""
    late = []

    async def follow() -> None:
        run = await engine.start(flows.sleeper, 1.0)
        due = await run.result()
        late.append(time.time() - due)

    await asyncio.gather(*(follow() for _ in range(runs)))
    report_times("W6_lateness_of_1000_timers", late)


async def recovery(path: Path, steps: int = 1_000) -> None:
    """W5: a run with a long history is due after a restart: from then to its next command, its replay included."""
    async with Engine.open(str(path), workflows=[flows.waits_then_steps], control=False) as engine:
        run = await engine.start(flows.waits_then_steps, steps)
        while len(await run.history()) < steps + 1:
            await asyncio.sleep(0.05)
    journal = await open_journal(path)
    async with running(journal, Registry([flows.waits_then_steps])) as core:
        await core.get(flows.waits_then_steps, run.id).result()
        live = await core._runs.find(run.id)  # to replay the same history again
        assert live is not None
        times = []
        history: list[Record] = []
        for _ in range(10):
            start = time.perf_counter()
            history = live.read(await journal.history(live.number))  # what a rebuild does
            machine = Machine(flows.waits_then_steps)
            machine.replay(activations(history), length=len(history))
            times.append(time.perf_counter() - start)
        report_times("W5_rebuild_of_1000_steps", times)
    replay([encode_record(record) for record in history])


def replay(bodies: list[bytes]) -> None:
    """How fast a history is decoded and replayed, without storage."""
    times = []
    for _ in range(10):
        start = time.perf_counter()
        history = [decode_record(body) for body in bodies]
        Machine(flows.waits_then_steps).replay(activations(history), length=len(history))
        times.append(time.perf_counter() - start)
    report("replay", len(bodies) / statistics.median(times), "entries/s", entries=len(bodies))
