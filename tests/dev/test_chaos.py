"""Faults strike the worker, and every run goes on all the same."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from msgspec import Raw

from tests.dev.developing import Developer, developing
from wfkit.api.registry import Registry
from wfkit.control.address import named_socket
from wfkit.control.client import AsyncEngineClient, EngineClient
from wfkit.control.logs import own_logs
from wfkit.control.messages import (
    AwaitEnd,
    ChaosFacts,
    FindRun,
    GetChaos,
    GetEngine,
    GetHistory,
    GetLogs,
    Request,
    SendSignal,
    StartRun,
    Strike,
)
from wfkit.control.server import serving
from wfkit.core.entries import AttemptFailed, SignalReceived, StepFailed
from wfkit.dev.chaos import PROFILES, Profile, parse_profile
from wfkit.engine.engine import running
from wfkit.errors import ChaosProfileError, EngineUnreachable, NoChaos
from wfkit.journal.duckdb import open_journal

A = TypeVar("A")

APP = """
import asyncio
from pathlib import Path
from wfkit import Retry, Signal, sleep, step, wait_signal, workflow

packed = Signal("packed", str)


@step
async def charge(order: str) -> str:
    await asyncio.sleep(0.1)
    return order


@step(retry=Retry(max_attempts=1))
async def watch_for(file: str) -> str:
    print("watching", flush=True)
    while not Path(file).exists():
        await asyncio.sleep(0.01)
    return "seen"


@workflow
async def purchase(order: str) -> str:
    for _ in range(15):
        await charge(order)
    return order


@workflow
async def guard(file: str) -> str:
    return await watch_for(file)


@workflow
async def nap(length: str) -> str:
    await sleep(length)
    return "rested"


@workflow
async def parcel() -> list[str]:
    return [await wait_signal(packed), await wait_signal(packed)]
"""
HOUR_US = 3_600_000_000
SECONDS_MAX = 60.0
"""For a run that is interrupted again and again."""


class Struck:
    """What one does to a developer's engine."""

    def __init__(self, developer: Developer, folder: str) -> None:
        self.developer = developer
        self.folder = folder
        self.ask = EngineClient(named_socket(Path(folder))).ask

    def start(self, workflow: str, *arguments: str) -> str:
        return self.patiently(StartRun(workflow=workflow, input=Raw(msgspec.json.encode(arguments)))).run

    def result(self, run: str) -> object:
        """Wait for the end of a run, however often its engine is killed, and return its result."""
        deadline = time.monotonic() + SECONDS_MAX
        while (end := self.patiently(AwaitEnd(run=run, seconds=5))).status is None:
            assert time.monotonic() < deadline
        assert isinstance(end.value, Raw), end
        return msgspec.json.decode(end.value)

    def patiently(self, request: Request[A]) -> A:
        """Ask until there is an engine that answers."""
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            try:
                return self.ask(request)
            except EngineUnreachable:
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def facts(self) -> ChaosFacts:
        return self.patiently(GetChaos())

    def kill(self) -> None:
        """Kill the worker, and wait until another one has taken over."""
        seen = len(self.developer.err.all)
        assert self.ask(Strike(fault="kill")).text == "the worker is killed"
        self.developer.err.wait_for("⚡ chaos: killed the worker, process ", seen)
        self.developer.err.wait_for("⚡ chaos: recovered ", seen)


@contextmanager
def struck(folder: Path, *arguments: str) -> Iterator[Struck]:
    """Run `wfkit dev --ephemeral` on the app."""
    with developing(folder, "--ephemeral", *arguments, app=APP) as developer:
        yield Struck(developer, developer.err.wait_for("export WFKIT_ENGINE=").partition("=")[2])


def test_runs_complete_while_the_worker_is_killed_and_results_come_late(tmp_path: Path) -> None:
    """As a profile plans it; the profile is told with its seed, and every strike is a line."""
    with struck(tmp_path, "--chaos", "kill:1s,delay:1s@7") as engine:
        told = engine.developer.err.wait_for("chaos kill")
        assert told == ("chaos kill:1s,delay:1s@7: kill every 1s, delay every 1s; to have it again: --chaos kill:1s,delay:1s@7")
        runs = [engine.start("purchase", f"o{number}") for number in range(3)]
        assert [engine.result(run) for run in runs] == ["o0", "o1", "o2"]
        facts = engine.facts()
        assert facts.profile == "kill:1s,delay:1s@7"
        assert {one.fault for one in facts.struck} == {"kill", "delay", None}
        assert facts.strikes == sum(one.fault is not None for one in facts.struck)
        engine.developer.err.wait_for(f"⚡ chaos: {facts.struck[-1].text}")
        lines = [line.removeprefix("⚡ chaos: ") for line in engine.developer.err.all if line.startswith("⚡ chaos: ")]
        assert lines[: len(facts.struck)] == [one.text for one in facts.struck]


def test_a_step_is_not_blamed_for_kills(tmp_path: Path) -> None:
    """Not even by the seventh, though it may be tried once, and is held to be deadly when five deaths were its own."""
    with struck(tmp_path) as engine:
        run = engine.start("guard", "go")
        engine.developer.out.wait_for("watching")
        for _ in range(7):
            seen = len(engine.developer.out.all)
            engine.kill()
            engine.developer.out.wait_for("watching", seen)
        assert "1 run goes on, 1 step runs again" in engine.developer.err.text()
        (tmp_path / "go").touch()
        assert engine.result(run) == "seen"
        entries = [record.entry for record in engine.ask(GetHistory(run=run)).records]
        assert [entry.error.type for entry in entries if isinstance(entry, AttemptFailed)] == ["WorkerKilled"] * 7
        assert not any(isinstance(entry, StepFailed) for entry in entries)
        assert "starting another one in" not in engine.developer.err.text()


def test_logs_of_the_next_worker_begin_with_the_kill(tmp_path: Path) -> None:
    """Whoever looks at them sees why they begin."""
    with struck(tmp_path) as engine:
        engine.kill()
        engine.kill()
        logged = [line.text for line in engine.ask(GetLogs()).lines if line.logger == "wfkit.chaos"]
        assert [text.partition(", ")[0] for text in logged[:1]] == ["⚡ killed the worker"]
        engine.ask(Strike(fault="jump"))
        deadline = time.monotonic() + 5
        while not any("went forward" in line.text for line in engine.ask(GetLogs()).lines):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_signal_that_comes_twice_counts_once(tmp_path: Path) -> None:
    """The last one that came with a dedupe id; one without is another signal each time, so it is left alone."""
    with struck(tmp_path) as engine:
        run = engine.start("parcel")
        with pytest.raises(NoChaos, match="none of the last 50 signals has a dedupe id"):
            engine.ask(Strike(fault="dup"))
        engine.ask(SendSignal(run=run, signal="packed", payload=Raw(b'"box-1"'), dedupe="scan-1"))
        told = engine.ask(Strike(fault="dup")).text
        assert told == f"packed (scan-1) sent to {run} again: ignored, its id is known"
        engine.developer.err.wait_for(f"⚡ chaos: {told}")
        assert engine.ask(Strike(fault="dup", run=run)).text == told
        engine.ask(SendSignal(run=run, signal="packed", payload=Raw(b'"box-2"')))
        assert engine.result(run) == ["box-1", "box-2"]
        entries = [record.entry for record in engine.ask(GetHistory(run=run)).records]
        assert sum(isinstance(entry, SignalReceived) for entry in entries) == 2
        other = engine.start("parcel")
        with pytest.raises(NoChaos, match="has received no signal with a dedupe id"):
            engine.ask(Strike(fault="dup", run=other))


def test_a_jump_of_the_clock_ends_a_sleep_and_outlives_the_worker(tmp_path: Path) -> None:
    """The journal holds times to come, so no worker of this session may be behind them."""
    with struck(tmp_path) as engine:
        run = engine.start("nap", "1h")
        began = time.monotonic()
        assert engine.ask(Strike(fault="jump")).text == "the clock went forward by 1h; it is 1h ahead"
        assert engine.result(run) == "rested"
        assert time.monotonic() - began < 10
        engine.kill()
        assert engine.facts().ahead == HOUR_US
        long, short = engine.start("nap", "2h"), engine.start("nap", "300ms")
        assert engine.result(short) == "rested"
        told = engine.developer.wfkit("runs", "get", long, "--json", WFKIT_ENGINE=engine.folder)
        assert told.json["run"]["at"].startswith("timer in 1h5")  # by the engine's clock
        state = engine.ask(FindRun(run=long)).run
        assert abs(state.started - time.time() * 1e6 - HOUR_US) < 60e6
        assert not state.finished
        app = engine.developer.folder / "app.py"
        seen = len(engine.developer.err.all)
        app.write_text(app.read_text() + "\n# saved\n")
        engine.developer.err.wait_for("app.py reloaded in ", seen)
        assert engine.ask(Strike(fault="jump", us=2 * HOUR_US)).text.endswith("it is 3h ahead")
        assert engine.result(long) == "rested"


def test_a_result_is_held(tmp_path: Path) -> None:
    """It comes as late as asked for, and it is told whose it is."""
    with struck(tmp_path) as engine:
        assert engine.ask(Strike(fault="delay", us=1_500_000)).text == "the next result of a step is held for 1.5s"
        began = time.monotonic()
        run = engine.start("guard", "app.py")
        assert engine.result(run) == "seen"
        assert time.monotonic() - began > 1.5
        engine.developer.err.wait_for(f"⚡ chaos: holds the result of watch_for() of {run} for 1.5s")


def test_a_journal_that_is_kept_has_no_times_to_come(tmp_path: Path) -> None:
    """The next engine on it would wait for them: there the clock stays, and the command says what to do."""
    with developing(tmp_path, "--chaos", "calm", app=APP) as developer:
        assert "the clock is not moved: that takes --ephemeral" in developer.err.text()
        answer = developer.wfkit("chaos", "jump")
        assert answer.status == 1
        assert "error[WF084]: the clock can only be moved where the journal is deleted at the end" in answer.err
        assert "help  wfkit dev --ephemeral" in answer.err
        assert developer.wfkit("chaos", "delay", "--by", "20ms").err == "the next result of a step is held for 20ms\n"
        struck = developer.wfkit("chaos", "delay", "--by", "20ms", "--json").json
        assert (struck["document"], struck["fault"], struck["run"]) == ("struck", "delay", None)
        assert developer.wfkit("chaos", "flood").status == 2
        assert developer.ask(GetEngine()).chaos


def test_an_engine_that_serves_for_real_is_not_struck(tmp_path: Path) -> None:
    """It refuses, and says where faults may strike."""

    async def test() -> None:
        journal = await open_journal(tmp_path / "journal.duckdb")
        registry = Registry([])
        with own_logs() as logs:
            async with (
                running(journal, registry) as engine,
                serving(engine.requests, journal, registry, logs, app="app.py") as socket,
            ):
                client = AsyncEngineClient(socket)
                assert not (await client.ask(GetEngine())).chaos
                with pytest.raises(NoChaos, match="this engine serves for real") as caught:
                    await client.ask(Strike(fault="kill"))
                assert "wfkit dev" in caught.value.help
                with pytest.raises(NoChaos):
                    await client.ask(GetChaos())

    asyncio.run(test())


# -- profiles ------------------------------------------------------------------------------------------------------------


WRONG = [
    ("rogh", "--chaos rogh: there is no profile 'rogh'; did you mean rough?"),
    ("gale", "there is no profile 'gale'; there are calm, rough, storm"),
    ("rough@x", "'x' is no seed"),
    ("kil:5s", "there is no fault 'kil'; there are kill, delay, dup, jump"),
    ("kill:5s,kill:6s", "kill is there twice"),
    ("kill:soon", "kill: 'soon' is not a duration"),
    ("kill:1ms", "kill can strike every 100ms at most"),
    ("kill:5s,jump:1m", "the clock can only be moved with --ephemeral"),
]


@pytest.mark.parametrize(("text", "told"), WRONG)
def test_a_wrong_profile_is_told(text: str, told: str) -> None:
    """With what it might be instead."""
    with pytest.raises(ChaosProfileError, match=told) as caught:
        parse_profile(text, jumps=False)
    assert caught.value.help


def test_a_wrong_profile_ends_the_command_before_anything_runs(tmp_path: Path) -> None:
    """One error, on stderr, as a wrong use."""
    with developing(tmp_path, "--chaos", "rogh", app=APP, told="error[WF085]") as developer:
        assert developer.process.wait(10) == 2
        assert developer.err.end().count("error") == 1
        assert "--chaos calm, rough or storm" in developer.err.text()


@pytest.mark.parametrize("name", PROFILES)
def test_a_name_leaves_out_what_cannot_be(name: str) -> None:
    """The clock of a journal that is kept."""
    assert "jump" in parse_profile(name, jumps=True).every
    assert "jump" not in parse_profile(name, jumps=False).every


def test_a_seed_makes_the_same_plan() -> None:
    """Another one another plan; faults come as often as they are said to, whatever others there are."""

    def plan(profile: Profile) -> list[tuple[float, str, int | None]]:
        return [(wait, strike.fault, strike.us) for wait, strike in itertools.islice(profile.planned(), 2_000)]

    rough = parse_profile("rough@7", jumps=True)
    assert plan(rough) == plan(parse_profile(str(rough), jumps=True))
    assert plan(rough) != plan(parse_profile("rough@8", jumps=True))
    took = sum(wait for wait, _, _ in plan(rough))
    kills = sum(fault == "kill" for _, fault, _ in plan(rough))
    assert 15 < took / kills < 27
    alone = parse_profile("kill:20s@7", jumps=False)
    at = itertools.accumulate(wait for wait, _, _ in plan(rough))
    beside = [moment for moment, (_, fault, _) in zip(at, plan(rough), strict=True) if fault == "kill"]
    assert beside[:50] == pytest.approx(list(itertools.accumulate(wait for wait, _, _ in plan(alone)))[:50])
