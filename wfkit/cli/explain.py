"""`wfkit explain`: what an error code means."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Annotated

import typer

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.failures import NotFound
from wfkit.cli.options import Json
from wfkit.cli.output import Column, show_json, show_table
from wfkit.errors import WfkitError, by_code

app = make_app()


@app.command(cls=PlainCommand)
def explain(
    code: Annotated[
        str, typer.Argument(metavar="CODE", help="Such as WF021; all of them if left out.", show_default=False)
    ] = "",
    as_json: Json = False,
) -> None:
    """Say what an error means: what happened, the usual causes, what to do."""
    known = by_code()
    if not code:
        errors = [error for _, error in sorted(known.items())]
        if as_json:
            show_json("errors", {"errors": [_members(error) for error in errors]})
        else:
            show_table(errors, _TABLE)
        return
    error = _named(code, known)
    if as_json:
        show_json("error", _members(error))
        return
    print(f"{error.code} {error.__name__}\n\n{inspect.getdoc(error)}")
    if error.help:
        print(f"\nhelp  {error.help}")


def _named(code: str, known: dict[str, type[WfkitError]]) -> type[WfkitError]:
    names = {error.__name__.lower(): error for error in known.values()}
    names |= {name.lower(): error for name, error in known.items()}
    asked = code.strip("[]").lower()
    found = names.get(asked) or names.get(f"wf{asked.removeprefix('wf'):0>3}")
    if found is None:
        near = get_close_matches(asked, [error.__name__.lower() for error in known.values()], n=1)
        hint = f"; did you mean {names[near[0]].__name__}?" if near else ""  # of codes, no other one is meant
        raise NotFound(f"there is no error {code!r}{hint}", help="list them all: wfkit explain")
    return found


def _members(error: type[WfkitError]) -> dict[str, str]:
    return {"code": error.code, "name": error.__name__, "text": inspect.getdoc(error) or "", "help": error.help}


def _summary(error: type[WfkitError]) -> str:
    return (inspect.getdoc(error) or "").split("\n")[0]


_TABLE: list[Column[type[WfkitError]]] = [
    Column("CODE", lambda error: error.code),
    Column("NAME", lambda error: error.__name__),
    Column("MEANING", _summary, cut=True),
]
