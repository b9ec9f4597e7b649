"""Replay is exact: the laws that hold for every workflow, over the corpus."""

from __future__ import annotations

import pytest

from tests.laws.corpus import SCENARIOS, SEEDS
from tests.laws.driver import Driver, Scenario, history_bytes
from wfkit.core.commands import Command
from wfkit.core.entries import Record
from wfkit.core.machine import Machine, activations
from wfkit.core.records import decode_record, encode_record
from wfkit.core.state import RunState, decode_state, encode_state

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
each_seed = pytest.mark.parametrize("seed", SEEDS)


def recorded(scenario: Scenario, seed: int) -> list[Record]:
    """Run a scenario, and read its history back from its bytes."""
    history = Driver(scenario, seed).run().history
    return [decode_record(encode_record(record)) for record in history]


def replayed(scenario: Scenario, history: list[Record]) -> list[Command]:
    """Return all commands of a fresh machine that is fed the entries of a history."""
    machine = Machine(scenario.workflow)
    commands = [command for seq, entry, _ in activations(history) for command in machine.feed(entry, seq)]
    machine.evict()
    return commands


@each_scenario
@each_seed
def test_a_record_comes_back_from_its_bytes(scenario: Scenario, seed: int) -> None:
    """Encoding and decoding a history is the identity."""
    history = Driver(scenario, seed).run().history
    assert [decode_record(encode_record(record)) for record in history] == history


@each_scenario
@each_seed
def test_every_prefix_of_a_history_replays_to_its_commands(scenario: Scenario, seed: int) -> None:
    """Whatever the length at which a process died, the next one asks for exactly what is recorded, and nothing more."""
    history = recorded(scenario, seed)
    for length in range(1, len(history) + 1):
        prefix = history[:length]
        expected = [command for record in prefix for command in record.commands or ()]
        assert replayed(scenario, prefix) == expected


@each_scenario
@each_seed
def test_replay_reports_no_difference(scenario: Scenario, seed: int) -> None:
    """`Machine.replay` compares as the law above does, and finds nothing."""
    history = recorded(scenario, seed)
    assert Machine(scenario.workflow).replay(activations(history), length=len(history)) == []


@each_scenario
@each_seed
def test_a_run_that_is_evicted_after_every_entry_takes_the_same_course(scenario: Scenario, seed: int) -> None:
    """A run that stays in memory and one that is rebuilt for each entry cannot be told apart."""
    driver = Driver(scenario, seed)
    driver.start()
    while not driver.machine.ended:
        history = [decode_record(encode_record(record)) for record in driver.history]
        driver.machine.evict()
        driver.machine = Machine(scenario.workflow)
        driver.machine.replay(activations(history), length=len(history))
        driver.go_on()
    assert history_bytes(driver.history) == history_bytes(Driver(scenario, seed).run().history)


@each_scenario
def test_a_longer_history_only_extends_the_commands(scenario: Scenario) -> None:
    """What comes later never changes what was asked for: two futures of one past share its commands."""
    history = recorded(scenario, 0)
    for length in range(1, len(history) + 1):
        shorter, longer = replayed(scenario, history[: length - 1]), replayed(scenario, history[:length])
        assert longer[: len(shorter)] == shorter


@each_scenario
@each_seed
def test_a_history_of_inbox_entries_replays_alike(scenario: Scenario, seed: int) -> None:
    """An entry may be durable before its activation: the commands stand in a later record, and mean the same."""
    history = Driver(scenario, seed, inbox=True).run().history
    assert Machine(scenario.workflow).replay(activations(history), length=len(history)) == []


@each_scenario
@each_seed
def test_a_projection_may_be_caught_up_from_any_point(scenario: Scenario, seed: int) -> None:
    """Folding a prefix, storing the state, reading it and folding the rest equals folding all."""
    history = recorded(scenario, seed)
    whole = RunState(1)
    for record in history:
        whole.apply(record)
    for length in range(len(history) + 1):
        state = RunState(1)
        for record in history[:length]:
            state.apply(record)
        state = decode_state(encode_state(state))
        for record in history[length:]:
            state.apply(record)
        assert state == whole
        assert encode_state(state) == encode_state(whole)


@each_scenario
@each_seed
def test_an_ended_run_waits_for_nothing(scenario: Scenario, seed: int) -> None:
    """The fold of a whole history is finished, with nothing open and nothing in the inbox."""
    driver = Driver(scenario, seed).run()
    assert driver.state.finished
    assert (driver.state.open, driver.state.inbox, driver.state.wake_at) == ({}, None, None)
