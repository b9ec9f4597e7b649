"""Correct code that reads files or settings on its way."""

from __future__ import annotations

import bdb  # it is what is tested
import importlib
import io
import logging
import logging.handlers
import os
import pdb  # noqa: T100  # it is what is tested
import py_compile
import random
import subprocess
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from zoneinfo import ZoneInfo, available_timezones

import pytest

from tests.guard.conftest import STARTED, Driver
from wfkit.api.primitives import rng
from wfkit.errors import DeterminismViolation

ROOT = Path(__file__).parents[2]


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, for modules that nobody has loaded yet."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def loaded(name: str) -> object:
    try:
        return vars(importlib.import_module(name))["answer"]
    finally:
        sys.modules.pop(name)


def test_a_time_zone_used_first_in_a_workflow(in_workflow: Driver) -> None:
    """Its file is opened by C code, without a frame of Python."""
    ZoneInfo.clear_cache()
    moment = in_workflow(lambda: datetime.fromtimestamp(time.time(), UTC).astimezone(ZoneInfo("Europe/Paris")))
    assert moment.isoformat() == "2023-11-14T23:13:20.123456+01:00"


def test_the_list_of_time_zones(in_workflow: Driver) -> None:
    """It walks over folders."""
    assert "Europe/Paris" in in_workflow(available_timezones)


def test_a_rotating_log(tmp_path: Path, in_workflow: Driver) -> None:
    """Each record may rename files and open a new one."""
    log = logging.Logger("rotating")  # noqa: LOG001  # it is known nowhere else
    handler = logging.handlers.RotatingFileHandler(tmp_path / "log", maxBytes=1, backupCount=2, delay=True)
    log.addHandler(handler)

    def logs() -> None:
        for n in range(3):
            log.error("line %d", n)

    try:
        in_workflow(logs)
    finally:
        handler.close()
    assert [(tmp_path / name).read_text("utf-8") for name in ("log.2", "log.1", "log")] == ["line 0\n", "line 1\n", "line 2\n"]


def test_a_log_record_carries_the_time_of_the_run(in_workflow: Driver) -> None:
    """A story told twice has the same times."""
    log = logging.Logger("kept")  # noqa: LOG001  # it is known nowhere else
    handler = logging.handlers.MemoryHandler(10, flushLevel=99)
    log.addHandler(handler)
    in_workflow(lambda: log.error("now"))
    assert handler.buffer[0].created == STARTED / 1e6


def test_a_filter_that_draws_lots_does_not_disturb_the_run(in_workflow: Driver) -> None:
    """The level of a logger may differ from one execution to the next; what the run draws may not."""
    log = logging.Logger("sampled")  # noqa: LOG001  # it is known nowhere else
    log.addFilter(lambda _: random.random() < 0.5)

    def logs() -> float:
        log.error("maybe")
        return rng().random()

    assert in_workflow(logs) == in_workflow(lambda: rng().random())


def test_a_late_import_of_source_and_of_bytecode(modules: Path, in_workflow: Driver) -> None:
    """Modules are read, and their bytecode is written."""
    (modules / "late_source.py").write_text("answer = 41", "utf-8")
    (modules / "late_package").mkdir()
    (modules / "late_package" / "__init__.py").write_text("from late_package.inner import answer", "utf-8")
    (modules / "late_package" / "inner.py").write_text("answer = 42", "utf-8")
    (modules / "source.txt").write_text("answer = 43", "utf-8")
    py_compile.compile(str(modules / "source.txt"), cfile=str(modules / "late_bytecode.pyc"))

    names = ("late_source", "late_package", "late_bytecode")
    assert in_workflow(lambda: [loaded(name) for name in names]) == [41, 42, 43]
    sys.modules.pop("late_package.inner")


def test_a_late_import_does_what_it_likes_and_with_the_real_clock(modules: Path, in_workflow: Driver) -> None:
    """A module is loaded once in a process and serves all runs, so its top level belongs to none of them."""
    source = """
import os, random, socket, threading, time, uuid
socket.socket().close()
threading.Thread(target=int).start()
answer = os.environ.get("PATH"), time.time(), random.random(), uuid.uuid4()
"""
    (modules / "late_and_busy.py").write_text(source, "utf-8")

    def loads() -> tuple[tuple[str, float, float, object], float]:
        return loaded("late_and_busy"), rng().random()  # type: ignore[return-value]  # as the module has it

    (path, clock, _, _), drawn = in_workflow(loads)
    assert path == os.environ["PATH"]
    assert clock > STARTED / 1e6 + 1e6
    assert drawn == in_workflow(lambda: rng().random())


def test_a_function_of_a_late_module_is_guarded_again(modules: Path, in_workflow: Driver) -> None:
    """Only loading is free, not what the workflow calls then."""
    (modules / "late_function.py").write_text("import time\ndef answer(): time.sleep(0)", "utf-8")
    with pytest.raises(DeterminismViolation, match=r"late_function.py:2 in answer"):
        in_workflow(lambda: loaded("late_function")())  # type: ignore[operator]  # a function


def test_an_import_that_runs_a_whole_run_lifts_nothing(modules: Path) -> None:
    """A script that is itself being imported drives runs as any other host."""
    host = """
import os
from tests.guard.conftest import start
from wfkit.errors import DeterminismViolation
try:
    answer = start(lambda: os.environ["PATH"])
except DeterminismViolation:
    answer = "raised"
"""
    (modules / "host.py").write_text(host, "utf-8")
    assert loaded("host") == "raised"


def test_a_traceback_of_an_error_in_a_late_module(modules: Path, in_workflow: Driver) -> None:
    """Its source lines are read when it is formatted."""
    (modules / "late_and_wrong.py").write_text("def answer(): return 1 / 0", "utf-8")

    def fails() -> str:
        try:
            loaded("late_and_wrong")()  # type: ignore[operator]  # a function
        except ZeroDivisionError:
            traceback.print_exc(file=(text := io.StringIO()))
            return text.getvalue() + traceback.format_exc()
        return ""

    assert in_workflow(fails).count("return 1 / 0") >= 2


def test_a_warning_shows_its_source_line(tmp_path: Path) -> None:
    """The line is read from the file when the warning is shown."""
    program = tmp_path / "program.py"
    program.write_text(
        """
import warnings
from tests.guard.conftest import start
from wfkit import guard
guard.install()
start(lambda: warnings.warn("it is old", stacklevel=1))
""",
        "utf-8",
    )
    command = [sys.executable, "-W", "always", str(program)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.stderr.splitlines()[-2:] == [
        f"{program}:6: UserWarning: it is old",
        '  start(lambda: warnings.warn("it is old", stacklevel=1))',
    ]


def test_the_debugger(tmp_path: Path, in_workflow: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads its settings and the source, and what one looks at disturbs nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".pdbrc").write_text("p 'settings read'\n", "utf-8")
    said = io.StringIO()

    def stops() -> float:
        asked = io.StringIO("p __import__('random').random()\nlist\ncontinue\n")
        debugger = pdb.Pdb(stdin=asked, stdout=said, nosigint=True)  # else `continue` takes Ctrl-C for good
        debugger.set_trace()
        return rng().random()

    tracing = sys.gettrace()
    try:
        drawn = in_workflow(stops)
    finally:
        sys.settrace(tracing)
    assert "settings read" in said.getvalue()
    assert "return rng().random()" in said.getvalue()
    assert drawn == in_workflow(lambda: rng().random())


def test_any_other_debugger(tmp_path: Path, in_workflow: Driver) -> None:
    """They are built on `bdb`, and may read what they like at each line."""
    (tmp_path / "notes").write_text("here", "utf-8")
    read: list[str] = []

    class Watcher(bdb.Bdb):
        def user_line(self, frame: FrameType) -> None:
            read.append((tmp_path / "notes").read_text("utf-8"))
            self.set_continue()

    def watched() -> int:
        Watcher().set_trace()
        return 5

    tracing = sys.gettrace()
    try:
        assert in_workflow(watched) == 5
    finally:
        sys.settrace(tracing)
    assert read == ["here"]


def test_parsing_a_date(in_workflow: Driver) -> None:
    """The first one loads modules and looks at the locale."""
    sys.modules.pop("_strptime", None)
    assert in_workflow(lambda: datetime.strptime("2024-02-29 +0000", "%Y-%m-%d %z").day) == 29
