"""What the guard must not change: the rest of the process, its children, and a process that never asked for it."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import os
import pickle
import pkgutil
import random
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import BuiltinFunctionType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guard.calls import PASSED, REFUSED, observe
from tests.guard.conftest import STARTED, Driver
from wfkit import guard

ROOT = Path(__file__).parents[2]
BOUND_EARLY = [
    getattr(function, "__wrapped__", function) for function in (time.time, time.sleep, os.urandom, random.random, len)
]
BUILTIN = [time.time, time.monotonic_ns, time.sleep, os.urandom]


def child(program: str, python: str = sys.executable) -> str:
    """Return what a program prints in a process of its own, without a warning or an error."""
    command = [python, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_importing_the_package_changes_nothing() -> None:
    """Only `install` does."""
    program = """
import concurrent.futures, os, random, sys, threading, time, uuid
places = [time, os, random, uuid, threading.Thread, concurrent.futures.Future, random.Random, type(os.environ)]
events = []
def before():
    return [(type(place), dict(vars(place))) for place in places], random._inst.__class__
known = before()
sys.addaudithook(lambda event, args: events.append(event) if event == "sys.addaudithook" else None)
import wfkit, wfkit.guard, wfkit.guard.chance, wfkit.guard.refused
assert before() == known and not events
wfkit.guard.install()
assert before() != known and events
print("done")
"""
    assert child(program) == "done\n"


def test_installing_twice_is_installing_once() -> None:
    """Each engine installs it."""
    program = """
import os, random, sys, threading, time, uuid
from wfkit import guard
hooks = []
sys.addaudithook(lambda event, args: hooks.append(event) if event == "sys.addaudithook" else None)
guard.install()
known = [dict(vars(place)) for place in (time, os, random, uuid, threading.Thread, random.Random, type(os.environ))]
guard.install()
assert known == [dict(vars(place)) for place in (time, os, random, uuid, threading.Thread, random.Random, type(os.environ))]
print(len(hooks))
"""
    assert child(program) == "1\n"


def test_what_a_test_put_back_is_replaced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that patches a function while the guard comes leaves the original behind; the next engine mends that."""
    original = threading.Thread.start.__wrapped__  # type: ignore[attr-defined]  # set by the guard
    monkeypatch.setattr(threading.Thread, "start", original)
    guard.install()
    assert threading.Thread.start is not original
    assert threading.Thread.start.__wrapped__ is original  # type: ignore[attr-defined]  # as above


def test_a_patched_clock_stays_patched(monkeypatch: pytest.MonkeyPatch, in_workflow: Driver) -> None:
    """An engine that opens under a frozen clock does not thaw it, and its runs keep their own."""
    original = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 5.0)
        guard.install()
        assert time.time() == 5.0
        assert in_workflow(lambda: time.time()) == STARTED / 1e6  # looked up late
    assert time.time is original


@pytest.mark.parametrize("name", ["time:time", "time:monotonic_ns", "time:sleep", "os:urandom", "_thread:start_new_thread"])
def test_outside_of_workflow_code_a_builtin_function_is_itself(name: str, in_workflow: Driver) -> None:
    """Libraries hold these in classes, send them to other processes, and change them in memory."""
    function = pkgutil.resolve_name(name)
    assert type(function) is BuiltinFunctionType
    assert pickle.loads(pickle.dumps(function)) is function
    assert in_workflow(lambda: pkgutil.resolve_name(name)) is not function


def test_a_shadowed_name_can_be_deleted_and_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module stays a namespace that tests may change."""
    monkeypatch.delattr(time, "perf_counter")
    assert not hasattr(time, "perf_counter")
    monkeypatch.setattr(time, "perf_counter", int, raising=False)
    assert vars(time)["perf_counter"] is int


def test_a_clock_takes_no_arguments() -> None:
    """As before."""
    with pytest.raises(TypeError):
        time.time(1)  # type: ignore[call-arg]  # on purpose


def test_uuid1_and_seed_keep_their_signatures() -> None:
    """As before."""
    assert list(inspect.signature(uuid.uuid1).parameters) == ["node", "clock_seq"]
    assert list(inspect.signature(random.seed).parameters) == ["a", "version"]
    assert uuid.uuid1(node=5, clock_seq=6).node == 5


def test_the_state_of_random_can_be_kept_and_put_back() -> None:
    """Also through pickle, as test tools do."""
    kept = random.getstate()
    first = [random.random(), random.gauss(), random.randrange(9)]
    random.setstate(pickle.loads(pickle.dumps(kept)))
    assert [random.random(), random.gauss(), random.randrange(9)] == first


def test_a_seed_gives_the_numbers_that_python_gives() -> None:
    """A seeded program is not disturbed."""
    kept = random.getstate()
    try:
        random.seed(11)
        mine, own = [random.random(), random.gauss(), random.getrandbits(8)], random.Random(11)
        assert mine == [own.random(), own.gauss(), own.getrandbits(8)]
    finally:
        random.setstate(kept)


@given(st.randoms(use_true_random=True), st.integers())
@settings(max_examples=5, database=None)
def test_hypothesis_works(chance: random.Random, number: int) -> None:
    """It seeds `random` and puts it back."""
    assert 0 <= chance.random() < 1
    assert isinstance(number, int)


def test_environment_variables_behave() -> None:
    """Set, read, joined, copied, inherited and removed."""
    os.environ["WFKIT_A"] = "1"
    try:
        assert os.environ["WFKIT_A"] == os.getenv("WFKIT_A") == os.environ.get("WFKIT_A") == "1"
        assert os.environb[b"WFKIT_A"] == b"1"
        assert (os.environ | {"WFKIT_B": "2"})["WFKIT_B"] == "2"
        assert copy.copy(os.environ)["WFKIT_A"] == os.environ.copy()["WFKIT_A"] == dict(os.environ)["WFKIT_A"]  # noqa: PLW1507  # both
        assert "'WFKIT_A': '1'" in repr(os.environ)
        assert len(os.environ) == len(list(os.environ))
        assert child("import os; print(os.environ['WFKIT_A'])") == "1\n"
    finally:
        del os.environ["WFKIT_A"]
    with pytest.raises(KeyError) as caught:
        os.environ["WFKIT_A"]
    assert caught.value.args == ("WFKIT_A",)
    assert caught.value.__suppress_context__


def test_threads_and_processes_work() -> None:
    """Also processes that start a new interpreter, and get a clock to call."""
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(os.getenv, "PATH").result() == os.environ["PATH"]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        assert processes.submit(time.sleep, 0).result() is None
        assert processes.submit(time.time).result() > 1_700_000_000
        assert processes.submit(random.random).result() < 1


def test_other_event_loops_work() -> None:
    """They read the clock, start threads and processes, and open sockets."""

    async def busy() -> tuple[str, bytes]:
        async with asyncio.timeout(60):
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(1)", stdout=subprocess.PIPE)
            out, _ = await process.communicate()
            return await asyncio.to_thread(os.environ.__getitem__, "PATH"), out

    assert asyncio.run(busy()) == (os.environ["PATH"], b"1\n")


def test_until_the_interpreters_very_end_everything_works() -> None:
    """Objects that die last may read the clock and open files."""
    program = """
import os, random, sys, time
import wfkit.core.loop, wfkit.guard.refused
wfkit.guard.install()
class Last:
    def __init__(self):
        self.uses = (time.time, time.sleep, random.random, os.urandom, os.environ, open, random.choice, os.write)
    def __del__(self):
        clock, sleep, draw, entropy, environ, opens, choice, write = self.uses
        clock(), sleep(0), draw(), entropy(1), environ["PATH"], opens("/dev/null").close(), choice("ab")
        write(1, b"done ")
for holder in (sys, os, time, random, wfkit.core.loop, wfkit.guard, wfkit.guard.refused):
    holder.last = Last()
"""
    assert child(program) == "done " * 7


def interpreters() -> list[str]:
    """Return every Python from 3.11 on that is installed beside the one of this process, and that one."""
    beside = Path(sys.base_prefix).parent.glob("*/bin/python3")
    found: dict[str, str] = {}
    for python in [sys.executable, *map(str, sorted(beside))]:
        asks = "import sys; print(sys.version_info >= (3, 11) and sys.version)"
        version = subprocess.run([python, "-c", asks], capture_output=True, text=True, check=False).stdout.strip()
        if version not in {"", "False"}:
            found.setdefault(version, python)
    return list(found.values())


@pytest.mark.parametrize("python", interpreters())
def test_every_python_refuses_and_gives_the_same(python: str) -> None:
    """What raises an audit event differs between versions of Python; what the guard does must not."""
    command = [python, "-W", "ignore", "-m", "tests.guard.calls"]
    seen = json.loads(subprocess.run(command, capture_output=True, check=True, cwd=ROOT, stdin=subprocess.DEVNULL).stdout)
    assert seen == json.loads(json.dumps(observe()))
    assert all(seen[name] is True for name in [*REFUSED, *PASSED])
