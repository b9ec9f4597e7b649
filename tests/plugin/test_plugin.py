"""The plugin: its terms for `verify`, its fixture, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.plugin.conftest import RIGHT, TESTS, Project

PROGRAM = """
import sys, pytest
status = pytest.main([*sys.argv[1:], "--collect-only", "-q", "-p", "no:cacheprovider"])
print(*sys.modules, file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.parametrize("autoload", [True, False], ids=["as an entry point", "by name"])
def test_it_loads_nothing_until_a_test_uses_it(failed: Project, autoload: bool) -> None:
    """A project that has wfkit installed and does not use it collects its tests as quickly as before."""
    failed.tests("def test_nothing(): pass\n")
    arguments, env = ([], {}) if autoload else (["-p", "wfkit.pytest_plugin"], {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=failed.folder,
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    loaded = set(done.stderr.split())
    of_wfkit = {name for name in loaded if name.partition(".")[0] == "wfkit"}
    assert of_wfkit == {"wfkit", "wfkit.errors", "wfkit.pytest_plugin", "wfkit.testing", "wfkit.testing.caller"}
    assert loaded.isdisjoint({"duckdb", "msgspec", "textual", "rich", "typer"})
    assert autoload or "hypothesis" not in loaded  # whose own plugin has its entry point


def test_its_options_are_in_the_help(project: Project) -> None:
    """Where people look for them."""
    told = project.pytest("--help").out
    assert all(option in told for option in ("--wfkit-budget", "--wfkit-seed", "--wfkit-jobs", "--wfkit-no-files"))
    assert "wfkit(budget=" in project.pytest("--markers").out


def test_no_files_are_written_if_none_are_wanted(project: Project) -> None:
    """Neither failure files nor reports."""
    assert project.pytest("--wfkit-no-files").status == 1
    assert not (project.folder / ".wfkit").exists()


def test_a_report_is_written_for_each_test(project: Project) -> None:
    """Of what was found and of what was looked at."""
    project.shop(RIGHT)
    assert project.pytest().status == 0
    assert len([*project.folder.glob(".wfkit/reports/*.json")]) == 1


SHOW = """
from wfkit.testing.caller import current

@pytest.mark.wfkit(budget="0.2s", seed=3)
def test_terms():
    print("TERMS", current().budget, current().seed, current().origin)
"""


def test_a_marker_has_terms_and_the_command_line_the_last_word(project: Project) -> None:
    """One test may need longer; a nightly run gives all of them an hour."""
    project.tests(TESTS + SHOW)
    assert "TERMS 0.2s 3 {'pytest': 'test_shop.py::test_terms'}" in project.pytest("-s", "-k", "terms").out
    assert "TERMS 60s 3" in project.pytest("-s", "-k", "terms", "--wfkit-budget", "60s").out


@pytest.mark.parametrize("wrong", [["--wfkit-budget", "soon"], ["--wfkit-seed", "x"], ["--wfkit-jobs", "0"]])
def test_an_option_that_makes_no_sense_is_refused_at_once(project: Project, wrong: list[str]) -> None:
    """Not by each test."""
    answer = project.pytest(*wrong)
    assert answer.status == 4
    assert wrong[0] in answer.out


def test_a_marker_that_makes_no_sense_is_refused_at_once(project: Project) -> None:
    """A term that is misspelt would otherwise be silently left out."""
    project.tests("import pytest\n@pytest.mark.wfkit(bugdet='3s')\ndef test_x(): pass\n")
    answer = project.pytest()
    assert answer.status == 4
    assert "bugdet" in answer.out


def test_the_fixture_verifies_and_simulates(project: Project) -> None:
    """Without an import."""
    fault = "crash@1:step.effect_done_not_journaled:charge"
    project.tests(
        TESTS.partition("def test")[0]
        + f"""
PROVE.pop("budget")

def test_verified(sim):
    report = sim.verify(fulfil, "order-77", budget="0.1s", **PROVE)
    assert not report.ok

def test_simulated(sim):
    recording = sim.simulate(fulfil, "order-77", faults="{fault}", **PROVE)
    assert [effect.name for effect in recording.effects] == ["charge", "charge"]
"""
    )
    answer = project.pytest()
    assert set(answer.verdicts.values()) == {"PASSED"}
    assert len(project.files()) == 1


def test_a_test_that_never_asks_fails(project: Project) -> None:
    """It could not fail otherwise, whatever is found. Who asks in any way has decided for himself."""
    project.tests(
        TESTS.partition("def test")[0]
        + """
def test_forgot(sim):
    sim.verify(fulfil, "order-77", **PROVE)

async def later(sim):
    return await sim.averify(fulfil, "order-77", **PROVE)

def test_forgot_later(sim):
    import asyncio
    asyncio.run(later(sim))

def test_printed(sim):
    print(sim.verify(fulfil, "order-77", **PROVE))

def test_asked(sim):
    assert not sim.verify(fulfil, "order-77", **PROVE).ok

def test_looked(sim):
    assert [each.code for each in sim.verify(fulfil, "order-77", **PROVE).findings] == ["WF063"]

def test_failed_before(sim):
    sim.verify(fulfil, "order-77", **PROVE)
    raise ValueError("first")
"""
    )
    answer = project.pytest()
    verdicts = {test.rpartition("::")[2]: verdict for test, verdict in answer.verdicts.items()}
    assert verdicts == {
        "test_forgot": "FAILED",
        "test_forgot_later": "FAILED",
        "test_printed": "FAILED",
        "test_asked": "PASSED",
        "test_looked": "PASSED",
        "test_failed_before": "FAILED",
    }
    assert "fulfil was verified, something was found, and nobody asked: end it with .assert_ok()" in answer.out
    assert "charge happened twice" in answer.out
    assert "ValueError: first" in answer.out
    project.shop(RIGHT)
    assert project.pytest("-k", "forgot", "--wfkit-no-files").status == 0


def test_several_processes_search_for_a_test(project: Project) -> None:
    """What they find is found; forking beside threads is no warning of theirs."""
    answer = project.pytest("--wfkit-jobs", "2", "-W", "error")
    assert answer.status == 1
    assert "charge happened twice" in answer.out
    project.shop(RIGHT)
    assert project.pytest("--wfkit-jobs", "2", "-W", "error").status == 0


def test_what_verify_refuses_is_told_at_the_call_with_its_help(project: Project) -> None:
    """Its own frames would hide the line to mend."""
    project.tests("from shop import charge\nfrom wfkit.testing import verify\ndef test_it(): verify(charge)\n")
    told = project.pytest().out
    assert "DefinitionError" in told
    assert "write @workflow above it" in told
    assert "verification.py" not in told


def test_a_fault_or_a_duration_that_makes_no_sense_is_told_where_it_is_written(project: Project) -> None:
    """In the test, and not where wfkit has read it."""
    project.tests(
        "from shop import fulfil\nfrom wfkit.testing import eventually, simulate\n"
        "def test_fault(): simulate(fulfil, 'o-1', faults='crash@1:nowhere:charge')\n"
        "def test_duration(): eventually(print, within='soon')\n"
    )
    told = project.pytest().out
    assert "'1:nowhere:charge' names no phase" in told
    assert "'soon' is not a duration" in told
    assert "faults.py" not in told
    assert "durations.py" not in told
