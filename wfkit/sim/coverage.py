"""How much a campaign has looked at, in numbers and in words."""

from __future__ import annotations

from msgspec import Struct


class Struck(Struct, frozen=True):
    """How the schedules with one fault went, of one kind and at points with one label."""

    kind: str
    at: str
    """The label."""
    schedules: int = 0
    failed: int = 0
    """In so many of them something was found that is no mere info."""
    severity: str = "info"
    """The gravest of it."""


class Coverage(Struct, omit_defaults=True):
    """What was looked at. What nobody came to is None, and is not in the report's file."""

    not_run: list[str]
    """What was left out and why, in sentences."""
    interrupted: bool = False
    """Whether Ctrl-C has ended the search."""
    schedules: int | None = None
    """How many were executed."""
    seconds: float | None = None
    points: int | None = None
    """Of the schedule without faults; so are effects."""
    effects: int | None = None
    single_run: int | None = None
    single_total: int | None = None
    states: int | None = None
    """Durable states that crashes were followed from."""
    closed: bool | None = None
    """Whether these are all there are."""
    closure_runs: int | None = None
    upgrades: int | None = None
    pairs_run: int | None = None
    pairs_total: int | None = None
    pairs_skipped: dict[str, int] | None = None
    """How many by which rule; see `sim.passes.pairs`."""
    random_run: int | None = None
    random_seconds: float | None = None
    last_new_state: int | None = None
    """The random plan that came through a new durable state last; 0 if none did."""
    new_states: int | None = None
    lines_run: int | None = None
    lines_total: int | None = None
    lines_missing: list[str] | None = None
    sometimes_met: int | None = None
    sometimes_total: int | None = None
    hash_seeds: tuple[int, ...] | None = None
    drawn: list[str] | None = None
    """Steps whose values the simulation does not control, so that they are another in every execution."""
    struck: list[Struck] | None = None


def coverage_text(workflow: str, coverage: Coverage) -> str:
    """Return what was looked at, and of how much: what was skipped, not run or cut short is named."""
    left_out = [f"not run: {sentence}" for sentence in coverage.not_run]
    if coverage.points is None:
        return "\n".join([workflow, *left_out])
    points = f"{workflow}: {_count(coverage.points, 'point')}, {_count(coverage.effects or 0, 'effect')}"
    lines = [
        [points, _single(coverage), _crashes(coverage)],
        [_pairs(coverage), _random(coverage)],
        [_lines(coverage), _sometimes(coverage), _hash_seeds(coverage)],
        [f"not compared, since the simulation does not control what they draw: {', '.join(coverage.drawn or ())}"]
        if coverage.drawn
        else [],
    ]
    joined = [" | ".join(part for part in parts if part) for parts in lines]
    return "\n".join([line for line in joined if line] + left_out)


def _single(coverage: Coverage) -> str:
    run, total = coverage.single_run, coverage.single_total
    if run is None or total is None:
        return "1 fault: not run"
    return f"1 fault: {_of(run, total)}" + (f" ({100 * run // total} %)" if total else "")


def _crashes(coverage: Coverage) -> str:
    if coverage.states is None:
        return "crashes, any number: not run"
    end = "complete" if coverage.closed else "not complete"
    runs = f" in {_count(coverage.closure_runs, 'run')}" if coverage.closure_runs else ""
    return f"crashes, any number: {_count(coverage.states, 'state')}, {end}{runs}"


def _pairs(coverage: Coverage) -> str:
    run, total = coverage.pairs_run, coverage.pairs_total
    if run is None or total is None:
        return "2 faults: not run"
    skipped = sum((coverage.pairs_skipped or {}).values())
    duplicates = f", {skipped:,} skipped as duplicates" if skipped else ""
    return f"2 faults: {run:,} of {total:,} run{duplicates}, {total - run - skipped:,} not run"


def _random(coverage: Coverage) -> str:
    if not coverage.random_run:
        return "random: not run"
    last, new = coverage.last_new_state, coverage.new_states
    state = f", last new state at #{last:,}" + (f" ({new:,} in all)" if new else "") if last else ", no new state"
    return f"random: {coverage.random_run:,} in {coverage.random_seconds or 0:.3g} s{state}"


def _lines(coverage: Coverage) -> str:
    if not coverage.lines_total:
        return ""
    never = f" (never run: {'; '.join(coverage.lines_missing)})" if coverage.lines_missing else ""
    return f"your lines {_of(coverage.lines_run or 0, coverage.lines_total)}{never}"


def _sometimes(coverage: Coverage) -> str:
    total = coverage.sometimes_total
    return f"sometimes-checks {_of(coverage.sometimes_met or 0, total)}" if total else ""


def _hash_seeds(coverage: Coverage) -> str:
    return f"hash seeds {', '.join(map(str, coverage.hash_seeds))}" if coverage.hash_seeds else ""


def _of(run: int, total: int) -> str:
    return f"{run:,}/{total:,}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
