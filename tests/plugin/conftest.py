"""A small project whose tests are run by pytest in a child process, as its author would run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SECONDS_MAX = 60
WITHOUT = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:anyio")
"""Plugins of others that a project has no use for: loading them takes as long as its tests."""

SHOP = """
import uuid
from wfkit import resource, step, step_info, workflow

@resource
async def bank():
    yield None

@step
async def charge(order: str) -> str:
    return await bank.get().call("charge", idempotency_key={key}, order=order)

@step
async def note(order: str) -> None:
    pass

@workflow
async def fulfil(order: str) -> str:
    {first}
    return await charge(order)
"""
WRONG = "str(uuid.uuid4())"
RIGHT = "step_info().idempotency_key"

TESTS = """
import pytest
from shop import bank, fulfil
from wfkit.testing import FakeService, replace, verify

class World:
    def __init__(self):
        self.bank = FakeService("bank")

PROVE = dict(world=World, resources=[replace(bank, lambda world: world.bank)], budget="0.1s")

def test_fulfil():
    verify(fulfil, "order-77", **PROVE).assert_ok()
"""


@dataclass(frozen=True)
class Answer:
    status: int
    out: str

    @property
    def verdicts(self) -> dict[str, str]:
        """What `-v` says of each test, by node id."""
        lines = [line.rpartition(" [")[0].strip() for line in self.out.splitlines() if line.rstrip().endswith("%]")]
        return {id: verdict for id, _, verdict in (line.partition(" ") for line in lines)}


@dataclass(frozen=True)
class Project:
    """A folder with a workflow and its tests."""

    folder: Path

    def shop(self, key: str, first: str = "pass") -> None:
        """Write the workflow, with this as the idempotency key of its charge, and a line before that."""
        (self.folder / "shop.py").write_text(SHOP.format(key=key, first=first), encoding="utf-8")

    def tests(self, text: str) -> None:
        (self.folder / "test_shop.py").write_text(text, encoding="utf-8")

    def files(self) -> list[Path]:
        return sorted(self.folder.glob(".wfkit/failures/*.json"))

    def pytest(self, *arguments: str, **env: str) -> Answer:
        return self._call("pytest", *WITHOUT, "--no-header", "-v", *arguments, **env)

    def wfkit(self, *arguments: str) -> Answer:
        return self._call("wfkit", *arguments)

    def _call(self, *command: str, **env: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CI"))}
            | {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "120"}
            | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SECONDS_MAX,
        )
        return Answer(done.returncode, done.stdout)


def make_project(folder: Path) -> Project:
    """Write a project whose workflow charges twice when it is crashed."""
    (folder / "pytest.toml").write_text("[pytest]\nstrict = true\nfilterwarnings = ['error']\n", encoding="utf-8")
    made = Project(folder)
    made.shop(WRONG)
    made.tests(TESTS)
    return made


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose workflow charges twice when it is crashed."""
    return make_project(tmp_path)


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """Return a folder with a project whose test has found something, and what pytest said of it; only to be read."""
    project = make_project(tmp_path_factory.mktemp("project"))
    return project.folder, project.pytest()


@pytest.fixture
def failed(first: tuple[Path, Answer], tmp_path: Path) -> Project:
    """Return such a project."""
    folder, _ = first
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path)
