"""`wfkit verify`: break a workflow on purpose, in a simulation, and tell what does not survive."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from xml.etree import ElementTree

import typer
from msgspec import Raw, Struct, ValidationError, convert, to_builtins

from wfkit.api.definitions import Step, Workflow
from wfkit.cli.apps import load_workflow, user_output_on_stderr
from wfkit.cli.colours import is_terminal
from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.failures import DIVERGED, NO, NotFound, UsageError
from wfkit.cli.inputs import read_input, telling_how
from wfkit.cli.main import INTERRUPTED
from wfkit.cli.options import Json
from wfkit.cli.output import columns, note, on_terminal, show_json
from wfkit.cli.wrapping import wrapped
from wfkit.control.inputs import arguments
from wfkit.core.durations import microseconds
from wfkit.core.loop import is_internal, location
from wfkit.engine.apps import load_module
from wfkit.errors import FailureFileError, FaultSyntaxError, WfkitError
from wfkit.testing.caller import Caller, Replayed, calling
from wfkit.testing.silence import silence

if TYPE_CHECKING:
    from wfkit.sim.campaign import Progress, Terms
    from wfkit.sim.report import Report
    from wfkit.sim.subject import Subject

app = make_app()

OF_WORLD = ("resources", "script", "runs", "invariants", "expect")
"""Arguments of `verify()` that are attributes of the world's factory, where it has them."""
STATUSES = {"fixed": 0, "still fails": NO, "diverges": DIVERGED}
"""What a replay comes to, as an exit status."""
_QUIET_SECONDS = 0.3
"""What takes no longer needs no progress."""
_LINE_SECONDS = 10.0
"""How often progress is told where it cannot be shown in place."""


class Asked(Struct, frozen=True):
    """What a call of the command names, as failure files hold it."""

    target: str
    """`APP:WORKFLOW`."""
    input: str | None
    """JSON; None if none was given."""
    world: str
    """`MODULE:NAME`; empty if none was given."""

    @property
    def origin(self) -> dict[str, Any]:
        """Who can replay what is found."""
        return {"wfkit": to_builtins(self)}


@app.command(cls=PlainCommand)
def verify(
    target: Annotated[
        str, typer.Argument(metavar="APP:WORKFLOW", help="Such as app.py:order or shop.workflows:order.", show_default=False)
    ] = "",
    input: Annotated[
        str | None,
        typer.Argument(metavar="INPUT", help="As for `wfkit run`: JSON, or @file, or - for stdin.", show_default=False),
    ] = None,
    world: Annotated[
        str,
        typer.Option(
            "--world",
            metavar="MODULE:NAME",
            help="What makes the outside world, such as fakes.py:Shop. Its attributes resources, script, runs, invariants and "
            "expect are arguments of verify().",
            show_default=False,
        ),
    ] = "",
    faults: Annotated[
        list[str] | None,
        typer.Option(
            "--faults",
            metavar="FAULT",
            help="A kind such as crash, or a whole fault, to narrow the search; may be repeated.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="DURATION",
            help="How long to search. Unless given, what has an end of its own comes to it; the rest gets 5s.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Where chance comes from.")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", min=1, metavar="N", help="How many processes search.")] = 1,
    replay: Annotated[
        Path | None,
        typer.Option("--replay", metavar="FILE", help="Replay a file of .wfkit/failures instead.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Break a workflow on purpose, and report what does not survive.

    It is crashed at every point, its services fail, signals come twice and late, clocks jump: all in a simulation, on virtual
    time. What is found is kept in .wfkit/failures. Exit status 1 if something was found.
    """
    if replay is not None:
        if target:
            raise UsageError("a replay takes the workflow from the file", "write: wfkit verify --replay FILE")
        raise typer.Exit(_replay(replay, as_json=as_json))
    if not target:
        raise UsageError("no workflow is named", "write APP:WORKFLOW, such as app.py:order")
    terms = _terms(faults or None, budget, seed, jobs)
    asked = Asked(target, None if input is None else bytes(read_input(input)).decode(), world)
    subject = _subject(asked)
    with _progress() as progress, user_output_on_stderr():
        report = _explored(subject, asked, terms, progress)
    _show(report, as_json=as_json)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not report.ok:
        raise typer.Exit(NO)


def _terms(faults: list[str] | None, budget: str | None, seed: int, jobs: int) -> Terms:
    """Return how far a search goes. With --for, that is the time for the whole of it.

    Raises:
        UsageError: what --for gives is no duration.
    """
    from wfkit.sim.campaign import Terms

    if budget is None:
        return Terms(faults, seed=seed, jobs=jobs)
    try:
        seconds = microseconds(budget) / 1e6
    except ValueError as error:
        raise UsageError(f"--for: {error}", "write a duration, such as 30s or 5m") from None
    return Terms(faults, budget=seconds, limit=seconds, seed=seed, jobs=jobs)


def _subject(asked: Asked) -> Subject:
    """Load what a call of the command names.

    Raises:
        AppError, UnknownWorkflow, CodecError: it is not there, or does not fit.
        UsageError: it is no workflow, or no world.
    """
    from wfkit.sim.subject import Subject

    registry, workflow = load_workflow(asked.target)
    given = None if asked.input is None else Raw(asked.input.encode())
    with telling_how(given):
        args, keywords = workflow.decode_args(arguments(workflow, given))
    if keywords:
        raise UsageError(
            f"{workflow.name} has keyword-only parameters: {', '.join(keywords)}", "let them be ordinary parameters"
        )
    world = _world(asked.world) if asked.world else None
    told = {name: value for name in OF_WORLD if (value := getattr(world, name, None)) is not None}
    return Subject(workflow, args, world=world, workflows=tuple(registry.workflows.values()), **told)


def _world(ref: str) -> Callable[[], Any]:
    module, colon, name = ref.rpartition(":")
    if not colon or not module or not name:
        raise UsageError(f"{ref!r} does not name a world", "write MODULE:NAME, such as fakes.py:Shop")
    with user_output_on_stderr():
        found = getattr(load_module(module), name, None)
    if found is None:
        raise NotFound(f"there is no {name} in {module}", "write MODULE:NAME, such as fakes.py:Shop")
    if not callable(found) or isinstance(found, (Step, Workflow)):
        raise UsageError(f"{ref} makes no world: it cannot be called", "write a class, such as fakes.py:Shop")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise UsageError(f"{ref} makes no world by itself: {error}", "let it take no arguments") from None
    except ValueError:  # a class of C, which tells no signature
        pass
    return found  # type: ignore[no-any-return]  # its result is whatever a world is


def _explored(subject: Subject, asked: Asked, terms: Terms, progress: Callable[[Progress], None]) -> Report:
    """Search, and tell an error of the user's own code as one.

    Raises:
        UsageError: a fault is not understood, or a world, script or invariant has failed.
    """
    from wfkit.testing.verification import explore

    with calling(Caller(asked.origin, progress=progress)):
        try:
            return explore(subject, terms)
        except FaultSyntaxError as error:
            raise UsageError(str(error), error.help) from None
        except WfkitError:
            raise
        except Exception as error:
            line = _own_line(error)
            if line is None:
                raise
            help = "fix it, then verify again; for its traceback: wfkit --debug verify ..."
            raise UsageError(f"{type(error).__name__}: {error}, at {line}", help) from error


def _own_line(error: Exception) -> str | None:
    """Return the line of a world, script or invariant that an error comes from; None if it comes from wfkit."""
    from wfkit.sim.installed import is_library

    for frame, _ in reversed([*traceback.walk_tb(error.__traceback__)]):
        if is_internal(frame.f_code):
            return None
        if not is_library(frame.f_code):
            return location(frame)
    return None


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.flush()
        sys.stdout.buffer.write(report.to_json() + b"\n")
    else:
        verdict = "" if not report.ok else "\nno errors or warnings" if report.findings else "\nnothing found"
        _print(report.text() + verdict)


def _print(text: str) -> None:
    print(wrapped(text, columns()) if on_terminal() else text)


# -- replay --------------------------------------------------------------------------------------------------------------


def _replay(path: Path, *, as_json: bool) -> int:
    """Replay a failure file, say what came of it, and return the exit status."""
    from wfkit.sim.files import read_failure

    failure = read_failure(path)
    path = path.resolve()
    if path.parent.name == "failures" and path.parents[1].name == ".wfkit":
        os.chdir(path.parents[2])  # where the origin's names hold
    if "pytest" in failure.origin:
        verdict, text = _replayed_by_pytest(path, failure.origin["pytest"])
    elif "wfkit" in failure.origin:
        verdict, text = _replayed_here(path, failure.origin["wfkit"])
    else:
        raise FailureFileError(f"{path.name} does not say what to replay", help="find it again: by a test, or by wfkit verify")
    if as_json:
        show_json("replay", {"verdict": verdict, "text": text, "title": failure.title, "faults": failure.faults})
    else:
        _print(f"{verdict}: {failure.title if verdict == 'fixed' else text}")
    return STATUSES[verdict]


def _replayed_here(path: Path, origin: object) -> tuple[str, str]:
    """Replay a file that this command made."""
    try:
        asked = convert(origin, Asked)
    except ValidationError as error:
        raise FailureFileError(f"{path} is damaged: {error}", help="verify again: it is written anew") from None
    for ref in (asked.target, asked.world):
        if ref and not _is_here(ref.rpartition(":")[0]):
            raise FailureFileError(f"{path.name} comes from elsewhere: {ref} is not in {Path.cwd()}")
    subject = _subject(asked)
    from wfkit.testing.verification import explore

    # The schedule is executed several times: what the code prints would tell another story than the one that is told.
    with calling(Caller(asked.origin, replay=path)), user_output_on_stderr(), silence():
        try:
            explore(subject)
        except Replayed as replayed:
            return replayed.verdict, replayed.text
    raise FailureFileError(f"{path.name} comes from another call")


def _is_here(module: str) -> bool:
    """Whether a module is one of this project, so that a file from a stranger loads nothing else."""
    if module.endswith(".py") or "/" in module:
        return Path(module).resolve().is_relative_to(Path.cwd())
    first = Path(module.partition(".")[0])
    return first.is_dir() or first.with_suffix(".py").is_file()


def _replayed_by_pytest(path: Path, test: str) -> tuple[str, str]:
    """Replay a file that a test made: in a process of its own, where pytest comes first."""
    if find_spec("pytest") is None:
        raise FailureFileError(f"a test made {path.name}, and pytest is not here", help=f"pytest {path}")
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.xml")
        command = [sys.executable, "-m", "pytest", "-p", "wfkit.pytest_plugin", f"--junitxml={results}", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = ElementTree.parse(results).find(".//testcase") if results.exists() else None  # noqa: S314  # written just now
    verdict = found.find("./properties/property[@name='wfkit_replay']") if found is not None else None
    if found is None or verdict is None:
        raise FailureFileError(f"{path.name} cannot be replayed by {test}\n{done.stdout}{done.stderr}", help=f"pytest {path}")
    told = verdict.get("value", "")
    return told, found.findtext("failure", "").removeprefix(f"{told}: ")


# -- progress ------------------------------------------------------------------------------------------------------------


class _Progress:
    """Tells on stderr how far a campaign is: in place on a terminal, otherwise by a line now and then."""

    def __init__(self) -> None:
        self._in_place = is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
        self._began = time.monotonic()
        self._due = self._began + (_QUIET_SECONDS if self._in_place else _LINE_SECONDS)
        self._stage = ""
        self._drawn = False

    def __call__(self, progress: Progress) -> None:
        if progress.stage != self._stage:
            self._stage, self._began = progress.stage, time.monotonic()
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + (0.1 if self._in_place else _LINE_SECONDS)
        text = _told(progress, now - self._began)
        if self._in_place:
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()
            self._drawn = True
        else:
            note(text)

    def clear(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def _told(progress: Progress, seconds: float) -> str:
    of = f"/{progress.total:,}" if progress.total else ""
    text = f"{progress.stage}  {progress.done:,}{of} schedule{'s' if progress.done != 1 or of else ''}"
    if progress.found:
        text += f"  {progress.found} finding{'s' if progress.found != 1 else ''}"
    if seconds > 0.5:
        rate = progress.done / seconds
        text += f"  {rate:,.0f}/s"
        if progress.total > progress.done and rate:
            text += f"  eta {max(1, round((progress.total - progress.done) / rate))}s"
    return text


@contextmanager
def _progress() -> Iterator[_Progress]:
    progress = _Progress()
    try:
        yield progress
    finally:
        progress.clear()
