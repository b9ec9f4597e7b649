"""Finds the Pythons of this machine on which wfkit could run, and gives each what wfkit's core needs to be imported."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDS = ("msgspec", "typing_extensions")
"""What `wfkit.core` and `wfkit.api` import from outside the standard library."""

_ASK = "import json, sys; print(json.dumps([*sys.version_info[:3], sys.implementation.name]))"


@functools.cache
def pythons() -> dict[str, Path]:
    """Return a Python of each minor version from 3.11 on, by version; the one that runs here stands for its own."""
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": Path(sys.executable)}
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    candidates = [folder / f"python3.{minor}" for minor in range(11, 20) for folder in folders]
    candidates += sorted(Path.home().glob(".pyenv/versions/*/bin/python"))
    for candidate in candidates:
        if not os.access(candidate, os.X_OK):
            continue
        # A pyenv shim of a version that is not chosen is on the PATH as well, and fails when it is run.
        answer = subprocess.run([candidate, "-c", _ASK], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            major, minor, _, name = json.loads(answer.stdout)
            if name == "cpython" and (major, minor) >= (3, 11):
                found.setdefault(f"{major}.{minor}", candidate)
    return found


def ready(python: Path, minor: str, folder: Path) -> Path | None:
    """Return a Python of that version that can import what wfkit needs, or None if it cannot be had.

    Args:
        python: an interpreter.
        minor: its version, `3.12`.
        folder: where an environment is made, and kept, for one that lacks something.
    """
    if _imports(python):
        return python
    home = folder / f"{minor}-msgspec-{version('msgspec')}"
    own = home / "bin" / "python"
    if _imports(own):
        return own
    with tempfile.TemporaryDirectory(dir=folder) as making:
        # Made aside and moved into its place whole: another process may be at the same.
        made = Path(making) / "env"
        own_pip: list[str | Path] = [
            made / "bin" / "python",
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--retries",
            "0",
            "--timeout",
            "10",
        ]
        _run(python, "-m", "venv", "--copies", made)
        _run(*own_pip, "install", "--only-binary", ":all:", *(f"{need}=={version(need)}" for need in NEEDS))
        if not _imports(made / "bin" / "python"):
            return None
        if not home.exists():
            shutil.move(made, home)
    return own


def _run(*command: str | Path) -> None:
    subprocess.run(command, capture_output=True, check=False, timeout=180)


def _imports(python: Path) -> bool:
    code = "import " + ", ".join(NEEDS)
    return python.exists() and subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def produce(python: Path, *, hash_seed: str, junk: int = 0) -> dict[str, str]:
    """Return the histories of the corpus as a process of its own makes them."""
    done = subprocess.run(
        [python, "-W", "error", "-m", "tests.laws.produce", str(junk)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    histories: dict[str, str] = json.loads(done.stdout)
    return histories
