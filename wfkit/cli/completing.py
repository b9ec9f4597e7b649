"""Answers a shell that asks how a command line may go on.

It is asked at every press of a key, so it must be quick: it loads neither Typer nor anything else beyond the standard library.
Commands and options come from a table that was written beforehand, as help was; names of runs, workflows and signals from
the engine that runs, if that answers at once, or those of runs from the journal. What cannot be known is left out, silently.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypedDict
from urllib.parse import urlencode

WORDS = Path(__file__).with_name("words.json")
"""Every command with its options and arguments; a test keeps it equal to Typer's own."""
ENGINE_SECONDS = 0.1
"""An engine that needs longer for its answer is not waited for."""
RUNS_MAX = 50
SIGNALS_MAX = 200
_STORE = Path(".wfkit/journal.duckdb")
STATUSES = (
    *("running", "waiting", "retrying", "compensating", "blocked"),
    *("completed", "failed", "cancelled", "terminated", "timed_out"),
)
PROFILES = ("calm", "rough", "storm")
LOG_BYTES_MAX = 4 * 1024 * 1024
"""A longer log takes too long to be replayed."""
_STORED = """
WITH tail AS (
    SELECT decode(body)::JSON AS body, t FROM entries
    WHERE seq = 1 AND run > 0 AND pos > (SELECT value::BIGINT FROM meta WHERE key = 'projected')
), started AS (
    SELECT coalesce(body -> '$.record.entry', body -> '$.entry') AS entry, t FROM tail
), found AS (
    SELECT id, workflow, status, started FROM runs WHERE run > 0
    UNION ALL SELECT entry ->> '$.id', entry ->> '$.workflow', 'running', t FROM started
)
SELECT id, workflow, status FROM found WHERE starts_with(id, $beginning) ORDER BY started DESC LIMIT $limit
"""
FILTERS = {
    "status:": "failed,waiting",
    "wf:": "workflow, such as order_*",
    "id:": "run id, such as order-7*",
    "after:": "started after: 10m, 2026-08-01",
    "before:": "started before: 10m, 2026-08-01",
    "step:": "is at a step",
    "error:": "its error holds a text",
    "input.": "a member of the input: input.order.id:77",
}


class Param(TypedDict, total=False):
    """An option or an argument of a command."""

    names: list[str]
    """Of an option."""
    help: str
    value: str
    """What help calls it; a flag has none."""
    choices: list[str]
    many: bool
    """It may be given several times."""


class Command(TypedDict, total=False):
    """What is known of a command, or of a group of them."""

    options: list[Param]
    arguments: list[Param]
    commands: dict[str, str]
    """Names, and what each is for."""
    default: str
    """The command that is meant where none is named."""


class Candidate(NamedTuple):
    """A word that may stand where the cursor is."""

    word: str
    about: str = ""


class Asked(NamedTuple):
    """What the current word is to be."""

    word: str
    """What is typed of it."""
    options: dict[str, str]
    """The options before it that have a value."""


def answer(shell: str, line: str, breaks: str = "") -> None:
    """Print the words that a command line may go on with, one a line.

    Args:
        shell: bash, zsh or fish.
        line: the command line up to the cursor, as it is typed.
        breaks: the characters at which bash divides words, quoted or not; it wants what comes after the last of them.
    """
    with suppress(Exception):  # whatever is wrong, somebody is typing
        *before, word = split(line)
        start = max((word.rfind(char) for char in breaks if not char.isspace()), default=-1) + 1
        for found in candidates(before[1:], word):
            if shell == "bash":
                print(re.sub(r"([^\w@%+=:,./-])", r"\\\1", found.word[start:]))
            else:
                print(f"{found.word}\t{found.about}")


def split(line: str) -> list[str]:
    """Return the words of a command line as the shell takes them; the last one is the one that is being typed."""
    for quote in ("", "'", '"'):
        with suppress(ValueError):
            words = shlex.split(line + quote)
            return [*words, ""] if not quote and (not line or line[-1].isspace()) else words
    return [""]


def candidates(before: Sequence[str], word: str) -> Iterator[Candidate]:
    """Yield what a word may be.

    Args:
        before: the words between `wfkit` and it.
        word: what is typed of it.
    """
    table: dict[str, Command] = json.loads(WORDS.read_text(encoding="utf-8"))
    node, rest = _descend(table, list(before))
    options, arguments, pending = _read(node, rest)
    if pending is None and word.startswith("--") and "=" in word:
        name, _, value = word.partition("=")
        pending = _option(node, name)
        found = _values(pending, Asked(value, options)) if pending is not None else ()
        yield from (Candidate(f"{name}={one.word}", one.about) for one in found)
        return
    expected = node.get("arguments", [])
    argument = next(iter(expected[len(arguments) :]), expected[-1] if expected and expected[-1].get("many") else None)
    if pending is not None:
        yield from _values(pending, Asked(word, options))
    elif word.startswith("-") or (argument is None and "commands" not in node):
        used = {name for typed in rest for name in _names(node, typed.partition("=")[0])}
        for option in node["options"]:
            if option["names"][0] not in used and option["names"][0].startswith(word):
                yield Candidate(option["names"][0], option["help"])
    else:
        if not arguments:
            yield from (Candidate(name, about) for name, about in node.get("commands", {}).items() if name.startswith(word))
        if argument is not None:
            yield from _values(argument, Asked(word, options))


def _descend(table: dict[str, Command], words: list[str]) -> tuple[Command, list[str]]:
    """Return what is known of the command that is typed, and the words after it."""
    path: list[str] = []
    while words and words[0] in table[" ".join(path)].get("commands", {}):
        path.append(words.pop(0))
    node = table[" ".join(path)]
    default = node.get("default")
    if default is not None:
        meant = table[" ".join([*path, default])]
        node = meant if words else meant | {"commands": node["commands"]}
    return node, words


def _read(node: Command, words: Sequence[str]) -> tuple[dict[str, str], list[str], Param | None]:
    """Return the options that have values, the arguments, and the option whose value is typed next."""
    options: dict[str, str] = {}
    arguments: list[str] = []
    pending = None
    for word in words:
        if pending is not None:
            options[pending["names"][0]] = word
            pending = None
        elif word.startswith("-") and word != "-":
            name, equals, value = word.partition("=")
            option = _option(node, name)
            if equals and option is not None:
                options[option["names"][0]] = value
            elif option is not None and "value" in option:
                pending = option
        else:
            arguments.append(word)
    return options, arguments, pending


def _option(node: Command, name: str) -> Param | None:
    return next((option for option in node["options"] if name in option["names"]), None)


def _names(node: Command, name: str) -> Sequence[str]:
    option = _option(node, name)
    return () if option is None else option["names"]


# -- values --------------------------------------------------------------------------------------------------------------


def _values(param: Param, asked: Asked) -> Iterator[Candidate]:
    """Yield the values of an option or an argument that begin as the current word does."""
    if "choices" in param:
        found: Iterable[Candidate] = map(Candidate, param["choices"])
    elif "--dedupe" in param.get("names", ()):
        found = ()  # the id of a fact, which is nobody's but the user's
    else:
        find = _KINDS.get(param.get("value", ""))
        found = find(asked) if find is not None else ()
    yield from (one for one in found if one.word.startswith(asked.word))


def _runs(asked: Asked) -> Iterator[Candidate]:
    yield Candidate("@last", "the run that started last, children left out")
    yield Candidate("@failed", "the run that failed last")
    if asked.word and not re.fullmatch(r"[A-Za-z0-9._:/-]+", asked.word):
        return
    answer = _ask(asked, "runs", filter=f"id:{asked.word}*" if asked.word else "", limit=RUNS_MAX)
    found = [(run["id"], run["workflow"], run.get("status", "running")) for run in answer.get("runs", ())]
    seen = set()
    for id, workflow, status in found if answer else _stored_runs(asked):
        if id not in seen:
            yield Candidate(id, f"{workflow}, {status}")
        seen.add(id)


def _stored_runs(asked: Asked) -> list[tuple[str, str, str]]:
    """Return id, workflow and status of runs in a journal that no engine holds, if it can be opened quickly.

    Rows after the projection are not folded: a run that is only in those has no status that is known.
    """
    path = _store(asked)
    log = path.with_name(f"{path.name}.wal")
    named = asked.options.get("--engine") or os.environ.get("WFKIT_ENGINE")
    if named or not path.exists() or (log.exists() and log.stat().st_size > LOG_BYTES_MAX):
        return []
    from _duckdb import connect  # the package around it takes three times as long to import

    from wfkit.errors import JournalLocked
    from wfkit.journal.lock import lock_for_reading

    try:
        lock = lock_for_reading(path)
    except JournalLocked:  # by an engine that has not answered in time
        return []
    try:
        with closing(connect(str(path), read_only=True, config={"threads": 1})) as journal:
            rows = journal.execute(_STORED, {"beginning": asked.word, "limit": RUNS_MAX}).fetchall()
            return [(id, workflow, status) for id, workflow, status in rows]
    finally:
        lock.release()


def _workflows(asked: Asked) -> Iterator[Candidate]:
    for one in _ask(asked, "workflows").get("workflows", ()):
        yield Candidate(one["name"], ", ".join(f"{param['name']}: {param['type']}" for param in one["parameters"]))


def _signals(asked: Asked) -> Iterator[Candidate]:
    found = _ask(asked, "signals", limit=SIGNALS_MAX)
    seen: dict[str, str] = {}
    for wait in found.get("awaited", ()):
        seen.setdefault(wait["name"], f"{wait['run']} waits for it")
    for signal in found.get("signals", ()):
        seen.setdefault(signal["name"], "came before")
    yield from (Candidate(name, about) for name, about in seen.items())


def _filters(asked: Asked) -> Iterator[Candidate]:
    key, colon, value = asked.word.partition(":")
    if not colon:
        yield from (Candidate(word, f"such as {about}" if word == "status:" else about) for word, about in FILTERS.items())
    elif key == "status":
        done, comma, _ = value.rpartition(",")
        yield from (Candidate(f"status:{done}{comma}{status}") for status in STATUSES)
    elif key == "wf":
        yield from (Candidate(f"wf:{one.word}", one.about) for one in _workflows(asked))
    elif key == "id":
        runs = (one for one in _runs(asked._replace(word=value)) if not one.word.startswith("@"))
        yield from (Candidate(f"id:{one.word}", one.about) for one in runs)


def _apps(asked: Asked) -> Iterator[Candidate]:
    return (one for one in _files(asked) if one.word.endswith(("/", ".py")))


def _targets(asked: Asked) -> Iterator[Candidate]:
    """Yield workflows of a file, as they are written in it; or files."""
    app, colon, _ = asked.word.rpartition(":")
    if not colon:
        yield from (one if one.word.endswith("/") else Candidate(f"{one.word}:") for one in _apps(asked))
        return
    path = Path(app if app.endswith(".py") or "/" in app else app.replace(".", "/") + ".py")
    from wfkit.core.names import workflows_written_in

    yield from (Candidate(f"{app}:{name}") for name in workflows_written_in(path.read_text(encoding="utf-8", errors="replace")))


def _files(asked: Asked) -> Iterator[Candidate]:
    typed, slash, beginning = asked.word.rpartition("/")
    with os.scandir(os.path.expanduser(typed + slash) or ".") as entries:  # noqa: PTH111  # as the shell does it
        found = sorted((entry.name, entry.is_dir()) for entry in entries)
    for name, is_folder in found:
        if (not name.startswith(".") or beginning.startswith(".")) and name != "__pycache__":
            yield Candidate(f"{typed}{slash}{name}" + ("/" if is_folder else ""))


def _inputs(asked: Asked) -> Iterator[Candidate]:
    if asked.word.startswith("@"):
        yield from (Candidate(f"@{one.word}") for one in _files(asked._replace(word=asked.word[1:])))


def _codes(_: Asked) -> Iterator[Candidate]:
    from wfkit.errors import by_code

    yield from (Candidate(code, error.__name__) for code, error in sorted(by_code().items()))


_KINDS: dict[str, Callable[[Asked], Iterator[Candidate]]] = {
    "ID": _runs,
    "WORKFLOW": _workflows,
    "SIGNAL": _signals,
    "FILTER": _filters,
    "F": _filters,
    "APP": _apps,
    "APP:WORKFLOW": _targets,
    "PATH": _files,
    "FILE": _files,
    "INPUT": _inputs,
    "PAYLOAD": _inputs,
    "QUERY": _inputs,
    "CODE": _codes,
    "PROFILE": lambda _: map(Candidate, PROFILES),
}
"""By what help calls a value."""


def _ask(asked: Asked, path: str, **query: object) -> dict[str, Any]:
    """Return what the engine answers; nothing if none runs, or if it takes too long.

    This is not `control.client`, since loading the messages takes longer than the answer.
    """
    deadline = time.monotonic() + ENGINE_SECONDS
    try:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
            connection.settimeout(ENGINE_SECONDS)
            connection.connect(os.fspath(_socket(asked)))
            connection.sendall(f"GET /v1/{path}?{urlencode(query)} HTTP/1.0\r\n\r\n".encode())
            data = b""
            while chunk := connection.recv(1 << 16):
                data += chunk
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
        head, _, body = data.partition(b"\r\n\r\n")
        found: dict[str, Any] = json.loads(body) if head.split(b" ")[1:2] == [b"200"] else {}
    except (OSError, ValueError):
        return {}
    return found


def _socket(asked: Asked) -> Path:
    from wfkit.control.address import find_socket, named_socket

    engine = asked.options.get("--engine") or os.environ.get("WFKIT_ENGINE")
    return named_socket(Path(engine)) if engine else find_socket(_store(asked).parent)


def _store(asked: Asked) -> Path:
    from wfkit.control.address import journal_above

    named = asked.options.get("--store") or os.environ.get("WFKIT_STORE")
    if named:
        return Path(named)
    return _STORE if _STORE.exists() else journal_above() or _STORE
