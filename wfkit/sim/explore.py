"""Searches the schedules of a workflow, in six passes from the certain to the random.

0. Without faults, twice: the same bytes, or the simulation does not control what the code does. Under other arrival
   orders and with other chance: what may differ.
1. Replay of every prefix of every history in another world, and under other hash seeds.
2. Every fault at every point where it fits, one at a time; also at points that only faults lead to. Where a workflow takes
   new turns, that history is replayed as those without faults are.
3. All crashes, in any number: a crash leaves only what is durable, so one run from each durable state covers them all.
4. Pairs of faults, the second in the trace of the first, but for those that a known state makes superfluous.
5. Random plans of two to six faults, for as long as there is time.
"""

from __future__ import annotations

import functools
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from wfkit.sim import ambient, lines, memory, real_io
from wfkit.sim.campaign import USUAL, Campaign, Enough, Found, Progress, Terms
from wfkit.sim.code import namespaces, registry_of
from wfkit.sim.coverage import Coverage, Struck
from wfkit.sim.invariants import asking_of
from wfkit.sim.oracles.user import never_held
from wfkit.sim.passes.beyond import beyond
from wfkit.sim.passes.closure import closure
from wfkit.sim.passes.fault_free import fault_free
from wfkit.sim.passes.pairs import pairs
from wfkit.sim.passes.replays import hash_seeds, replays
from wfkit.sim.passes.singles import singles
from wfkit.sim.passes.upgrades import upgrades
from wfkit.sim.recording import Recording
from wfkit.sim.reference import Reference
from wfkit.sim.replaying_process import refuse_campaigns
from wfkit.sim.subject import Subject


@dataclass
class Explored:
    """What a campaign has seen."""

    base: Recording[Any]
    reference: Reference
    found: list[Found]
    coverage: Coverage
    subject: Subject


def search(subject: Subject, terms: Terms = USUAL, *, progress: Callable[[Progress], None] | None = None) -> Explored:
    """Search. On Ctrl-C what was seen until then is returned, and `coverage.interrupted` is set.

    Args:
        subject: what is verified.
        terms: how far to go.
        progress: told now and then how far it is.

    Raises:
        HarnessLeak: the schedule without faults goes another way each time.
        UnsimulatedIO, SimulationBounds: the workflow cannot be simulated as it is.
        KeyboardInterrupt: before there was anything to tell.
    """
    refuse_campaigns()
    campaign = Campaign(subject, terms, progress=progress)
    subject, coverage = campaign.subject, campaign.coverage
    with under_way(campaign):
        try:
            campaign.hash_seeds.start(subject)
            campaign.begin("without faults")
            fault_free(campaign)
            _passes(campaign)
            if not (campaign.narrowed or campaign.errors or campaign.parted or campaign.out_of_time):
                campaign.note(never_held(campaign.reference, campaign.held), (), campaign.base)
        except KeyboardInterrupt:
            if not hasattr(campaign, "reference"):
                raise
            coverage.interrupted = True
        finally:
            campaign.end()
        coverage.lines_run, coverage.lines_total, coverage.lines_missing = campaign.lines.covered()
    coverage.sometimes_met = len(campaign.held)
    coverage.sometimes_total = sum(asking_of(check).when == "sometimes" for check in subject.invariants)
    coverage.struck = _struck(campaign)
    coverage.schedules = campaign.schedules
    coverage.seconds = time.perf_counter() - campaign.began
    return Explored(campaign.base, campaign.reference, [*campaign.found.values()], coverage, subject)


@contextmanager
def under_way(campaign: Campaign) -> Iterator[None]:
    """Make all ready for the schedules of a campaign: what each of them would put in place for itself is there at once."""
    registries = (registry_of(campaign.subject, None), registry_of(campaign.upgraded, campaign.upgraded.upgrade_from))
    for registry in registries:
        memory.look_at(registry)  # before the lines of the code are watched, which changes it
    with (
        _collected(),
        _interrupts() as campaign.interrupts,
        ambient.installed(namespaces(*registries)),
        real_io.unlogged(),
        lines.watched(campaign.subject) as campaign.lines,
    ):
        yield


def _struck(campaign: Campaign) -> list[Struck]:
    """Return how the schedules with one fault went, by what it struck, in the order of the schedule without faults."""
    order = {label: place for place, label in enumerate(dict.fromkeys(point.label for point in campaign.base.trace))}
    return sorted(campaign.struck.values(), key=lambda one: (order.get(one.at, len(order)), one.kind, one.at))


def _passes(campaign: Campaign) -> None:
    passes: list[tuple[str, Callable[[Campaign], None], bool]] = [
        ("replays", replays, True),
        ("single faults", singles, True),
        ("crashes in any number", closure, campaign.wants("crash")),
        ("upgrades", upgrades, campaign.upgraded.upgrade_from is not None and campaign.wants("upgrade")),
        ("hash seeds", hash_seeds, True),
        ("pairs", pairs, not campaign.narrowed),
        ("random plans", beyond, not campaign.wanted),
    ]
    late = []
    for stage, search, wanted in passes:
        if not wanted or ((campaign.errors or campaign.parted) and search is not hash_seeds):
            continue
        if campaign.out_of_time and search not in (replays, hash_seeds):
            late.append(stage)
            continue
        campaign.begin(stage)
        try:
            search(campaign)
        except Enough as enough:
            campaign.coverage.not_run.append(f"{stage}: stopped after {campaign.done:,}, {enough}")
    if late:
        campaign.coverage.not_run.append(f"{', '.join(late)}: out of time")


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Note each Ctrl-C, beside what it does anyway: what it raises may be swallowed by code that is being simulated."""
    seen: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield seen
        return

    @functools.wraps(before)
    def noting(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, noting)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _collected() -> Iterator[None]:
    """Keep the garbage collector out of schedules, and cheap between them: what is there already is not looked at."""
    was, freezes = gc.isenabled(), gc.get_freeze_count() == 0  # otherwise the program has done so, and it is to last
    if freezes:
        gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        if freezes:
            gc.unfreeze()
        if was:
            gc.enable()
