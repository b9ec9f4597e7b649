"""`wfkit completion`: the script by which a shell completes what is typed after `wfkit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from wfkit.cli.commands import PlainCommand, make_app

app = make_app()

SCRIPTS = Path(__file__).with_name("shells")
"""Each asks `wfkit --complete`, which `completing` answers."""


@app.command(cls=PlainCommand)
def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)
    ],
) -> None:
    """Print the script that lets a shell complete commands, options, files, and names of runs, workflows and signals.

    For bash put this line into ~/.bashrc, for zsh into ~/.zshrc with zsh instead of bash:

    eval "$(wfkit completion bash)"

    For fish: wfkit completion fish > ~/.config/fish/completions/wfkit.fish
    """
    print(SCRIPTS.joinpath(shell).read_text(encoding="utf-8"), end="")
