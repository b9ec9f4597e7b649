"""Which code is the user's: neither wfkit's, nor the standard library's, nor that of an installed package, wherever that lies.

Packages need not lie in `site-packages`: `pip install --target vendor` puts them into any folder. The record of what was
installed lies beside them. A package that is installed in place, by `pip install --editable`, has none there: it is the user's.
"""

from __future__ import annotations

import functools
import os
import sys
from importlib.metadata import distributions
from types import CodeType

from wfkit.core import loop
from wfkit.core.loop import is_internal_file


def is_library(code: CodeType) -> bool:
    """Whether code belongs to the standard library or to an installed package."""
    return is_library_file(code.co_filename)


def is_users_module(name: str) -> bool:
    """Whether a loaded module is the user's: neither of wfkit, nor of the standard library, nor of an installed package."""
    file = getattr(sys.modules.get(name), "__dict__", {}).get("__file__")
    if not isinstance(file, str):
        return name == "__main__"  # typed into a console; all others are built in
    return not (is_internal_file(file) or is_library_file(file))


@functools.lru_cache(maxsize=1024)
def is_library_file(path: str) -> bool:
    """As `is_library`, of the code of a file. The core, which reads no files, goes by the names of folders alone."""
    return loop.is_library_file(path) or any(
        path in _recorded_in(each) for each in map(os.path.abspath, sys.path) if path.startswith(f"{each}/")
    )


@functools.lru_cache(maxsize=64)
def _recorded_in(folder: str) -> frozenset[str]:
    """Return the modules that were installed into a folder."""
    records = (each.read_text("RECORD") or "" for each in distributions(path=[folder]))
    files = (line.partition(",")[0] for record in records for line in record.splitlines())
    return frozenset(f"{folder}/{file}" for file in files if file.endswith(".py"))
