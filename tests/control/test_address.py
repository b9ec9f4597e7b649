"""Where the control socket is, and who may have it."""

from __future__ import annotations

import contextlib
import socket
import stat
from pathlib import Path

import pytest

from wfkit.control.address import POINTER, bound_socket, find_socket, named_socket
from wfkit.errors import EngineRunning, EngineUnreachable


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A journal's folder."""
    folder = tmp_path / ".wfkit"
    folder.mkdir(mode=0o755)
    return folder


def test_the_socket_lies_beside_the_journal_and_is_its_owners_alone(folder: Path) -> None:
    """And is gone with the engine."""
    with bound_socket(folder) as (_, path):
        assert path == folder / "engine.sock" == find_socket(folder)
        assert (mode(folder), mode(path)) == (0o700, 0o600)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 120 + "/.wfkit", "shared"])
def test_where_it_cannot_lie_beside_the_journal_a_file_says_where_it_is(tmp_path: Path, name: str) -> None:
    """If the path is too long for the system, or the folder is not wfkit's own, whose mode stays as it is."""
    folder = tmp_path / name
    folder.mkdir(parents=True, mode=0o755)
    with bound_socket(folder) as (listener, path):
        listener.listen()
        assert path.parent != folder
        assert (mode(path.parent), mode(path), mode(folder)) == (0o700, 0o600, 0o755)
        assert find_socket(folder) == path == named_socket(folder)
        with pytest.raises(EngineRunning), bound_socket(folder):
            pass
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(str(find_socket(folder)))
    assert list(folder.iterdir()) == []
    assert not path.parent.exists()


@pytest.mark.parametrize("name", [".wfkit", "shared"])
def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path, name: str) -> None:
    """By an engine that was killed."""
    folder = tmp_path / name
    folder.mkdir()
    left = contextlib.ExitStack()
    listener, path = left.enter_context(bound_socket(folder))
    listener.close()  # as the death of its process does
    with bound_socket(folder) as (again, now):
        again.listen()
        assert find_socket(folder) == now
        assert now == path or not path.exists()
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(str(now))
    left.pop_all()


def test_a_living_socket_is_not_replaced(folder: Path) -> None:
    """One folder has one engine."""
    with bound_socket(folder) as (listener, path):
        listener.listen()
        with pytest.raises(EngineRunning, match=r"engine\.sock"), bound_socket(folder):
            pass
        assert path.is_socket()


def test_a_file_that_names_something_else_costs_nobody_that(folder: Path) -> None:
    """A folder may come from a stranger, and with it the file that says where the socket is."""
    precious = folder.parent / "engine.sock"
    precious.write_text("precious")
    (folder / POINTER).write_text(str(precious))
    with bound_socket(folder):
        assert precious.read_text() == "precious"


def test_an_engine_is_named_by_its_socket_or_by_a_folder(folder: Path) -> None:
    """The journal's, or the one around that."""
    with bound_socket(folder) as (_, path):
        assert {named_socket(named) for named in (path, folder, folder.parent)} == {path}
    for named in (path, folder, folder.parent):
        with pytest.raises(EngineUnreachable, match="no engine runs"):
            named_socket(named)
