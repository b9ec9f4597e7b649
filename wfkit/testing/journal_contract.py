"""What every journal must do, as tests: derive from `JournalContract` and say how your storage is opened and crashed.

class TestMyJournal(JournalContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return MyStorage()
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from wfkit.errors import EngineClosed, JournalLocked, WfkitError
from wfkit.journal.port import Journal, Row, RunRow

_STEP_COMPLETED = 2


class Storage(Protocol):
    """One place where a journal lives, which starts empty."""

    async def open(self) -> Journal:
        """Open the journal, in whatever state the last close or crash left it."""
        ...

    async def crash(self, journal: Journal) -> None:
        """Lose what `journal` has not made durable, and let it go."""
        ...


def row(run: int, seq: int, body: bytes = b"{}", t: int = 0) -> Row:
    return Row(run, seq, _STEP_COMPLETED, t, body)


def run_row(
    run: int, id: str, *, generation: int = 1, status: str = "running", seq: int = 1, wake_at: int | None = None
) -> RunRow:
    return RunRow(run, id, generation, "fulfil", status, 1_000, 2_000, seq, wake_at, f"state of {run} at {seq}".encode())


async def write(journal: Journal, *rows: Row) -> None:
    """Append rows as one unit and wait until it is durable."""
    durable = asyncio.Event()
    journal.append(rows, durable.set)
    await durable.wait()


class JournalContract:
    """The conformance suite. Its tests are synchronous and each one runs an event loop of its own."""

    # -- rows --------------------------------------------------------------------------------------------------------

    def test_rows_come_back_as_they_were_written(self, storage: Storage) -> None:
        """Numbers up to their limits and any body return unchanged after a reopen."""
        bodies = [b"{}", b"", b"\x00\xff'\"\n", "żółć 🦆".encode(), b"x" * 2_500_000]
        rows = [Row(2**62, seq, 255, 2**62 + seq, body) for seq, body in enumerate(bodies, 1)]

        async def scenario() -> None:
            journal = await storage.open()
            await write(journal, *rows)
            assert await journal.history(2**62) == rows
            await journal.close()
            journal = await storage.open()
            assert await journal.history(2**62) == rows
            await journal.close()

        asyncio.run(scenario())

    def test_a_history_holds_one_run_in_order(self, storage: Storage) -> None:
        """Rows of several runs, interleaved, come back by run and by number; `after` leaves out the first ones."""

        async def scenario(journal: Journal) -> None:
            for seq in range(1, 51):
                journal.append([row(run, seq, f"{run}/{seq}".encode()) for run in (1, 2, 3)])
            assert [(r.run, r.seq) for r in await journal.history(2)] == [(2, seq) for seq in range(1, 51)]
            assert [r.body for r in await journal.history(3, after=48)] == [b"3/49", b"3/50"]
            assert await journal.history(3, after=50) == []
            assert await journal.history(4) == []

        _with(storage, scenario)

    def test_a_history_includes_what_was_appended_just_before(self, storage: Storage) -> None:
        """Nobody has to wait for rows to be durable before asking for them, urgent or not."""

        async def scenario(journal: Journal) -> None:
            journal.append([row(1, 1)], _nothing)
            assert await journal.history(1) == [row(1, 1)]
            journal.append([row(1, 2)])
            assert await journal.history(1) == [row(1, 1), row(1, 2)]

        _with(storage, scenario)

    def test_a_history_is_the_callers_own_list(self, storage: Storage) -> None:
        """Changing the returned list does not change the journal."""

        async def scenario(journal: Journal) -> None:
            await write(journal, row(1, 1))
            (await journal.history(1)).clear()
            assert await journal.history(1) == [row(1, 1)]

        _with(storage, scenario)

    # -- durability --------------------------------------------------------------------------------------------------

    def test_a_unit_reported_durable_survives_a_crash(self, storage: Storage) -> None:
        """`durable` means durable."""

        async def scenario() -> None:
            journal = await storage.open()
            await write(journal, row(1, 1), row(2, 1))
            await storage.crash(journal)
            journal = await storage.open()
            assert await journal.history(1) == [row(1, 1)]
            assert await journal.history(2) == [row(2, 1)]
            await journal.close()

        asyncio.run(scenario())

    def test_a_crash_leaves_whole_units_from_the_beginning(self, storage: Storage) -> None:
        """Units survive in the order of their calls, never in part; those that were reported are among them."""

        async def scenario() -> None:
            journal = await storage.open()
            reported: list[int] = []
            enough = asyncio.Event()

            def durable(number: int) -> None:
                reported.append(number)
                if number == 3:
                    enough.set()

            for number in range(1, 501):
                unit = [row(run, number) for run in (1, 2, 3)]
                journal.append(unit, lambda number=number: durable(number))  # type: ignore[misc]  # a bound default
                if number % 100 == 0:
                    await asyncio.sleep(0)
            await enough.wait()
            acknowledged = list(reported)
            await storage.crash(journal)
            journal = await storage.open()
            lengths = {len(await journal.history(run)) for run in (1, 2, 3)}
            await journal.close()
            assert acknowledged == list(range(1, len(acknowledged) + 1))
            assert len(lengths) == 1
            assert lengths.pop() >= len(acknowledged)

        asyncio.run(scenario())

    def test_units_are_reported_once_and_in_order(self, storage: Storage) -> None:
        """However they are grouped, the callbacks come in the order of the calls, on the loop's thread."""

        async def scenario(journal: Journal) -> None:
            reported: list[int] = []
            last = asyncio.Event()
            for number in range(1, 2001):
                journal.append([row(1, number)], lambda number=number: reported.append(number))  # type: ignore[misc]  # as above
                if number % 7 == 0:
                    await asyncio.sleep(0)
            journal.append([row(1, 2001)], last.set)
            await last.wait()
            assert reported == list(range(1, 2001))

        _with(storage, scenario)

    def test_durable_is_never_called_within_append(self, storage: Storage) -> None:
        """The caller finishes its own work before it hears of the unit."""

        async def scenario(journal: Journal) -> None:
            durable = asyncio.Event()
            journal.append([row(1, 1)], durable.set)
            assert not durable.is_set()
            await durable.wait()

        _with(storage, scenario)

    def test_a_callback_may_append(self, storage: Storage) -> None:
        """The outcome of one unit is often the cause of the next."""

        async def scenario(journal: Journal) -> None:
            last = asyncio.Event()

            def go_on(seq: int) -> Callable[[], None]:
                return last.set if seq == 20 else lambda: journal.append([row(1, seq + 1)], go_on(seq + 1))

            journal.append([row(1, 1)], go_on(1))
            await last.wait()
            assert [r.seq for r in await journal.history(1)] == list(range(1, 21))

        _with(storage, scenario)

    def test_a_failing_callback_does_not_silence_the_others(self, storage: Storage) -> None:
        """Its error goes to the loop's exception handler."""

        async def scenario(journal: Journal) -> None:
            errors: list[object] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context.get("exception")))
            error = ValueError("of the caller")

            def fail() -> None:
                raise error

            journal.append([row(1, 1)], fail)
            await write(journal, row(1, 2))
            assert errors == [error]

        _with(storage, scenario)

    def test_an_empty_unit_is_reported_after_those_before_it(self, storage: Storage) -> None:
        """It stores nothing, and serves as a barrier."""

        async def scenario(journal: Journal) -> None:
            reported: list[str] = []
            journal.append([row(1, 1)], lambda: reported.append("row"))
            await write(journal)
            assert reported == ["row"]
            assert await journal.history(1) == [row(1, 1)]

        _with(storage, scenario)

    def test_a_lazy_unit_keeps_its_place(self, storage: Storage) -> None:
        """A unit without a callback is durable at the latest when a later one is reported."""

        async def scenario() -> None:
            journal = await storage.open()
            journal.append([row(1, 1)])
            await write(journal, row(2, 1))
            await storage.crash(journal)
            journal = await storage.open()
            assert await journal.since_projection() == [row(1, 1), row(2, 1)]
            await journal.close()

        asyncio.run(scenario())

    def test_a_lazy_unit_becomes_durable_by_itself(self, storage: Storage) -> None:
        """Even if nothing urgent ever follows."""

        async def scenario() -> None:
            journal = await storage.open()
            journal.append([row(1, 1)])
            await asyncio.sleep(0.5)  # ten times what the port promises
            await storage.crash(journal)
            journal = await storage.open()
            assert await journal.history(1) == [row(1, 1)]
            await journal.close()

        asyncio.run(scenario())

    # -- the projection ----------------------------------------------------------------------------------------------

    def test_a_new_journal_is_empty(self, storage: Storage) -> None:
        """Nothing is found, nothing is unfinished, and there is no run number yet."""

        async def scenario(journal: Journal) -> None:
            assert journal.last_run == 0
            assert await journal.since_projection() == []
            assert await journal.unfinished() == []
            assert await journal.find("a") is None
            assert await journal.stored(1) is None

        _with(storage, scenario)

    def test_rows_that_the_projection_does_not_include_come_in_order(self, storage: Storage) -> None:
        """After a reopen, exactly those that were appended after the last `project`."""

        async def scenario() -> None:
            journal = await storage.open()
            journal.append([row(1, 1), row(2, 1)])
            await journal.project([run_row(1, "a"), run_row(2, "b")])
            journal.append([row(2, 2), row(1, 2)])
            journal.append([row(3, 1)])
            await journal.close()
            journal = await storage.open()
            assert await journal.since_projection() == [row(2, 2), row(1, 2), row(3, 1)]
            await journal.close()

        asyncio.run(scenario())

    def test_what_is_appended_while_the_projection_is_written_is_not_included(self, storage: Storage) -> None:
        """The projection stands for the rows appended before the call, whenever it gets written."""

        async def scenario() -> None:
            journal = await storage.open()
            journal.append([row(1, 1)], _nothing)
            projecting = asyncio.ensure_future(journal.project([run_row(1, "a")]))
            await asyncio.sleep(0)
            journal.append([row(1, 2)], _nothing)
            await projecting
            await journal.close()
            journal = await storage.open()
            assert await journal.since_projection() == [row(1, 2)]
            await journal.close()

        asyncio.run(scenario())

    def test_the_projection_survives_a_crash(self, storage: Storage) -> None:
        """Rows of the projection are durable when `project` returns, and so are the rows that they stand for."""

        async def scenario() -> None:
            journal = await storage.open()
            journal.append([row(1, 1)])
            await journal.project([run_row(1, "a", wake_at=77)])
            await storage.crash(journal)
            journal = await storage.open()
            assert await journal.stored(1) == run_row(1, "a", wake_at=77)
            assert await journal.since_projection() == []
            assert await journal.history(1) == [row(1, 1)]
            await journal.close()

        asyncio.run(scenario())

    def test_a_later_projection_replaces_an_earlier_one(self, storage: Storage) -> None:
        """A run has one row; runs that are not named keep theirs."""

        async def scenario(journal: Journal) -> None:
            journal.append([row(1, 1), row(2, 1)])
            await journal.project([run_row(1, "a"), run_row(2, "b")])
            journal.append([row(1, 2)])
            await journal.project([run_row(1, "a", status="completed", seq=2)])
            assert await journal.stored(1) == run_row(1, "a", status="completed", seq=2)
            assert await journal.find("a") == run_row(1, "a", status="completed", seq=2)
            assert await journal.stored(2) == run_row(2, "b")
            await journal.project([])
            assert await journal.stored(2) == run_row(2, "b")

        _with(storage, scenario)

    def test_an_id_finds_its_newest_generation(self, storage: Storage) -> None:
        """Whatever the order in which generations were projected; ids are compared exactly."""

        async def scenario() -> None:
            journal = await storage.open()
            journal.append([row(run, 1) for run in (1, 2, 3, 4)])
            await journal.project(
                [
                    run_row(2, "a", generation=2),
                    run_row(3, "a", generation=3),
                    run_row(1, "a", generation=1, status="completed"),
                    run_row(4, "A'; --%_"),
                ]
            )
            assert await journal.find("a") == run_row(3, "a", generation=3)
            assert await journal.find("A") is None
            assert await journal.find("A'; --%_") == run_row(4, "A'; --%_")
            await journal.close()
            journal = await storage.open()
            assert await journal.find("a") == run_row(3, "a", generation=3)
            assert await journal.find("A") is None
            await journal.close()

        asyncio.run(scenario())

    def test_unfinished_runs_are_those_that_run_or_are_blocked(self, storage: Storage) -> None:
        """In the order of their numbers; finished ones are left out."""
        statuses = ["running", "completed", "failed", "blocked", "cancelled", "terminated", "timed_out", "running"]

        async def scenario(journal: Journal) -> None:
            numbered = list(enumerate(statuses, 1))
            journal.append([row(run, 1) for run, _ in numbered])
            await journal.project([run_row(run, f"r{run}", status=status) for run, status in reversed(numbered)])
            assert [found.run for found in await journal.unfinished()] == [1, 4, 8]

        _with(storage, scenario)

    # -- openings ----------------------------------------------------------------------------------------------------

    def test_each_opening_has_the_next_epoch(self, storage: Storage) -> None:
        """From 1, after a close and after a crash."""

        async def scenario() -> None:
            first = await storage.open()
            await first.close()
            second = await storage.open()
            await storage.crash(second)
            third = await storage.open()
            await third.close()
            assert (first.epoch, second.epoch, third.epoch) == (1, 2, 3)

        asyncio.run(scenario())

    def test_the_highest_run_number_is_known_at_opening(self, storage: Storage) -> None:
        """From projected rows and from rows after the projection; the bus, run 0, counts for nothing."""

        async def scenario() -> None:
            journal = await storage.open()
            await write(journal, row(0, 1))
            await storage.crash(journal)
            journal = await storage.open()
            assert journal.last_run == 0
            journal.append([row(7, 1)])
            await journal.project([run_row(7, "a")])
            await journal.close()
            journal = await storage.open()
            assert journal.last_run == 7
            journal.append([row(9, 1)])
            await journal.close()
            journal = await storage.open()
            assert journal.last_run == 9
            await journal.close()

        asyncio.run(scenario())

    def test_one_journal_has_one_writer(self, storage: Storage) -> None:
        """Of two openings of one storage at most one can append: the second is refused, or it fences the first."""

        async def scenario() -> None:
            first = await storage.open()
            refusal: WfkitError | None = None
            second: Journal | None = None
            try:
                second = await storage.open()
                first.append([row(1, 1)])
            except JournalLocked as error:
                refusal = error
            assert refusal is not None
            for journal in (first, second):
                if journal is not None:
                    await journal.close()

        asyncio.run(scenario())

    def test_closing_makes_everything_durable(self, storage: Storage) -> None:
        """Units that were not yet reported are reported before `close` returns."""

        async def scenario() -> None:
            journal = await storage.open()
            reported: list[int] = []
            journal.append([row(1, 1)], lambda: reported.append(1))
            journal.append([row(1, 2)])
            await journal.close()
            assert reported == [1]
            journal = await storage.open()
            assert await journal.history(1) == [row(1, 1), row(1, 2)]
            await journal.close()

        asyncio.run(scenario())

    def test_a_closed_journal_takes_nothing(self, storage: Storage) -> None:
        """Every use raises `EngineClosed`; closing again does nothing."""

        async def scenario() -> None:
            journal = await storage.open()
            await journal.close()
            await journal.close()
            uses: Sequence[Callable[[], Awaitable[object] | None]] = (
                lambda: journal.append([row(1, 1)]),
                lambda: journal.history(1),
                lambda: journal.project([]),
                journal.unfinished,
            )
            for use in uses:
                refused = False
                try:
                    answer = use()
                    if answer is not None:
                        await answer
                except EngineClosed:
                    refused = True
                assert refused

        asyncio.run(scenario())


def _with(storage: Storage, scenario: Callable[[Journal], Awaitable[None]]) -> None:
    async def opened() -> None:
        journal = await storage.open()
        try:
            await scenario(journal)
        finally:
            await journal.close()

    asyncio.run(opened())


def _nothing() -> None:
    pass
