"""`wfkit version`: what is installed."""

from __future__ import annotations

import platform
from importlib.metadata import version

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.options import Json

app = make_app()


@app.command(cls=PlainCommand)
def show_version(as_json: Json = False) -> None:
    """Print the version of wfkit, of Python and of DuckDB."""
    if as_json:
        from wfkit.cli.output import show_json

        show_json("version", {"wfkit": version("wfkit"), "python": platform.python_version(), "duckdb": version("duckdb")})
    else:
        print(f"wfkit {version('wfkit')} (Python {platform.python_version()}, DuckDB {version('duckdb')})")
