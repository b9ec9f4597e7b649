"""Finds and loads the user's app: the module whose workflows an engine runs."""

from __future__ import annotations

import importlib
import linecache
import re
import sys
import tomllib
import traceback
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from wfkit.api.registry import Registry, definitions_of
from wfkit.core.loop import is_internal
from wfkit.core.names import workflows_written_in
from wfkit.errors import AppError, WfkitError

_DECORATED = re.compile(r"^@(wfkit\.)?workflow\b", re.MULTILINE)
_NAMES = "name a file as it is found from here, such as shop/app.py, or a module, such as shop.app"


def find_app(folder: Path | None = None, workflow: str = "") -> str:
    """Return the app that is meant when none is named: `[tool.wfkit] app` in pyproject.toml, or the only file that has one.

    Args:
        folder: where to look; here unless given.
        workflow: of several files, the one that defines a workflow of this name is meant.

    Raises:
        AppError: there is none, or more than one.
    """
    here = folder or Path.cwd()
    project = here / "pyproject.toml"
    if project.is_file():
        try:
            app = tomllib.loads(project.read_text()).get("tool", {}).get("wfkit", {}).get("app")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            raise AppError(f"{project} cannot be read: {exc}") from None
        if app is not None:
            return str(app)
    texts = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in sorted(here.glob("*.py"))}
    found = [name for name, text in texts.items() if _DECORATED.search(text)]
    defining = [name for name in found if workflow in workflows_written_in(texts[name])]
    if len(found) == 1 or len(defining) == 1:
        return (defining or found)[0]
    if not found:
        raise AppError(f"no file in {here} defines a workflow", help="name the app: file.py or package.module")
    raise AppError(f"several files define workflows: {', '.join(found)}", help=f"say which, such as {found[0]}")


def load_app(app: str) -> Registry:
    """Import an app and return what it defines.

    Args:
        app: `file.py`, with a path if need be, or `package.module`.

    Raises:
        AppError: it is not there, does not import, or defines no workflow.
        DuplicateName: two of its definitions share a name.
    """
    module = load_module(app)
    registry = Registry(definitions_of(module))
    if not registry.workflows:
        raise AppError(f"{app} defines no workflow", help="decorate an `async def` with @workflow")
    return registry


def code_folder(app: str) -> Path:
    """Return the folder that an app is imported from.

    Raises:
        AppError: the app is a file that is not there.
    """
    if not _is_file(app):
        return Path.cwd()
    if not Path(app).is_file():
        there = {path.stem: path for path in Path(app).parent.glob("*.py")}
        near = get_close_matches(Path(app).stem, there, n=1)
        raise AppError(f"there is no file {app}" + (f"; did you mean {there[near[0]]}?" if near else ""), help=_NAMES)
    _, folder = _module_of(Path(app).resolve())
    return folder


def load_module(app: str) -> ModuleType:
    """Import a module by `file.py`, with a path if need be, or by `package.module`.

    Raises:
        AppError: it is not there, or does not import.
    """
    path = Path(app)
    folder = code_folder(app)
    name = _module_of(path.resolve())[0] if _is_file(app) else app
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(name)
    except WfkitError:
        raise
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name == exc.name or name.startswith(exc.name + ".")):
            told = f"there is no module {name!r} in {folder} or among the installed packages"
            raise AppError(told, help=_NAMES) from None
        raise _told(app, exc) from exc
    except (Exception, SystemExit) as exc:  # importing runs the user's code
        raise _told(app, exc) from exc
    loaded = getattr(module, "__file__", None)
    if app.endswith(".py") and (loaded is None or Path(loaded).resolve() != path.resolve()):
        raise AppError(f"{app} is not what `import {name}` finds, which is {loaded}", help="rename the file")
    return module


def _is_file(app: str) -> bool:
    return app.endswith(".py") or "/" in app


def _module_of(path: Path) -> tuple[str, Path]:
    """Return the dotted name of a file and the folder that it is imported from: above its packages."""
    parts = [path.stem] if path.stem != "__init__" else []
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts), folder


def _told(app: str, exc: BaseException) -> AppError:
    """Return the error of an import: first the place and what is wrong there, then the user's own frames."""
    frames = [
        (f"{code.co_filename}:{line}", f"in {code.co_name}: {linecache.getline(code.co_filename, line).strip()}")
        for frame, line in traceback.walk_tb(exc.__traceback__)
        if not is_internal(code := frame.f_code) and "importlib" not in code.co_filename
    ]
    told = "".join(traceback.format_exception_only(exc)).strip()
    if isinstance(exc, SyntaxError) and exc.filename is not None:
        _, *source, last = told.split("\n")  # of which the first line is the place
        return AppError("\n".join([f"{app} does not import: {exc.filename}:{exc.lineno} {last}", *source]))
    at = f"{frames[-1][0]} " if frames else ""
    return AppError("\n".join([f"{app} does not import: {at}{told}", *(f"    {place} {what}" for place, what in frames[-4:])]))
