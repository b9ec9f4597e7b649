"""`wfkit store`: the journal file as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.failures import NO
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, Store

app = make_app()


@app.callback()
def store_commands() -> None:
    """Look after the journal file."""


@app.command(cls=PlainCommand, short_help="Show how large the journal is, and what it holds.")
def info(as_json: Json = False, store: Store = DEFAULT_STORE, engine: Engine = None) -> None:
    """Show how large the journal is, and what it holds."""
    from wfkit.cli.engine import ask
    from wfkit.cli.facts import Fact, show_facts
    from wfkit.cli.output import near, show_json
    from wfkit.cli.statuses import word
    from wfkit.control.messages import GetStore
    from wfkit.core.state import STATUSES

    found = ask(GetStore(), store, engine)
    runs = {status: found.runs[status] for status in STATUSES if status in found.runs}
    if as_json:
        members: dict[str, Any] = {
            "path": found.path,
            "file_bytes": found.file_bytes,
            "log_bytes": found.log_bytes,
            "records": found.records,
            "runs": runs,
            "format": found.format,
            "wfkit": found.wfkit,
            "epoch": found.epoch,
        }
        show_json("store", members)
        return
    counts = ", ".join(f"{count:,} {word(status)}" for status, count in runs.items())
    show_facts(
        [
            Fact("journal", near(found.path)),
            Fact("file", _size(found.file_bytes), str(found.file_bytes)),
            Fact("log", _size(found.log_bytes), str(found.log_bytes)),
            Fact("records", f"{found.records:,}", str(found.records)),
            Fact("runs", f"{sum(runs.values()):,}" + (f": {counts}" if counts else "")),
            Fact("format", str(found.format)),
            Fact("written by", f"wfkit {found.wfkit}"),
            Fact("opened", "once" if found.epoch == 1 else f"{found.epoch:,} times", str(found.epoch)),
        ]
    )


@app.command(cls=PlainCommand, short_help="Write a consistent copy into a new file.")
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.", show_default=False)],
    as_json: Json = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Write a consistent copy of the journal into a new file, while it is in use or not."""
    from wfkit.cli.engine import is_live, reach
    from wfkit.cli.output import note, show_json
    from wfkit.control.messages import BackUp

    if is_live(store, engine):
        client = reach(store, engine)
        client.ask(BackUp(file=str(file.absolute())))
    else:
        from wfkit.journal.backup import backup_file

        backup_file(store, file)
    size = file.stat().st_size
    if as_json:
        show_json("backup", {"path": str(file.absolute()), "bytes": size})
    else:
        note(f"wrote {file} ({_size(size)})")


@app.command(cls=PlainCommand, short_help="Save what can be read of a damaged journal.")
def repair(as_json: Json = False, store: Store = DEFAULT_STORE) -> None:
    """Save what can be read of a damaged journal. The damaged files are kept beside it."""
    from wfkit.cli.facts import Fact, show_facts
    from wfkit.cli.output import note, show_json
    from wfkit.journal.repair import repair as mend

    done = mend(store)
    lost = done.unreadable + done.dropped
    if lost:
        note(f"not saved: {lost:,} record{'s' if lost != 1 else ''}; look into the runs concerned, or restore a backup")
    if as_json:
        members: dict[str, Any] = {
            "path": str(store.absolute()),
            "kept": [str(path.absolute()) for path in done.kept],
            "records": done.rows,
            "dropped": done.dropped,
            "unreadable": done.unreadable,
            "log_bytes_cut": done.log_bytes_cut,
        }
        show_json("repair", members)
        raise typer.Exit(NO if lost else 0)
    show_facts(
        [
            Fact("journal", str(store)),
            Fact("records", f"{done.rows:,}", str(done.rows)),
            Fact("dropped", f"{done.dropped:,} that follow a gap in their run, or were there twice", str(done.dropped)),
            Fact("unreadable", f"{done.unreadable:,}", str(done.unreadable)),
            Fact("cut off", f"{_size(done.log_bytes_cut)} of the log", str(done.log_bytes_cut)),
            *(Fact("kept as it was", str(path)) for path in done.kept),
        ]
    )
    raise typer.Exit(NO if lost else 0)


def _size(count: int) -> str:
    """Return a number of bytes for people."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError
