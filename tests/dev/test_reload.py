"""New code takes over while runs are in flight, and code that cannot does no harm."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Raw

from tests.dev.developing import APP, STUCK, Developer, developing
from wfkit.control.messages import SendSignal


@pytest.fixture
def developer(tmp_path: Path) -> Iterator[Developer]:
    """A developer whose app runs."""
    with developing(tmp_path) as found:
        yield found


def test_new_code_runs_after_each_save(developer: Developer) -> None:
    """The run in flight goes on.

    The files are of the same length and saved in the same second, where Python would take for current what it compiled.
    """
    developer.begin("order-1")
    for version in (2, 3, 4):
        developer.edit(f"by v{version - 1}", f"by v{version}", told="app.py reloaded in ")
    assert developer.end("order-1", '"box-3"') == "charged order-1 by v1, shipped box-3"
    developer.begin("order-2")
    assert developer.end("order-2", '"box-4"') == "charged order-2 by v4, shipped box-4"


def test_a_run_that_new_code_cannot_go_on_with_is_told_and_goes_on_once_that_is_mended(developer: Developer) -> None:
    """With the difference, the line, and what to write instead; it is blocked at once, though it sleeps."""
    developer.begin("order-1")
    call = "    charged = await charge(order)\n"
    developer.edit(call, '    await ship("early")\n' + call, told="run order-1 of purchase is blocked")
    developer.err.wait_for("has_patch(")
    told = developer.err.text()
    assert "error[WF021]" in told
    assert "  app.py:" in told
    developer.wait_for_status("order-1", "blocked")
    developer.edit(
        "    return charged", "    # a comment\n    return charged", told="still blocked for the same reason: order-1"
    )
    developer.edit('    await ship("early")\n', "", told="no longer blocked: order-1")
    assert developer.end("order-1", '"box-3"') == "charged order-1 by v1, shipped box-3"
    assert "WARNING wfkit.engine: run order-1 is blocked" not in developer.err.text()


def test_runs_of_a_workflow_that_is_gone_are_told_together(developer: Developer) -> None:
    """Each would tell the same."""
    for order in ("order-1", "order-2"):
        developer.begin(order)
    developer.edit("async def purchase", "async def sale", told="2 runs of purchase are blocked")
    assert developer.err.text().count("no workflow is named 'purchase'") == 1
    developer.edit("async def sale", "async def purchase", told="no longer blocked: order-1, order-2")


WRONG = [
    ("x = = 1\n", "SyntaxError: invalid syntax"),
    ("import sys; sys.exit(3)\n", "app.py does not import: app.py:1 SystemExit: 3"),
    ("import os; os._exit(3)\n", "importing the app ended its process: it ended with status 3"),
]


def test_code_that_does_not_load_leaves_the_code_before_running(developer: Developer) -> None:
    """The error is told with the user's line, and none of ours; once it is mended the new code runs."""
    worker = developer.worker()
    app = developer.folder / "app.py"
    good = app.read_text()
    for wrong, told in WRONG:
        seen = len(developer.err.all)
        app.write_text(wrong + good)
        developer.err.wait_for("the code before keeps running", seen)
        assert told in developer.err.text(seen)
    assert "import sys; sys.exit(3)" in developer.err.text()
    assert "/wfkit/engine/" not in developer.err.text()
    assert developer.worker() == worker
    developer.begin("order-1")
    seen = len(developer.err.all)
    app.write_text(good)
    developer.err.wait_for("app.py reloaded in ", seen)
    assert developer.worker() != worker


def test_an_import_that_does_not_end_is_given_up_by_the_next_save(developer: Developer) -> None:
    """And meanwhile the code before runs."""
    app = developer.folder / "app.py"
    good = app.read_text()
    app.write_text("while True: pass\n" + good)
    time.sleep(0.5)
    developer.begin("order-1")
    app.write_text(good.replace("v1", "v2"))
    developer.err.wait_for("app.py reloaded in ")


def test_a_worker_that_is_stuck_in_the_users_code_is_replaced(developer: Developer) -> None:
    """A loop that does not end holds up every run, but not the edit that mends it."""
    developer.edit(APP, STUCK, told="app.py reloaded in ")
    worker = developer.worker()
    seen = len(developer.err.all)
    developer.start("purchase", "order-1", "stuck")
    time.sleep(0.2)
    developer.edit("while order == 'stuck': pass", "pass", told="the worker does not answer; it is ended")
    developer.err.wait_for("app.py reloaded in ", seen)
    assert developer.worker() != worker
    assert developer.end("order-1", '"box-3"') == "charged stuck by v1, shipped box-3"


def test_a_module_that_the_app_imports_is_reloaded_with_it(tmp_path: Path) -> None:
    """Also one in a package below."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "texts.py").write_text("DONE = 'one'\n")
    app = "from shop.texts import DONE\nfrom wfkit import workflow\n\n@workflow\nasync def say() -> str:\n    return DONE\n"
    with developing(tmp_path, app=app) as developer:
        developer.start("say", "say-1")
        assert developer.result("say-1") == "one"
        (package / "texts.py").write_text("DONE = 'two'\n")
        developer.err.wait_for("app.py reloaded in ")
        developer.start("say", "say-2")
        assert developer.result("say-2") == "two"


def test_a_step_in_flight_ends_before_the_new_code_takes_over(tmp_path: Path) -> None:
    """Once, that is: it is not run again."""
    app = """
import time
from wfkit import step, workflow

@step
def slow() -> str:
    print("begun", flush=True)
    time.sleep(0.7)
    return "v1"

@workflow
async def once() -> str:
    return await slow()
"""
    with developing(tmp_path, app=app) as developer:
        developer.start("once", "once-1")
        developer.out.wait_for("begun")
        developer.edit("v1", "v2", told="app.py reloaded in ")
        assert developer.result("once-1") == "v1"
    assert developer.out.end() == "begun"


# -- the worker's death ----------------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_is_started_again_and_its_runs_go_on(developer: Developer) -> None:
    """And it is said why."""
    developer.begin("order-1")
    worker = developer.worker()
    seen = len(developer.err.all)
    os.kill(worker, signal.SIGKILL)
    developer.err.wait_for("the worker was killed by SIGKILL; starting another one in 0.1 s", seen)
    developer.err.wait_for("app.py runs (purchase)", seen)
    assert developer.worker() != worker
    assert developer.end("order-1", '"box-3"') == "charged order-1 by v1, shipped box-3"


def test_a_worker_that_dies_again_and_again_is_started_after_longer_pauses(developer: Developer) -> None:
    """Until the code is mended, which goes on with the run."""
    exits = '    __import__("time").sleep(0.1) or __import__("os")._exit(7)\n'
    developer.edit('    return f"shipped', f'{exits}    return f"shipped', told="app.py reloaded in ")
    developer.begin("order-1")
    developer.ask(SendSignal(run="order-1", signal="packed", payload=Raw(b'"box-3"')))
    for pause in ("0.1", "0.2", "0.4"):
        developer.err.wait_for(f"the worker ended with status 7; starting another one in {pause} s")
    developer.edit(exits, "", told="app.py runs (purchase)")
    assert developer.result("order-1") == "charged order-1 by v1, shipped box-3"


def test_an_app_that_does_not_load_at_the_start_is_waited_for(tmp_path: Path) -> None:
    """Its first error is no reason to leave."""
    with developing(tmp_path, "app.py", app="import nowhere_at_all\n", told="nothing runs until that is fixed") as developer:
        assert "ModuleNotFoundError: No module named 'nowhere_at_all'" in developer.err.text()
        developer.edit(
            "import nowhere_at_all\n", "from wfkit import workflow\n\n@workflow\nasync def a(): ...\n", told="app.py runs (a)"
        )
