"""A screen as a picture: SVG, and from that PNG by whatever Chromium this machine has."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.color import parse_rgb_hex
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from textual.app import App

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FONTS = "'DejaVu Sans Mono', Menlo, monospace"
SCALE = 10 / 12.2
"""Pixels of the picture for one of the SVG: so a character takes 10 by 20, and lines are sharp."""

_DARK = "484f58 ff7b72 3fb950 d29922 58a6ff bc8cff 39c5cf b1bac4"
_BRIGHT = "6e7681 ffa198 56d364 e3b341 79c0ff d2a8ff 56d4dd f0f6fc"
THEME = TerminalTheme(
    parse_rgb_hex("0d1117"),
    parse_rgb_hex("c9d1d9"),
    [*map(parse_rgb_hex, _DARK.split())],
    [*map(parse_rgb_hex, _BRIGHT.split())],
)
"""Colours of a dark terminal."""


def svg_of(app: App[None], title: str) -> str:
    """Return what an app shows as SVG that loads nothing."""
    console = Console(
        width=app.size.width,
        height=app.size.height,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        record=True,
    )
    console.print(app.screen._compositor.render_update(full=True))  # there is a public way, but not to other colours
    svg = console.export_svg(title=title, theme=THEME, unique_id="wfkit")
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", FONTS)
    return svg.replace('textLength="', 'lengthAdjust="spacingAndGlyphs" textLength="')  # no seams between blocks


def find_browser() -> str | None:
    """Return a program that draws SVG as its author meant it: Chromium or Chrome."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def write_png(browser: str, svg: str, path: Path) -> None:
    """Draw SVG into a file."""
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert found is not None
    width, height = (round(float(number) * SCALE) for number in found.groups())
    with TemporaryDirectory(prefix="wfkit-picture-") as name:
        page = Path(name) / "page.html"
        style = f"<style>body {{ margin: 0 }} svg {{ width: {width}px; height: {height}px; display: block }}</style>"
        page.write_text(f'<!doctype html><meta charset="utf-8">{style}{svg}', encoding="utf-8")
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--default-background-color=00000000",
            f"--user-data-dir={name}/profile",
            f"--window-size={width},{height}",
            f"--screenshot={path.absolute()}",
            page.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
