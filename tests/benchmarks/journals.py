"""A journal with as many finished runs as wanted, in seconds: a few runs happen for real, and their histories are copied."""

import contextlib
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from tests.benchmarks.orders import Order, order_saga, refund
from wfkit import Engine
from wfkit.api.definitions import Workflow
from wfkit.core.entries import KINDS, Record
from wfkit.core.records import decode_record, encode_record
from wfkit.core.state import RunState, encode_state
from wfkit.errors import RunFailed
from wfkit.journal.duckdb import open_journal
from wfkit.journal.port import Row, RunRow

RUNS = 100_000
APART_SECONDS = 6
"""Between the starts of two runs: the journal tells of a week."""
BATCH = 1_000
TEMPLATE = 999_999_999
"""The number of the order that is copied: digits that stand nowhere else in a history."""
MIX: Sequence[tuple[Workflow[[Order], str], Order]] = [
    *itertools.repeat((order_saga, Order(TEMPLATE)), 17),
    *itertools.repeat((refund, Order(TEMPLATE)), 2),
    (order_saga, Order(TEMPLATE, card="declined")),
]
"""What happened again and again."""


async def make_journal(path: Path, runs: int = RUNS) -> None:
    """Write a journal of runs that have ended, the last of them just now."""
    templates = await _templates()
    began = time.time_ns() // 1000 - runs * APART_SECONDS * 1_000_000
    journal = await open_journal(path)
    try:
        for numbers in _batches(range(1, runs + 1), BATCH):
            copies = [_copy(templates[number % len(templates)], number, began) for number in numbers]
            journal.append([row for rows, _ in copies for row in rows])
            await journal.project([run for _, run in copies])
        await journal.checkpoint()
    finally:
        await journal.close()


async def _templates() -> list[list[Record]]:
    """Let each different thing happen once, and return the histories in the order of the mix."""
    histories: dict[tuple[str, Order], list[Record]] = {}
    with tempfile.TemporaryDirectory(prefix="wfkit-bench-") as folder:
        async with Engine.open(f"{folder}/journal.duckdb", workflows=[order_saga, refund]) as engine:
            for workflow, order in dict.fromkeys(MIX):
                run = await engine.start(workflow, order, id=f"{workflow.name}-{order.id}-{order.card}")
                with contextlib.suppress(RunFailed):
                    await run.result()
                histories[workflow.name, order] = list(await run.history())
    return [histories[workflow.name, order] for workflow, order in MIX]


def _copy(template: Sequence[Record], number: int, began: int) -> tuple[list[Row], RunRow]:
    """Return the rows of a run that went as another one did, and its row in the projection."""
    later = began + number * APART_SECONDS * 1_000_000 - template[0].entry.t
    state = RunState(number)
    rows = []
    for seq, record in enumerate(template, 1):
        entry = replace(record.entry, t=record.entry.t + later)
        body = encode_record(Record(entry, record.commands)).replace(b"%d" % TEMPLATE, b"%d" % number)
        state.apply(decode_record(body))
        rows.append(Row(number, seq, KINDS[type(entry)], entry.t, body))
    run = RunRow(
        number,
        state.id,
        state.generation,
        state.workflow,
        state.status,
        state.started,
        state.updated,
        state.seq,
        state.wake_at,
        encode_state(state),
    )
    return rows, run


def _batches(numbers: range, size: int) -> Iterator[range]:
    return (numbers[start : start + size] for start in range(0, len(numbers), size))
