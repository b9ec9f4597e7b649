"""Where an engine's control socket is: beside its journal, in a folder that only its owner may enter.

The address of a Unix socket holds about a hundred bytes, and a journal's folder may be shared. Then the socket is in a
folder of its own among the temporary ones, and the file `engine.path` beside the journal says where.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wfkit.errors import EngineRunning, EngineUnreachable, JournalUnusable
from wfkit.journal.folder import FOLDER, make_folder

SOCKET = "engine.sock"
POINTER = "engine.path"
SUCCESSION = "engine.next"
JOURNAL = "journal.duckdb"
"""What the journal in wfkit's own folder is called, unless it is named otherwise."""
_ADDRESS_BYTES_MAX = 103
"""macOS takes 104 with the zero at the end, Linux 108."""
_PROBE_SECONDS = 1.0


def find_socket(folder: Path) -> Path:
    """Return where the control socket of the engine is whose journal lies in `folder`, if there is one."""
    try:
        return Path(os.fsdecode((folder / POINTER).read_bytes()))
    except OSError:
        return folder / SOCKET


def named_socket(path: Path) -> Path:
    """Return the socket that a user names: by itself, by the folder of the journal, or by the folder around that.

    Raises:
        EngineUnreachable: there is none.
    """
    for folder in (path, path / FOLDER):
        found = find_socket(folder)
        if found.is_socket():
            return found
    if path.is_socket():
        return path
    raise EngineUnreachable(f"no engine runs at {path}")


def journal_above() -> Path | None:
    """Return the nearest journal in a folder above this one, if there is one of this user's; as it is named from here."""
    with contextlib.suppress(OSError):  # this folder may have been deleted
        for depth in range(1, len(Path.cwd().parents) + 1):
            found = Path(*[os.pardir] * depth, FOLDER, JOURNAL)
            if found.exists() and found.stat().st_uid == os.getuid():  # anybody could leave one in a shared folder
                return found
    return None


@contextlib.contextmanager
def succession(folder: Path) -> Iterator[None]:
    """Let clients know, for as long as this lasts, that an engine which ends in `folder` is followed by another one."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # then the engine cannot be opened there either, and says why
            make_folder(folder)
            file = os.open(folder / SUCCESSION, os.O_RDWR | os.O_CREAT, 0o600)
            stack.callback(os.close, file)
            fcntl.flock(file, fcntl.LOCK_SH)  # the folder may hold several journals
        yield


def has_succession(folder: Path) -> bool:
    """Whether an engine that does not answer in `folder` is about to be followed by another one."""
    with contextlib.ExitStack() as stack:
        try:
            file = os.open(folder / SUCCESSION, os.O_RDWR)
            stack.callback(os.close, file)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


@contextlib.contextmanager
def bound_socket(folder: Path) -> Iterator[tuple[socket.socket, Path]]:
    """Lend a bound control socket for the engine whose journal lies in `folder`, and take it away at the end.

    Raises:
        EngineRunning: another engine serves this folder.
        JournalUnusable: no socket can be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            _refuse_living(folder)
            path = _private_folder(folder, stack) / SOCKET
            listener = stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)))
            listener.bind(os.fspath(path))
        except OSError as error:
            raise JournalUnusable(f"cannot make the control socket in {folder}: {error.strerror or error}") from None
        stack.callback(path.unlink, missing_ok=True)
        path.chmod(0o600)
        yield listener, path


def _refuse_living(folder: Path) -> None:
    """Clear away what an engine that was killed has left; but not while it lives."""
    path = find_socket(folder)
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except TimeoutError:
            pass  # it lives, and is busy
        except OSError:
            if path.name == SOCKET and path.is_socket():  # who knows who wrote the file that names it
                path.unlink()
                if path.parent != folder:
                    with contextlib.suppress(OSError):
                        path.parent.rmdir()
            (folder / POINTER).unlink(missing_ok=True)
            return
    raise EngineRunning(f"another engine serves {path}")


def _private_folder(folder: Path, stack: contextlib.ExitStack) -> Path:
    """Return a folder for the socket that nobody else may enter."""
    own = folder.absolute()
    if own.name == FOLDER and len(os.fsencode(own / SOCKET)) <= _ADDRESS_BYTES_MAX:
        own.chmod(0o700)
        return own
    elsewhere = Path(tempfile.mkdtemp(prefix="wfkit-"))  # of mode 0700
    stack.callback(shutil.rmtree, elsewhere, ignore_errors=True)
    pointer = folder / POINTER
    new = pointer.with_suffix(".new")
    new.write_bytes(os.fsencode(elsewhere / SOCKET))
    new.replace(pointer)
    stack.callback(pointer.unlink, missing_ok=True)
    return elsewhere
