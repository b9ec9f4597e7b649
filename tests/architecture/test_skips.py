"""In CI a test that did not run must not look like one that passed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = """
import pytest

def test_of_a_missing_program():
    pytest.skip("strace is not installed")
"""
SKIP_OF_A_MODULE = """
import pytest

pytest.importorskip("no_such_package")
"""
SKIP_BY_PLATFORM = """
import pytest

@pytest.mark.skipif(True, reason="platform: only Linux has /proc")
def test_of_another_system():
    pass
"""


def outcome(folder: Path, source: str, *, ci: str) -> int:
    """Return the exit status of pytest on `source`, beside the conftest of these tests."""
    (folder / "pyproject.toml").write_text('[tool.pytest]\naddopts = ["--import-mode=importlib"]\n', encoding="utf-8")
    (folder / "conftest.py").write_text(
        (Path(__file__).parents[1] / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    (folder / "test_sample.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return subprocess.run(command, cwd=folder, env=os.environ | {"CI": ci}, capture_output=True, check=False).returncode


@pytest.mark.parametrize("source", [SKIPS, SKIP_OF_A_MODULE], ids=["test", "module"])
def test_a_skip_fails_in_ci(tmp_path: Path, source: str) -> None:
    """A program or package that is missing in CI is a fault of CI."""
    assert outcome(tmp_path, source, ci="true") != 0


def test_a_skip_passes_elsewhere(tmp_path: Path) -> None:
    """A developer's machine need not have everything."""
    assert outcome(tmp_path, SKIPS, ci="") == 0


def test_a_skip_by_platform_passes_in_ci(tmp_path: Path) -> None:
    """What this kind of machine cannot show is shown on another."""
    assert outcome(tmp_path, SKIP_BY_PLATFORM, ci="true") == 0
