"""Type checkers infer every call of the public API, and refuse what would fail when it runs."""

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

Errors = dict[int, set[str]]
"""What a checker found: the codes of the errors of each line."""


def mypy(file: Path) -> Errors:
    found: Errors = defaultdict(set)
    for line in output("-m", "mypy", f"--cache-dir={os.devnull}", "--output=json", "--no-error-summary", file).splitlines():
        error = json.loads(line)
        if error["severity"] == "error":
            found[error["line"]].add(error["code"])
    return dict(found)


def pyright(file: Path) -> Errors:
    found: Errors = defaultdict(set)
    for error in json.loads(output("-m", "pyright", "--outputjson", file))["generalDiagnostics"]:
        found[error["range"]["start"]["line"] + 1].add(error["rule"])
    return dict(found)


def output(*arguments: str | Path) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.stdout


CHECKERS = pytest.mark.parametrize(("check", "comment"), [(mypy, "type"), (pyright, "pyright")])


@CHECKERS
def test_what_the_documentation_shows_is_accepted(check: Callable[[Path], Errors], comment: str) -> None:
    """The inferred types are asserted line by line in `accepted.py`."""
    assert f"{comment}: ignore" not in (HERE / "accepted.py").read_text(encoding="utf-8")
    assert check(HERE / "accepted.py") == {}


@CHECKERS
def test_each_wrong_line_is_refused_and_no_other(check: Callable[[Path], Errors], comment: str, tmp_path: Path) -> None:
    """Without the comments that excuse them, exactly the lines of `refused.py` that carry one are errors, of its kind."""
    marker = re.compile(rf"  # {comment}: ignore\[([\w, -]+)\]")
    source = (HERE / "refused.py").read_text(encoding="utf-8").splitlines()
    expected = {number: set(mark[1].split(", ")) for number, line in enumerate(source, 1) if (mark := marker.search(line))}
    bare = tmp_path / "refused.py"
    bare.write_text("\n".join(marker.sub("", line) for line in source), encoding="utf-8")
    assert len(expected) > 40
    assert check(bare) == expected
