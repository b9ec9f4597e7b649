"""Replays in this process: what each kind of stray code gives itself away by."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tests.sim import strays
from tests.sim.strays import (
    bound_chance,
    bound_chance_in_long_text,
    bound_clock,
    by_setting,
    christmas,
    environment,
    kept_list,
    late_deadline,
    local_day,
    local_day_as_argument,
    local_hour,
    local_hour_as_argument,
    logged_and_numbered,
    logged_and_seen,
    numbered,
    object_as_argument,
    only_logged,
    own_chance,
    parent,
    rare_lot,
    rush_hour,
    seen_before,
    set_of_objects,
    set_of_tasks,
    set_of_text,
    sorted_set,
    unsafe_clock,
    unsafe_log,
    unsafe_uuid,
    wall_date,
    weekday,
)
from wfkit import Workflow, sleep, step, workflow
from wfkit.sim.code import registry_of
from wfkit.sim.findings import Violation
from wfkit.sim.replays import parted, replayed
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    strays.SEEN.clear()
    strays.COUNTS.clear()


def replays_of(workflow: Workflow[..., Any], arg: int = 1) -> list[Violation]:
    subject = Subject(workflow, (arg,))
    recording = Simulation(subject).run()
    assert recording.status == "completed"
    return replayed(subject, recording, registry_of(subject, None))


@pytest.mark.parametrize(
    ("workflow", "cause", "fix"),
    [
        (unsafe_clock, "time.time(), at", "now()"),
        (bound_clock, "time.time(), at", "now()"),
        (wall_date, "datetime.now(), at", "now()"),
        (rush_hour, "datetime.now(), at", "now()"),
        (christmas, "datetime.now(), at", "now()"),
        (weekday, "time.localtime(), at", "now()"),
        (local_hour, "time zone", "UTC"),
        (local_day, "datetime.date.today(), at", "now().date()"),
        (late_deadline, "time.time(), at", "now()"),
        (rare_lot, "random.random(), at", "rng()"),
        (seen_before, "SEEN, at", "local variable"),
        (numbered, "NUMBERS, at", "local variable"),
        (logged_and_seen, "COUNTS, at", "local variable"),
        (logged_and_numbered, "NUMBERS, at", "local variable"),
        (environment, "os.environ['WFKIT_TEST_REGION'], at", "argument"),
        (set_of_objects, "order of a set", "sorted("),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_code_that_takes_another_way_is_found_with_its_cause(workflow: Workflow[..., Any], cause: str, fix: str) -> None:
    """A divergence alone tells nobody what to change: the cause, the line and the remedy are the finding."""
    (violation,) = replays_of(workflow)

    assert (violation.oracle, violation.severity, violation.workflow) == ("replay", "error", workflow.name)
    assert cause in violation.why
    assert fix in violation.fix
    assert "strays.py:" in violation.line


@pytest.mark.parametrize(
    ("workflow", "cause"),
    [
        (bound_chance, "it looks at os.urandom(), at"),
        (unsafe_uuid, "it looks at uuid.uuid4(), at"),
        (local_hour_as_argument, "it depends on the time zone"),
        (local_day_as_argument, "it looks at datetime.today(), at"),
        (object_as_argument, "the text of an object shows its address"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_other_arguments_are_a_warning(workflow: Workflow[..., Any], cause: str) -> None:
    """Arguments that hold a time stamp do not change the way taken, so the run goes on."""
    (violation,) = replays_of(workflow)

    assert (violation.severity, violation.about, violation.n) == ("warning", "note", 1)
    assert violation.why.startswith(cause)
    assert "goes on" in violation.why


def test_of_long_arguments_it_is_shown_where_they_differ() -> None:
    """Two equal beginnings would tell nothing."""
    (violation,) = replays_of(bound_chance_in_long_text)

    recorded, replayed = violation.evidence[:2]
    assert re.search(r"note\(\"very .* \.\.\. .*and then [0-9a-f]{16} and very.*\.\.\.", recorded)
    assert re.search(r"note\(\"very .* \.\.\. .*and then [0-9a-f]{16} and very.*\.\.\.", replayed)
    assert max(map(len, (recorded, replayed))) < 120


@pytest.mark.parametrize(
    "workflow", [only_logged, own_chance, sorted_set, set_of_tasks, set_of_text], ids=lambda value: value.name
)
def test_code_that_replays_alike_in_this_process_is_clean(workflow: Workflow[..., Any]) -> None:
    """What only another process can show must not be guessed at here."""
    assert replays_of(workflow) == []


def test_a_replay_finds_what_the_world_replaces() -> None:
    """Settings of a test are not those of the module, and no workflow is to be blamed for that."""
    subject = Subject(by_setting, (1,), strays.World)
    recording = Simulation(subject).run()
    assert recording.result == "live"
    assert replayed(subject, recording, registry_of(subject, None)) == []


def test_replays_log_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """As schedules do not: handlers may write to files and sockets."""
    assert replays_of(unsafe_log) == []
    assert caplog.records == []


def test_a_finding_tells_both_sides_and_where() -> None:
    """Recorded, replayed and the lines in question are all that its reader has."""
    (violation,) = replays_of(unsafe_clock)

    assert violation.title == "unsafe_clock goes another way when it is replayed: step note instead of step load"
    assert violation.evidence[:2] == ("recorded: step load (entry 2 of 3)", "replayed: step note")
    assert all("time.time() at" in line for line in violation.evidence[2:])


def test_two_executions_that_part_by_their_arguments_tell_these_and_what_is_left_behind() -> None:
    """The names of the steps are equal, so they alone would tell nothing."""
    subject = Subject(kept_list, (1,))
    (violation,) = parted(Simulation(subject).run(), Simulation(subject).run(), registry_of(subject, None))

    assert violation.title == "kept_list asks for note with other arguments each time it is executed"
    assert violation.evidence == ('executed once: note("0")', 'executed again: note("0, 1")')
    assert "SEEN, at" in violation.why
    assert "strays.py:" in violation.line


def test_histories_of_children_are_replayed_as_well() -> None:
    """A child fails in its own replay, long after its parent has gone on."""
    (violation,) = replays_of(parent)

    assert violation.workflow == "unsafe_clock"
    assert violation.run != "parent-1"


def test_nothing_of_elsewhere_is_left_behind() -> None:
    """Clock, time zone and environment are the whole process's: a test after this one must find its own."""

    def here() -> tuple[Any, ...]:
        return (
            dict(os.environ),
            time.tzname,
            time.time,
            time.localtime,
            vars(datetime)["now"],
            vars(strays)["wall"],
            time.time(),
        )

    *before, began = here()
    replays_of(bound_clock)
    *after, ended = here()

    assert before == after
    assert 0 <= ended - began < 60


@step
async def count(n: int) -> int:
    return n


@workflow
async def long(n: int) -> int:
    for each in range(n):
        await count(each)
    await sleep("1d")
    return n


def test_long_histories_are_replayed_in_bounded_time() -> None:
    """Every prefix of two thousand entries would be two million replayed entries."""
    subject = Subject(long, (2000,))
    recording = Simulation(subject).run()
    began = time.process_time()

    assert replayed(subject, recording, registry_of(subject, None)) == []
    assert time.process_time() - began < 10


def test_a_changed_workflow_does_not_replay_the_old_history() -> None:
    """As an upgrade would, which is judged by the same oracle."""
    subject = Subject(long, (3,))
    recording = Simulation(subject).run()

    async def shorter(n: int) -> int:
        await sleep("1d")
        return n

    changed = replace(subject, workflow=Workflow(shorter, name="long"))
    (violation,) = replayed(changed, recording, registry_of(changed, None))

    assert "timer 1d instead of step count" in violation.title
