"""The public names of `wfkit`, and what importing it costs."""

import ast
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import wfkit
from wfkit import errors

NAMES = {
    *("Client", "Duration", "Engine", "Expect", "NonRetryable", "Received", "Resource", "Retry", "RetryAfter", "Run"),
    *("RunInfo", "Saga", "Signal", "State", "Step", "StepInfo", "Undone", "Waitable", "Workflow"),
    *("connect", "has_patch", "info", "logger", "now", "publish", "resource", "rng", "run", "run_step", "saga", "send"),
    *("sleep", "sleep_until", "start_child", "step", "step_info", "subscribe", "timeout", "undoes", "unsafe", "uuid4"),
    *("wait_any", "wait_signal", "workflow"),
}
ERRORS = {error.__name__ for error in errors.by_code().values()} | {"WfkitError"}


def test_the_public_names_are_these_and_all_errors() -> None:
    """A public name is a promise: adding or dropping one is decided, and then changed here."""
    assert set(wfkit.__all__) == NAMES | ERRORS
    assert len(wfkit.__all__) == len(NAMES) + len(ERRORS)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_public_name_comes_from_the_module_that_defines_it(name: str) -> None:
    """The front door only passes on: the table names the defining module, where a reader finds the contract."""
    home = import_module(wfkit._LAZY[name])
    assert getattr(wfkit, name) is getattr(home, name)
    assert getattr(getattr(wfkit, name), "__module__", home.__name__) in {
        home.__name__,
        "builtins",
        "typing",
        "types",
        "logging",
    }


def test_type_checkers_see_each_lazy_name_in_the_same_module() -> None:
    """The imports for type checkers and the table for the interpreter say the same."""
    tree = ast.parse(Path(wfkit.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == wfkit._LAZY


def test_an_unknown_name_is_an_attribute_error_that_says_so() -> None:
    """As for any module, so that `hasattr` and `from wfkit import` behave."""
    with pytest.raises(AttributeError, match="module 'wfkit' has no attribute 'nonsense'"):
        wfkit.nonsense  # type: ignore[attr-defined]  # noqa: B018  # the access is the test


def test_dir_lists_names_that_are_not_loaded_yet() -> None:
    """Completion in a shell finds everything, and loads nothing."""
    assert set(wfkit.__all__) | {"__version__"} <= set(dir(wfkit))


def test_the_version_is_that_of_the_distribution() -> None:
    """The number stands in pyproject.toml alone."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert wfkit.__version__ == project["version"]


def test_importing_wfkit_loads_its_errors_and_nothing_else_but_standard_library() -> None:
    """Measured in a child process: this one has loaded everything already."""
    report = "import sys; before = set(sys.modules); import wfkit; print(*sorted(set(sys.modules) - before))"
    child = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    loaded = set(child.stdout.split())
    assert {name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names} == {"wfkit", "wfkit.errors"}
    assert loaded.isdisjoint({"asyncio", "importlib.metadata", "inspect", "logging", "socket"})
