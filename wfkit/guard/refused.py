"""What raises in workflow code: all that touches the outside, or that answers otherwise in the next execution."""

from __future__ import annotations

import _posixsubprocess
import _thread
import concurrent.futures
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from wfkit.core.loop import active_loops
from wfkit.guard.scope import refuse
from wfkit.guard.stand_in import Make, replace, shadow

_STEP = "do it in a step"
_READ_BEFORE = "read it in a step, or pass it to the workflow as an argument"
_SLEEP = "use `await asyncio.sleep()` or wfkit's sleep(), which are durable"
_TASK = "use asyncio.create_task(), or do it in a step: a `def` step has a thread of its own"
_UUID = "use uuid.uuid4(), which replays alike"
_SEED = "use rng(), whose seed is recorded, or a random.Random with a seed of your own"

_REFUSED = """
    open glob.glob pathlib.Path.glob pathlib.Path.rglob sqlite3.connect tempfile.mkdtemp tempfile.mkstemp
    os.chdir os.chflags os.chmod os.chown os.getxattr os.link os.listdir os.listxattr os.lockf os.mkdir os.putenv
    os.remove os.removexattr os.rename os.rmdir os.scandir os.setxattr os.symlink os.truncate os.unsetenv os.utime
    os.exec os.fork os.forkpty os.kill os.killpg os.posix_spawn os.spawn os.system pty.spawn subprocess.Popen
    shutil.chown shutil.copyfile shutil.copymode shutil.copystat shutil.copytree shutil.make_archive shutil.move
    shutil.rmtree shutil.unpack_archive
    socket.bind socket.connect socket.getaddrinfo socket.gethostbyaddr socket.gethostbyname socket.gethostname
    socket.getnameinfo socket.getservbyname socket.getservbyport socket.sendmsg socket.sendto socket.sethostname
    syslog.syslog webbrowser.open
"""
_EVENTS = {event: (event, _STEP) for event in _REFUSED.split()} | {
    "builtins.input": ("input", _STEP),
    "socket.__new__": ("socket.socket", _STEP),
    "urllib.Request": ("urllib.request.urlopen", _STEP),
    "time.sleep": ("time.sleep", _SLEEP),
    "_thread.start_new_thread": ("_thread.start_new_thread", _TASK),
    "_thread.start_joinable_thread": ("_thread.start_joinable_thread", _TASK),
}
"""Audit events that raise: how the message calls them, and what to do instead."""

_hooked = False


def install() -> None:
    global _hooked  # noqa: PLW0603  # a hook of the interpreter stays, so there must be one
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    # What follows raises no audit event, at least not on every Python.
    shadow(time, "sleep", _refusing("time.sleep()", _SLEEP))
    shadow(_thread, "start_new_thread", _refusing("_thread.start_new_thread()", _TASK))
    shadow(_posixsubprocess, "fork_exec", _refusing("multiprocessing.Process.start()", _STEP))
    shadow(uuid, "uuid1", _refusing("uuid.uuid1()", _UUID))
    shadow(random, "seed", _refusing("random.seed()", _SEED))
    replace(threading.Thread, "start", _refusing("threading.Thread.start()", _TASK))
    replace(concurrent.futures.Future, "__init__", _refusing("concurrent.futures.Future()", _TASK))  # in every `submit`
    if uuid._generate_time_safe is not None:  # type: ignore[attr-defined]  # what a `uuid1` bound earlier calls
        replace(uuid, "_generate_time_safe", _refusing("uuid.uuid1()", _UUID))
    environment = type(os.environ)
    replace(environment, "__getitem__", _looked_up)
    for name in ("__iter__", "__len__", "__repr__"):
        replace(environment, name, _refusing("os.environ", _READ_BEFORE))


# Some of this is called until the interpreter's very end, when globals are None: outside of an activation nothing but
# `active_loops` is looked at.


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if active_loops and event in _EVENTS:
        shown, help = _EVENTS[event]
        subject = os.fspath(args[0]) if args and isinstance(args[0], str | bytes | os.PathLike) else None
        if event == "open" and isinstance(subject, str) and _is_opened_by_python(subject, args[1]):
            return
        refuse(f"{shown}({'' if subject is None else repr(subject)})", help=help)


def _is_opened_by_python(path: str, mode: str | None) -> bool:
    """Whether this is a file that C code of Python itself opens, without a frame that would tell.

    These are the files of `ZoneInfo`, and the sources whose lines are shown with an exception that nobody can catch.
    """
    if path.endswith(".py") and mode in {"r", "rb"}:
        return True
    return any(path.startswith(f"{folder}/") for folder in getattr(sys.modules.get("zoneinfo"), "TZPATH", ()))


def _refusing(called: str, help: str) -> Make:
    def make(real: Callable[..., Any]) -> Callable[..., Any]:
        def refusing(*args: Any, **kwargs: Any) -> Any:
            if active_loops:
                refuse(called, help=help)
            return real(*args, **kwargs)

        return refusing

    return make


def _looked_up(real: Callable[..., str]) -> Callable[..., str]:
    def looked_up(self: Any, key: Any) -> str:
        if active_loops:
            refuse(f"os.environ[{key!r}]", help=_READ_BEFORE)
        return real(self, key)

    return looked_up
