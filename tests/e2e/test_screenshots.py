"""The pictures of the README: they can be taken again, and tell nothing of the machine on which they were taken."""

from __future__ import annotations

import getpass
import re
import socket
import subprocess
import sys
import tempfile
from html import unescape
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHOWN = re.findall(r"!\[[^]]+\]\((fixtures/screenshots/\w+)\.png\)", (ROOT / "README.md").read_text(encoding="utf-8"))
BYTES_MAX = 150_000


def test_the_pictures_can_be_taken_again(tmp_path: Path) -> None:
    """Of the real thing: an engine under `wfkit dev` that is killed, an edit too many, a finding of `wfkit verify`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.screenshots", "--svg", tmp_path], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    taken = {path.stem: unescape(path.read_text(encoding="utf-8")).replace("\xa0", " ") for path in tmp_path.iterdir()}
    assert taken.keys() == {Path(shown).name for shown in SHOWN}
    for svg in taken.values():
        assert re.findall(r'href="[^#]|url\([^#]|@import', svg) == []  # it loads nothing
        for private in (
            tempfile.gettempdir() + "/",
            str(Path.home()) + "/",
            str(ROOT),
            f"{getpass.getuser()}@",
            socket.gethostname(),
        ):
            assert private not in svg
    for name, text in [
        ("start", "order-1046"),
        ("killed", "○ no worker"),
        ("recovered", "hand_over"),
        ("blocked", "ask_for_age"),
        ("finding", "count_in happened twice"),
    ]:
        assert text in taken[name]


def test_the_pictures_of_the_readme_are_there_and_small() -> None:
    """So that a page with all of them is quick."""
    assert len(SHOWN) == 5
    for shown in SHOWN:
        path = ROOT / f"{shown}.png"
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < BYTES_MAX
