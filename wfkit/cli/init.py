"""`wfkit init`: a small app to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.failures import Refused
from wfkit.cli.output import note

app = make_app()

STARTER = Path(__file__).with_name("starter")
"""The files that are written, with `.txt` behind their names: they belong to no package."""


@app.command(cls=PlainCommand)
def init(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The folder, made if need be; otherwise this one.", show_default=False)
    ] = ".",
) -> None:
    """Write an app of one workflow with two steps, a resource and a signal, and a test that verifies it.

    A file that is there already is never overwritten. Prints the paths of the files, and on stderr what to do next.
    """
    folder = Path(name)
    files = {folder / source.stem: source.read_text(encoding="utf-8") for source in sorted(STARTER.glob("*.txt"))}
    there = [str(path) for path in files if path.exists()]
    if there:
        raise Refused(
            f"{' and '.join(there)} exist{'' if len(there) > 1 else 's'} already", "name another folder: wfkit init NAME"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
            print(path)
    except OSError as error:
        raise Refused(f"cannot write {error.filename}: {error.strerror}") from None
    note(_next(folder))


def _next(folder: Path) -> str:
    enter = "" if folder == Path() else f"  cd {shlex.quote(str(folder))}\n"
    return f"""\
next:
{enter}  wfkit dev                                               # run it, and edit it while it runs
  wfkit start purchase '["order-7", 4900]' --id order-7   # in another terminal
  wfkit send packed '"box-3"' --run order-7
  pytest                                                  # break it on purpose, some hundred times"""
