"""A pytest plugin that runs tests on a wfkit with one bug: `pytest -p tests.mutants.plant --mutant NAME ...`.

The bug is planted into the text of one module as that is imported; no file is touched, and no other process sees it.
Without `--mutant` all is as it is.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import cast

import pytest

from tests.mutants.table import MUTANTS, Mutant


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mutant", choices=[mutant.name for mutant in MUTANTS], help="the bug to plant, from tests/mutants/table.py"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Plant before a conftest imports anything of wfkit."""
    name = early_config.known_args_namespace.mutant
    if name is None:
        return
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    if mutant.module in sys.modules:
        raise pytest.UsageError(f"{mutant.module} was imported before {name} could be planted")
    sys.meta_path.insert(0, _Finder(mutant))


def planted(source: str, edit: str) -> str:
    """Return a module's text with a bug in it.

    Raises:
        ValueError: the text has changed, and the bug has no place in it, or several.
    """
    lines = f"\n{source}"
    for place in edit.strip("\n").split("\n\n"):
        was = "".join(f"\n{line[1:]}" for line in place.split("\n") if line[0] != "+") + "\n"
        now = "".join(f"\n{line[1:]}" for line in place.split("\n") if line[0] != "-") + "\n"
        if lines.count(was) != 1:
            raise ValueError(f"in {lines.count(was)} places, not in one, stands{was}")
        lines = lines.replace(was, now)
    return lines[1:]


def source_of(module: str) -> str:
    """Return a module's text without importing it. Its packages are imported, but those of wfkit import nothing."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    return cast("SourceFileLoader", spec.loader).get_data(cast("str", spec.origin)).decode()


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self._mutant.module:
            return None
        spec = PathFinder.find_spec(name, path)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Loader(name, spec.origin, self._mutant.edit)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, edit: str) -> None:
        super().__init__(name, path)
        self._edit = edit

    def get_code(self, fullname: str) -> CodeType:
        """Compile the text with the bug: what lies compiled in a cache has none."""
        source = planted(self.get_data(self.path).decode(), self._edit)
        return compile(source, self.path, "exec", dont_inherit=True)
