"""Where files are, and what every file has."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("wfkit", "tui", "fixtures", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]


def test_every_folder_of_wfkit_with_modules_is_a_package() -> None:
    """A folder without `__init__.py` would be left out by tools that look for packages."""
    folders = {path.parent for path in SOURCES if path.is_relative_to(ROOT / "wfkit")}
    assert [folder.name for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("folder", ["tests", "tui"])
def test_tests_and_tui_are_no_packages(folder: str) -> None:
    """Either name as a package would clash with others in site-packages."""
    found = [*(ROOT / "tests").rglob("__init__.py")] if folder == "tests" else [*(ROOT / "tui").glob("__init__.py")]
    assert found == []


@pytest.mark.parametrize("name", ["common", "handler", "helpers", "manager", "misc", "utils"])
def test_no_module_is_a_drawer(name: str) -> None:
    """A module is named by the thing that it holds; these names hold whatever was left over."""
    assert [path for path in SOURCES if path.stem.strip("_").removesuffix("s") == name.removesuffix("s")] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_says_in_a_docstring_what_it_shows(path: Path) -> None:
    """The name of a test is the fact, its docstring says why it matters."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert [test.name for test in tests if not ast.get_docstring(test)] == []
