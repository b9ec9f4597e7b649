"""`wfkit store`, and what every reader says of a journal that cannot be read."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import duckdb
import pytest

from tests.cli.conftest import Wfkit, call_here, call_in


@pytest.fixture
def copy(filled_folder: Path, tmp_path: Path) -> Path:
    """A copy of the journal with runs of every kind."""
    shutil.copytree(filled_folder / ".wfkit", tmp_path / ".wfkit")
    return tmp_path / ".wfkit" / "journal.duckdb"


def test_info_counts_runs_and_bytes(filled: Wfkit, filled_folder: Path) -> None:
    """As facts, and as JSON."""
    facts = dict(filled("store", "info").rows)
    assert facts["journal"] == ".wfkit/journal.duckdb"
    assert int(facts["file"]) == (filled_folder / ".wfkit/journal.duckdb").stat().st_size
    document = filled("store", "info", "--json").json
    assert document["document"] == "store"
    assert document["runs"] == {"running": 6, "completed": 6, "failed": 1, "cancelled": 1, "blocked": 2}
    assert "16: 6 running" in facts["runs"]


def test_a_backup_is_a_journal(filled: Wfkit, tmp_path: Path) -> None:
    """With the same runs; and an existing file is not overwritten."""
    target = tmp_path / "copy.duckdb"
    assert filled("store", "backup", str(target)).status == 0
    assert filled("runs", "-q", "--store", str(target)).out == filled("runs", "-q").out
    again = filled("store", "backup", str(target))
    assert again.status == 4
    assert "exists already" in again.err


def test_a_damaged_journal_is_told_and_repaired(copy: Path) -> None:
    """The message names the repair, which keeps the damaged file."""
    wfkit = call_in(copy.parents[1])
    ids = wfkit("runs", "-q").out
    with duckdb.connect(str(copy)) as connection:
        connection.execute("SET wal_autocheckpoint = '1TB'; PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("INSERT INTO meta VALUES ('a', 'b'); INSERT INTO meta VALUES ('c', 'd')")
    log = copy.with_name(copy.name + ".wal")
    torn = bytearray(log.read_bytes())
    torn[len(torn) // 3] ^= 0xFF
    log.write_bytes(bytes(torn))
    answer = wfkit("runs")
    assert answer.status == 4
    assert answer.err.startswith("error[WF052]: the log of .wfkit/journal.duckdb is damaged at byte ")
    assert "wfkit store repair --store .wfkit/journal.duckdb" in answer.err
    mended = wfkit("store", "repair")
    assert mended.status == 0
    assert dict(mended.rows)["dropped"] == "0"
    assert [Path(path).name for label, path in mended.rows if label == "kept as it was"] == [
        "journal.duckdb.before-repair",
        "journal.duckdb.wal.before-repair",
    ]
    assert wfkit("runs", "-q").out == ids


@pytest.mark.parametrize(
    "arguments", [["runs"], ["runs", "get", "x"], ["store", "info"], ["store", "backup", "b"], ["store", "repair"]]
)
def test_without_a_journal_there_is_one_clear_error(quick: Wfkit, folder: Path, arguments: list[str]) -> None:
    """And no folder is made for it."""
    answer = quick(*arguments)
    assert not (folder / ".wfkit").exists()
    assert (answer.status, answer.out) == (4, "")
    assert answer.err.startswith("error[WF057]: there is no journal .wfkit/journal.duckdb\n  help  ")


def test_an_empty_journal_says_how_to_start(wfkit: Wfkit, folder: Path) -> None:
    """No run is an answer, not an error."""
    wfkit("run", "app.py:nap", '"0s"', "--id", "n")
    with duckdb.connect(str(folder / ".wfkit/journal.duckdb")) as connection:
        connection.execute("DELETE FROM entries; DELETE FROM runs; UPDATE meta SET value = '0' WHERE key = 'projected'")
    answer = wfkit("runs")
    assert (answer.status, answer.out) == (0, "")
    assert answer.err.startswith("no runs yet in .wfkit/journal.duckdb. Start one: wfkit run app.py:")
    last = wfkit("runs", "why", "@last")
    assert (last.status, "there is no run yet" in last.err) == (3, True)


def test_a_newer_journal_is_not_touched(copy: Path) -> None:
    """The message names the version that wrote it."""
    with duckdb.connect(str(copy)) as connection:
        connection.execute(
            "UPDATE meta SET value = CASE key WHEN 'format' THEN '99' ELSE '7.0' END WHERE key IN ('format', 'wfkit')"
        )
    before = copy.read_bytes()
    wfkit = call_in(copy.parents[1])
    for arguments in (["runs"], ["run", "app.py:nap", '"1s"']):
        if arguments[0] == "run":
            shutil.copy(Path(__file__).with_name("app.py"), copy.parents[1])
        answer = wfkit(*arguments)
        assert (answer.status, answer.out) == (4, "")
        assert answer.err.startswith("error[WF054]: .wfkit/journal.duckdb has format 99, of wfkit 7.0;")
    assert copy.read_bytes() == before


def test_a_journal_is_found_from_the_folders_below(
    filled_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By whoever reads, as git finds a repository; what is to be copied works there, and a run begins a journal here."""
    below = filled_folder / "below" / "deeper"
    below.mkdir(parents=True, exist_ok=True)
    call = call_here(below, monkeypatch, capsys)
    assert "pay-2" in call("runs", "-q").out.split()
    assert "--store ../../.wfkit/journal.duckdb" in call("runs", "why", "pack-7").out
    assert call("runs", "--store", ".wfkit/journal.duckdb").status == 4  # that one, and no other
    (below / "app.py").write_text((filled_folder / "app.py").read_text())
    assert call("run", "app.py:batch", "1", "--id", "own").status == 0
    assert call("runs", "-q").out == "own\n"
    shutil.rmtree(below.parent)


def test_wfkits_own_folder_is_not_committed(wfkit: Wfkit, folder: Path) -> None:
    """But for failures, each of which is a test; and whoever has changed that is left alone."""
    if shutil.which("git") is None:
        pytest.skip("platform: there is no git on this machine")
    wfkit("run", "app.py:batch", "1")
    for command in (["git", "init", "-q"], ["mkdir", "-p", ".wfkit/failures", ".wfkit/reports"]):
        subprocess.run(command, cwd=folder, check=True)
    for name in ("failures/one.json", "reports/two.json"):
        (folder / ".wfkit" / name).write_text("{}")
    told = subprocess.check_output(["git", "status", "--porcelain", "-uall", ".wfkit"], cwd=folder, text=True)
    assert told == "?? .wfkit/failures/one.json\n"
    (folder / ".wfkit" / ".gitignore").unlink()
    wfkit("run", "app.py:batch", "1")
    assert not (folder / ".wfkit" / ".gitignore").exists()


def test_a_file_of_another_kind_is_no_journal(quick: Wfkit, folder: Path) -> None:
    """It is left as it is."""
    (folder / "notes.txt").write_text("this is no database at all", encoding="utf-8")
    answer = quick("runs", "--store", "notes.txt")
    assert answer.status == 4
    assert answer.err.startswith("error[WF057]: notes.txt exists, but is no journal\n  help  name the journal")
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "this is no database at all"


@pytest.mark.parametrize(("named", "meant"), [(".", ".wfkit/journal.duckdb"), (".wfkit", ".wfkit/journal.duckdb")])
def test_a_folder_is_no_journal(quick: Wfkit, folder: Path, named: str, meant: str) -> None:
    """It is told which file in it may be meant, and nothing is left behind."""
    (folder / ".wfkit").mkdir(exist_ok=True)
    before = sorted(folder.iterdir())
    for command in (["runs"], ["start", "nap"], ["store", "info"]):
        answer = quick(*command, "--store", named)
        assert (answer.status, f"{named} is a folder; name the file in it, such as {meant}" in answer.err) == (2, True)
    assert sorted(folder.iterdir()) == before


def test_a_folder_that_cannot_be_written_is_named(quick: Wfkit) -> None:
    """With the option that chooses another one."""
    answer = quick("run", "app.py:nap", '"1s"', "--store", "/proc/wfkit/journal.duckdb")
    assert answer.status == 4
    assert answer.err.startswith("error[WF057]: cannot make the folder /proc/wfkit: ")
    assert "--store PATH" in answer.err
