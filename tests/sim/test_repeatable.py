"""A schedule is a function of code, input, faults and seed: the same bytes twice, in any process, under any hash seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.quality import bugs, others, shapes, suspicious
from tests.quality.case import Case
from tests.quality.outside import RESOURCES, World
from wfkit.core.durations import microseconds
from wfkit.sim.faults import Fault, kinds_at
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject

LEFT_TO_CHANCE = {"D04", "D06", "D11", "module counter", "id by clock"}
"""Cases whose very bug is that they go another way each time."""
LONG = {"R01"}
CASES = [
    case
    for case in (*bugs.CASES, *suspicious.CASES, *others.CASES, *shapes.CASES)
    if case.id not in LEFT_TO_CHANCE | LONG and case.upgrade_from is None
]
FAULTS_A_CASE = 6


def subject_of(case: Case) -> Subject:
    return Subject(
        case.workflow,
        case.args,
        World,
        RESOURCES,
        case.script,
        case.runs,
        expect=case.expect,
        until=microseconds(case.until) if case.until is not None else None,
        id=case.run_id,
        workflows=case.workflows,
    )


def digests() -> dict[str, list[str]]:
    """Return a hash of all that was written and done, for schedules of every case: without faults, and with some."""
    return {case.name: _digests_of(case) for case in CASES}


def _digests_of(case: Case) -> list[str]:
    base = Simulation(subject_of(case), seed=7).run()
    faults = [Fault(kind.name, point) for point in base.trace for kind in kinds_at(point.phase) if kind.name != "upgrade"]
    chosen = faults[:: max(1, len(faults) // FAULTS_A_CASE)]
    again = [Simulation(subject_of(case), [fault], seed=7, base=base).run() for fault in chosen]
    return [recording.digest for recording in (base, *again)]


@pytest.fixture(scope="module")
def here() -> dict[str, list[str]]:
    return digests()


def test_the_same_bytes_twice_in_one_process(here: dict[str, list[str]]) -> None:
    """What another schedule left behind in this process plays no part."""
    assert digests() == here


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_bytes_in_another_process(here: dict[str, list[str]], seed: int) -> None:
    """Neither the addresses of objects nor the hashes of text do, nor the time zone."""
    there = subprocess.run(
        [sys.executable, "-c", f"import {__name__} as it, json; print(json.dumps(it.digests()))"],
        env={**os.environ, "PYTHONHASHSEED": str(seed), "TZ": "Asia/Tokyo"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(there.stdout) == here
