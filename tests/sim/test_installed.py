"""Code of installed packages is no user's code, whatever folder it lies in."""

import sys
from collections.abc import Iterator
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType

import pytest

from tests.sim.judging import RESOURCES, World
from wfkit import step, workflow
from wfkit.sim.installed import is_users_module
from wfkit.testing import simulate

SOURCE = """
SEEN = []
def note():
    SEEN.append("note")
    return len(SEEN)
"""
RECORD = "{name}.py,sha256=0,12\n{name}-1.0.dist-info/RECORD,,\n"
RECORDS = {
    "installed": ("{name}-1.0.dist-info/RECORD", RECORD),
    "in_place": ("{name}.egg-info/SOURCES.txt", "{name}.py\n"),
    "beside_another": ("other-1.0.dist-info/RECORD", RECORD.replace("{name}", "other")),
}
"""What lies beside a module: a file, and what is in it."""


@pytest.fixture(params=RECORDS)
def vendored(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    name = f"vendored_{request.param}"
    file, record = (text.format(name=name) for text in RECORDS[request.param])
    (tmp_path / f"{name}.py").write_text(SOURCE)
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(record)
    monkeypatch.syspath_prepend(tmp_path)
    invalidate_caches()
    yield import_module(name)
    sys.modules.pop(name)


def test_a_module_is_a_library_if_the_record_beside_it_lists_it(vendored: ModuleType) -> None:
    """A package that is installed in place has no such record, and what lies beside an installed one is in none."""
    assert is_users_module(vendored.__name__) == (vendored.__name__ != "vendored_installed")


def test_a_crash_takes_what_the_users_code_remembers_and_leaves_a_library_alone(vendored: ModuleType) -> None:
    """Nobody else knows which parts of a library belong together."""
    note = vendored.note

    @step
    async def notice() -> int:
        return int(note())

    @workflow
    async def notices() -> int:
        return await notice()

    run = simulate(notices, world=World, resources=RESOURCES, faults=["crash@1:step.effect_done_not_journaled:notice"])

    assert (run.result == 1) == (vendored.__name__ != "vendored_installed")
