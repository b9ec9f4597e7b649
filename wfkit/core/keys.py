"""Ids of runs, and names that are derived: the same on every attempt, after every crash, on every engine."""

from __future__ import annotations

import re
from hashlib import blake2b

from wfkit.errors import DefinitionError

RUN_ID_CHARS_MAX = 128
_RUN_ID = re.compile(rf"[A-Za-z0-9._:/-]{{1,{RUN_ID_CHARS_MAX}}}")
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._:/-]")


def check_run_id(id: str) -> None:
    """Refuse what cannot be the id of a run.

    Raises:
        DefinitionError: it is empty or too long, or has a character that ids do not have.
    """
    if not _RUN_ID.fullmatch(id):
        raise DefinitionError(
            f"{id!r} is no run id", help=f"use 1 to {RUN_ID_CHARS_MAX} of the characters A-Z a-z 0-9 . _ : / -"
        )


def idempotency_key(run_id: str, generation: int, step: str, nth: int) -> str:
    """Return the idempotency key of the nth call (from 1) of a step in a generation of a run: 32 hexadecimal digits."""
    return blake2b(f"{run_id}\0{generation}\0{step}\0{nth}".encode(), digest_size=16).hexdigest()


def child_id(run_id: str, generation: int, workflow: str, n: int) -> str:
    """Return the id of a child run that was started without one: readable where it fits, and unique in any case."""
    workflow = _plain(workflow)
    name = f"{run_id}/{workflow}-{n}"
    if generation > 1:
        # Behind a slash, where no other derived id has a name without a number: `a.2` may be a run of its own.
        name += f"/g{generation}"
    if len(name) <= RUN_ID_CHARS_MAX:
        return name
    return f"{run_id[:60]}/{workflow[:30]}-{blake2b(name.encode(), digest_size=12).hexdigest()}"


def triggered_id(workflow: str, bus_seq: int) -> str:
    """Return the id of the run of a workflow with `on=` that a published signal starts."""
    return f"{_plain(workflow)[:100]}/on-{bus_seq}"


def _plain(workflow: str) -> str:
    """Return a workflow's name in the characters of run ids: a name may be any text."""
    return _NOT_IN_IDS.sub("_", workflow)
