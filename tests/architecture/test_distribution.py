"""The wheel that users install, and how the checkout itself is installed."""

import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest

import wfkit

ROOT = Path(__file__).parents[2]
SHOW = "import wfkit, wfkit_tui; print(wfkit.__version__, wfkit.__file__, wfkit_tui.__file__, wfkit.WfkitError.__module__)"


def python(executable: str | Path, *arguments: str | Path, cwd: Path) -> str:
    """Return what `python -I ARGUMENTS` prints. Isolated, so that nothing is found by way of the working folder."""
    done = subprocess.run([executable, "-I", *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    python(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target, cwd=ROOT)
    (built,) = target.glob("*.whl")
    return built


def test_the_wheel_holds_both_packages_and_nothing_else(wheel: Path) -> None:
    """A `tests` or `tui` package in site-packages would clash with those of others."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"wfkit", "wfkit_tui", f"wfkit-{wfkit.__version__}.dist-info"}
    assert "wfkit/py.typed" in names


def test_the_wheel_works_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    """The front door opens before any dependency is there."""
    fresh = tmp_path / "venv"
    venv.create(fresh, with_pip=False, symlinks=True)
    python(sys.executable, "-m", "pip", "--python", fresh, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=tmp_path)
    version, *origins, errors = python(fresh / "bin/python", "-c", SHOW, cwd=tmp_path).split()
    assert (version, errors) == (wfkit.__version__, "wfkit.errors")
    assert all(Path(origin).is_relative_to(fresh) for origin in origins)
    assert (fresh / "bin/wfkit").exists()


def test_the_checkout_is_installed_in_place() -> None:
    """An edit holds at once, in this environment and in every process that tests start from any folder."""
    origins = python(sys.executable, "-c", SHOW, cwd=Path("/")).split()[1:3]
    assert origins == [str(ROOT / "wfkit/__init__.py"), str(ROOT / "tui/wfkit_tui/__init__.py")]


def test_what_only_tests_need_is_an_extra() -> None:
    """Whoever runs workflows in production installs no test framework."""
    requires = Distribution.from_name("wfkit").requires or []
    plain = {requirement.split(">")[0] for requirement in requires if "extra ==" not in requirement}
    assert plain == {"duckdb", "msgspec", "rich", "starlette", "textual", "typer", "typing-extensions", "uvicorn", "watchfiles"}
