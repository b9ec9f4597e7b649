"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

DEFAULT_STORE = Path(".wfkit/journal.duckdb")


def refuse_empty(value: str | list[str] | None) -> str | list[str] | None:
    """Refuse the name of nothing, which is what the shell makes of a variable that is not set."""
    if value == "" or (isinstance(value, list) and "" in value):
        raise typer.BadParameter("it is empty: is a variable of the shell not set?")
    return value


def no_folder(value: Path) -> Path:
    """Refuse a folder where a journal is to be named."""
    if value.is_dir():
        inside = value / (DEFAULT_STORE if value.resolve().name != DEFAULT_STORE.parent.name else DEFAULT_STORE.name)
        raise typer.BadParameter(f"{value} is a folder; name the file in it, such as {inside}")
    return value


def nearest(context: typer.Context, param: typer.CallbackParam, value: Path) -> Path:
    """Look for the journal in the folders above, if none is named and there is none here."""
    from wfkit.control.address import find_socket, journal_above

    source = context.get_parameter_source(str(param.name))
    if source is not None and source.name != "DEFAULT":
        return no_folder(value)
    return value if value.exists() or find_socket(value.parent).is_socket() else journal_above() or value


Store: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--store",
        envvar="WFKIT_STORE",
        metavar="PATH",
        show_default=False,
        help=f"The journal, otherwise {DEFAULT_STORE}, here or in the nearest folder above.",
        callback=nearest,
    ),
]
OwnStore: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--store",
        envvar="WFKIT_STORE",
        metavar="PATH",
        show_default=False,
        help=f"The journal, otherwise {DEFAULT_STORE}; made if it is not there.",
        callback=no_folder,
    ),
]
Engine: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--engine",
        envvar="WFKIT_ENGINE",
        metavar="PATH",
        show_default=False,
        help="The engine to ask, by its socket or its folder; otherwise the one that holds the journal.",
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document.")]
NdJson: TypeAlias = Annotated[bool, typer.Option("--ndjson", help="JSON, one object a line.")]
RunName: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="A run: its id, the beginning of it, @last, or @failed.", show_default=False, callback=refuse_empty
    ),
]
Limit: TypeAlias = Annotated[
    int,
    typer.Option("--limit", "-n", min=1, max=1_000_000, metavar="N", help="At most so many, otherwise 50.", show_default=False),
]
Generation: TypeAlias = Annotated[
    int | None,
    typer.Option("--generation", min=1, metavar="N", help="One of its generations, otherwise the newest.", show_default=False),
]
SignalName: TypeAlias = Annotated[
    str, typer.Argument(metavar="SIGNAL", help="Its name.", show_default=False, callback=refuse_empty)
]
Payload: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="PAYLOAD", help="JSON, or @file, or - for stdin; otherwise null.", show_default=False),
]
Dedupe: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--dedupe",
        metavar="ID",
        help="An id of the fact: a second signal of that id is accepted and dropped.",
        show_default=False,
        callback=refuse_empty,
    ),
]


def with_store(command: str, store: Path) -> str:
    """Return a command for the user to copy, with `--store` if the one at hand had it."""
    import os

    plain = store == DEFAULT_STORE or os.environ.get("WFKIT_STORE") == str(store)
    return command if plain else f"{command} --store {store}"
