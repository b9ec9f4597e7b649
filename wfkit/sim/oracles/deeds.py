"""What steps do outside must not depend on their process: a key that only one process makes is another one after a crash.

Other processes execute the schedule without faults. What each has of its own are the order of its sets, `hash` of text, its
number, the addresses of its objects, and whatever its modules drew or looked up when they were loaded. What this process has
of its own may be a test's doing, such as a patched module, and is no evidence; but for an order, which nobody patches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, combinations
from typing import NamedTuple, TypeAlias

import msgspec

from wfkit.sim.deeds import Deed, deeds
from wfkit.sim.findings import Severity, Violation
from wfkit.sim.oracles.words import short
from wfkit.sim.reference import Reference
from wfkit.sim.services import Effect
from wfkit.sim.suspects import Suspect, is_reordered, suspect

_BY_KEY = "pass idempotency_key=step_info().idempotency_key, which is the same in every process"
_UNKNOWN = Suspect("it is made of something that other processes do not have", "make it of the step's arguments alone")
_Call: TypeAlias = tuple[str, int, str, bytes, str, str]


class _Process(NamedTuple):
    """What was done by each step call in one process."""

    name: str
    done: Mapping[_Call, list[Deed]]


def differing(reference: Reference, executed: Mapping[int, Iterable[Deed]]) -> Iterator[Violation]:
    """Yield what equal calls of a step do otherwise in one process than in another: another key, or another payload.

    Args:
        reference: the schedule without faults, as this process executed it.
        executed: what other processes did in it, by their hash seeds.
    """
    here = _Process("here", _by_call(deeds(reference.base)))
    others = [_Process(f"with PYTHONHASHSEED={seed}", _by_call(there)) for seed, there in executed.items()]
    told: set[str] = set()
    for one, other in chain(combinations(others, 2), ((here, each) for each in others)):
        for call, ours in one.done.items():
            theirs = other.done.get(call, [])
            if len(ours) != len(theirs) or ours[0].name in told:
                continue  # where it took another way, replays tell of that
            pairs = zip(ours, theirs, strict=True)
            apart = next((pair for pair in pairs if _told(reference, pair[0]) != _told(reference, pair[1])), None)
            if apart is not None and (one is not here or is_reordered(*map(_text, apart))):
                told.add(ours[0].name)
                yield _violation(reference, *apart, (one.name, other.name), here.done.get(call, ours))


def _by_call(done: Iterable[Deed]) -> dict[_Call, list[Deed]]:
    found: dict[_Call, list[Deed]] = defaultdict(list)
    for each in done:
        found[each.run, each.n, each.step, bytes(each.args), each.service, each.name].append(each)
    return {call: sorted(each, key=lambda deed: deed.key) for call, each in found.items()}


def _told(reference: Reference, deed: Deed) -> tuple[str, str]:
    """Return the key and the payload, without what is drawn anew."""
    effect = Effect(reference.base.started, deed.service, deed.name, deed.key, msgspec.json.decode(deed.payload))
    return deed.key, reference.told(effect)[2]


def _text(deed: Deed) -> str:
    return f"{deed.key} {bytes(deed.payload).decode()}"


def _violation(reference: Reference, one: Deed, other: Deed, processes: tuple[str, str], here: list[Deed]) -> Violation:
    is_key = one.key != other.key
    told = [(deed.key if is_key else bytes(deed.payload).decode()) for deed in (one, other)]
    step = reference.step(one.step)
    texts = " ".join(map(_text, here))  # the globals of this process are in what it did itself
    found = (suspect(step.fn, texts, _text(one), _text(other)) if step is not None else None) or _UNKNOWN
    severity: Severity = "error"
    title = f"{one.name} has another idempotency key in every process, so after a crash it happens again"
    why, fix = found.why, _BY_KEY
    if not is_key:
        severity = "warning"
        title = f"{one.name} carries another payload in every process, under the same idempotency key"
        why, fix = f"{found.why}; after a crash one key stands for two things", found.fix
    trail = reference.trails.newest(one.run)
    return Violation(
        "ledger",
        severity,
        one.name,
        title,
        trail.workflow if trail is not None else "",
        one.run,
        one.n,
        reference.line_of(one.step),
        tuple(f"{process}: {one.name} {short(text)}" for process, text in zip(processes, told, strict=True)),
        why,
        fix,
    )
