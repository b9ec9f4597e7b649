"""The suite notices what would break an engine: each mutant is killed by the tests that its line in the table names."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.mutants.plant import planted, source_of
from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 60
"""What a process of a few tests may take on a slow machine. A mutant that hangs is not killed: its tests must end."""

each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


def run_tests(tests: Iterable[str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run tests in a process of their own, up to the first that fails, and repeatable: what fails once fails always."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "tests.mutants.plant", *options, *tests],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=SECONDS_MAX,
        # In CI Hypothesis derives its examples from the test, and stores none. Without other plugins a start takes 0.4 s.
        env={
            **os.environ,
            "CI": "1",
            "PYTEST_ADDOPTS": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
        },
    )


@each_mutant
def test_a_mutant_fits_into_the_code_as_it_is(mutant: Mutant) -> None:
    """Its text stands in the module exactly once, and what it makes of it is Python."""
    source = source_of(mutant.module)
    mutated = planted(source, mutant.edit)
    assert mutated != source
    compile(mutated, mutant.module, "exec")


def test_without_a_bug_all_these_tests_pass() -> None:
    """So that a failure of theirs is the mutant's doing."""
    done = run_tests(dict.fromkeys(mutant.killed_by for mutant in MUTANTS))
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr


@each_mutant
def test_a_mutant_is_killed(mutant: Mutant) -> None:
    """A test fails: it is not that none could be collected, or that the process died."""
    done = run_tests([mutant.killed_by], "--mutant", mutant.name)
    told = f"{mutant.name} lives, with which this does not hold: {mutant.breaks}\n{done.stdout}{done.stderr}"
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, told
    assert " failed" in done.stdout.splitlines()[-1], told
