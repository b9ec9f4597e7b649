"""Failure files: written by a test that finds something, and tests themselves from then on."""

from __future__ import annotations

import json
from pathlib import Path

from tests.plugin.conftest import RIGHT, TESTS, Answer, Project

FILE = ".wfkit/failures/{name}.json::{name}"


def only_file(project: Project) -> str:
    (file,) = project.files()
    return file.stem


def test_a_finding_is_told_as_a_story(first: tuple[Path, Answer]) -> None:
    """What matters is what happened outside, and not where wfkit raised it."""
    _, answer = first
    assert answer.status == 1
    assert "charge" in answer.out
    assert "schedule (1 fault): crash@1:" in answer.out
    assert "Traceback" not in answer.out
    assert "raise ERRORS" not in answer.out
    summary = next(line for line in answer.out.splitlines() if line.startswith("FAILED"))
    assert summary.startswith("FAILED test_shop.py::test_fulfil - WF063")


def test_a_file_is_a_test_until_the_code_is_mended(failed: Project) -> None:
    """It fails as long as its own schedule does."""
    name = only_file(failed)
    again = failed.pytest()
    assert again.verdicts == {"test_shop.py::test_fulfil": "FAILED", FILE.format(name=name): "STILL FAILS"}
    failed.shop(RIGHT)
    mended = failed.pytest()
    assert mended.verdicts == {"test_shop.py::test_fulfil": "PASSED", FILE.format(name=name): "FIXED"}
    assert mended.status == 0


def test_a_file_runs_alone_if_it_is_named(failed: Project) -> None:
    """By its path, or by its name as a keyword; the test that made it is not run beside it."""
    name = only_file(failed)
    for arguments in ([f".wfkit/failures/{name}.json"], [FILE.format(name=name)], [".wfkit/failures"], ["-k", name]):
        assert failed.pytest(*arguments).verdicts == {FILE.format(name=name): "STILL FAILS"}


def test_a_story_is_told_once(failed: Project) -> None:
    """By the test, if that has found it again; otherwise by the file."""
    cause = "why: the key is made by uuid.uuid4()"
    assert failed.pytest().out.count(cause) == 1
    assert failed.pytest(".wfkit/failures").out.count(cause) == 1


def test_a_file_runs_with_its_test_and_with_no_other(project: Project) -> None:
    """Whoever runs one test has no use for the failures of another."""
    project.tests(TESTS + "\ndef test_other(): pass\n")
    project.pytest()
    assert len(project.pytest("test_shop.py::test_fulfil").verdicts) == 2
    assert list(project.pytest("test_shop.py::test_other").verdicts) == ["test_shop.py::test_other"]


def test_a_schedule_that_the_code_does_not_reach_any_more_diverges(failed: Project) -> None:
    """It proves nothing then, and says so."""
    name = only_file(failed)
    failed.shop(RIGHT, first="await note(order)")
    answer = failed.pytest()
    assert answer.verdicts[FILE.format(name=name)] == "DIVERGES"
    assert answer.status == 1


def test_a_test_that_verifies_no_more_is_told(failed: Project) -> None:
    """A pass would mean that the schedule had been run."""
    name = only_file(failed)
    failed.tests("def test_fulfil(): pass\n")
    assert failed.pytest().verdicts[FILE.format(name=name)] == "DIVERGES"


def test_a_file_whose_test_is_gone_is_refused(failed: Project) -> None:
    """It cannot be replayed, and what to do is said in one line."""
    name = only_file(failed)
    failed.tests(TESTS.replace("test_fulfil", "test_renamed").replace("verify(", "str("))
    answer = failed.pytest()
    assert answer.verdicts[FILE.format(name=name)] == "FAILED"
    assert "test_shop.py::test_fulfil made it, which is not there any more" in answer.out


def test_a_file_of_the_command_line_is_a_test_too(project: Project) -> None:
    """Its origin is `wfkit verify`, which replays it."""
    world = "\nWorld.resources = PROVE['resources']\n"
    (project.folder / "fakes.py").write_text(TESTS.partition("def test")[0] + world, encoding="utf-8")
    (project.folder / "test_shop.py").unlink()
    assert project.wfkit("verify", "shop.py:fulfil", '"order-77"', "--world", "fakes.py:World", "--for", "0.1s").status == 1
    name = only_file(project)
    assert project.pytest().verdicts == {FILE.format(name=name): "STILL FAILS"}
    project.shop(RIGHT)
    assert project.pytest().verdicts == {FILE.format(name=name): "FIXED"}


def test_the_command_line_replays_a_file_of_a_test(failed: Project) -> None:
    """With one exit status for each verdict."""
    path = f".wfkit/failures/{only_file(failed)}.json"
    failing = failed.wfkit("verify", "--replay", path)
    assert (failing.status, failing.out.partition(":")[0]) == (1, "still fails")
    failed.shop(RIGHT)
    assert json.loads(failed.wfkit("verify", "--replay", path, "--json").out)["verdict"] == "fixed"
    failed.shop(RIGHT, first="await note(order)")
    assert failed.wfkit("verify", "--replay", path).status == 5


def test_each_call_of_a_test_has_its_own_files(project: Project) -> None:
    """A file replays the call that made it, though another of the same test comes first."""
    project.tests(
        TESTS.replace("    verify(fulfil,", '    verify(fulfil, "other", faults=["lost_ack"], **PROVE)\n    verify(fulfil,')
    )
    project.pytest()
    origins = {json.loads(path.read_text(encoding="utf-8"))["origin"]["call"] for path in project.files()}
    assert 2 in origins
    name = project.files()[-1].stem
    assert list(project.pytest(f".wfkit/failures/{name}.json").verdicts) == [FILE.format(name=name)]
    assert set(project.pytest(".wfkit/failures").verdicts.values()) == {"STILL FAILS"}


def test_a_case_of_a_parametrized_test_has_its_own_file(project: Project) -> None:
    """With its own values, and the fixtures of its test."""
    case = '@pytest.mark.parametrize("order", ["a", "b"])\ndef test_fulfil(order, tmp_path):\n    verify(fulfil, order'
    project.tests(TESTS.replace('def test_fulfil():\n    verify(fulfil, "order-77"', case))
    project.pytest("test_shop.py::test_fulfil[b]")
    name = only_file(project)
    assert list(project.pytest("test_shop.py::test_fulfil[b]").verdicts.values()) == ["FAILED", "STILL FAILS"]
    assert list(project.pytest("test_shop.py::test_fulfil[a]").verdicts) == ["test_shop.py::test_fulfil[a]"]
    assert project.pytest("-k", name).verdicts == {FILE.format(name=name): "STILL FAILS"}


def test_workers_of_xdist_agree(project: Project) -> None:
    """On what there is to run, and on what came of it."""
    project.tests(TESTS + "\ndef test_again():\n    verify(fulfil, 'order-78', **PROVE).assert_ok()\n")
    project.pytest("-n", "2")
    files = project.files()
    answer = project.pytest("-n", "2", "-q", "-q")
    assert answer.out.count("STILL FAILS") == len(files)
    assert "Different tests were collected" not in answer.out
    project.shop(RIGHT)
    assert project.pytest("-n", "2").status == 0
