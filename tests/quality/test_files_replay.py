"""What was found replays from its file alone: in a fresh process, under any hash seed, to the last byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from msgspec import UNSET

from tests.quality import bugs
from tests.quality.outside import RESOURCES, World
from wfkit.sim.faults import parse_schedule
from wfkit.sim.files import read_failure
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject
from wfkit.testing.caller import Caller, calling

GOES_ANOTHER_WAY_EACH_TIME = {"D04", "D06", "D11"}
LONG = {"R01"}
CASES = {
    case.name: case
    for case in bugs.CASES
    if case.found is not None
    and case.found.faults
    and case.found.severity != "info"  # which is not kept
    and case.id not in GOES_ANOTHER_WAY_EACH_TIME | LONG
}


def traces(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Execute the schedules of all failure files. Returns what their traces should be and what they are, by case."""
    return {name: [_traces(name, file) for file in sorted((folder / name).glob("failures/*.json"))] for name in CASES}


def _traces(name: str, file: Path) -> tuple[str, str]:
    case, failure = CASES[name], read_failure(file)
    faults, dropped = parse_schedule(failure.faults)
    subject = Subject(
        case.workflow,
        case.workflow.signature.decode(failure.input) if failure.own_input and failure.input is not UNSET else case.args,
        World,
        RESOURCES,
        case.script,
        case.runs,
        expect=case.expect,
        upgrade_from=case.upgrade_from if any(fault.startswith("upgrade") for fault in failure.faults) else None,
        id=case.run_id,
        dropped=dropped,
    )
    base = Simulation(subject, seed=failure.seed).run()
    return failure.trace, Simulation(subject, faults, seed=failure.seed, base=base).run().digest


def test_each_finding_replays_from_its_file_in_a_fresh_process(tmp_path: Path) -> None:
    """The file is what a colleague gets: it must show the same there."""
    for name, case in CASES.items():
        with calling(Caller({"pytest": name}, folder=tmp_path / name)):
            assert case.verify().findings
    for seed in range(3):
        by_case = _in_a_fresh_process(tmp_path, seed)
        assert [name for name in CASES if not by_case[name]] == []
        assert [(name, trace) for name, files in by_case.items() for trace in files if trace[0] != trace[1]] == []


def _in_a_fresh_process(folder: Path, seed: int) -> dict[str, list[tuple[str, str]]]:
    code = f"import {__name__} as it, json, pathlib, sys; print(json.dumps(it.traces(pathlib.Path(sys.argv[1]))))"
    there = subprocess.run(
        [sys.executable, "-c", code, folder],
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    traces: dict[str, list[tuple[str, str]]] = json.loads(there.stdout)
    return traces
