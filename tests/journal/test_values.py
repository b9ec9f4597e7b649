"""Large values are stored once per run and come back as they were."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from wfkit.core.commands import CompleteRun, FailRun, Failure, RunStep, SetState, Undoes
from wfkit.core.entries import Record, RunStarted, SignalReceived, StepCompleted, StepFailed, TimerFired
from wfkit.core.records import encode_record
from wfkit.journal.values import LARGE_BYTES, RunValues, is_large

_texts = st.builds(lambda part, times: part * times, st.text(min_size=1, max_size=5), st.sampled_from([1, 500, 1400, 5000]))
_payloads = st.one_of(
    st.integers(),
    _texts,
    st.lists(_texts, max_size=3),
    st.dictionaries(st.sampled_from(["blocks", "payloads", "record", "a"]), _texts),
).map(lambda value: Raw(json.dumps(value, ensure_ascii=False).encode(errors="replace")))
_optional = st.just(UNSET) | st.just(Raw(b"null")) | _payloads
_failures = st.builds(Failure, type=st.just("E"), message=_texts, args=_optional, data=_optional)
_commands = st.one_of(
    st.builds(
        RunStep,
        n=st.just(1),
        name=st.just("s"),
        args=_payloads,
        key=st.just("k"),
        undoes=st.none() | st.builds(Undoes, st.just("s"), st.just("k"), st.just("completed"), _optional),
    ),
    st.builds(SetState, name=st.just("x"), value=_payloads),
    st.builds(CompleteRun, value=_payloads),
    st.builds(FailRun, error=_failures),
)
_entries = st.one_of(
    st.builds(RunStarted, t=st.just(1), id=st.just("a"), workflow=st.just("w"), args=_payloads, seed=st.just("0")),
    st.builds(StepCompleted, t=st.just(1), n=st.just(1), value=_payloads),
    st.builds(StepFailed, t=st.just(1), n=st.just(1), error=_failures),
    st.builds(SignalReceived, t=st.just(1), name=st.just("s"), payload=_payloads, arrived=st.just(1)),
    st.builds(TimerFired, t=st.just(1), n=st.just(2)),
)
_records = st.builds(Record, entry=_entries, commands=st.none() | st.lists(_commands, max_size=3).map(tuple))


@given(st.lists(_records, max_size=6))
def test_records_come_back_byte_for_byte(records: list[Record]) -> None:
    """Whatever users store, also where it looks like a reference, in every field that holds a payload."""
    writing, reading = RunValues(), RunValues()
    bodies = [writing.encode(record) for record in records]
    assert [encode_record(reading.decode(body)) for body in bodies] == [encode_record(record) for record in records]


@given(st.lists(_records, max_size=6), st.integers(0, 6))
def test_a_reader_may_go_on_writing(records: list[Record], turn: int) -> None:
    """One that decoded the first records encodes the next ones against them."""
    first, second, last = RunValues(), RunValues(), RunValues()
    bodies = [first.encode(record) for record in records[:turn]]
    for body in bodies:
        second.decode(body)
    second.end_reading()
    bodies += [second.encode(record) for record in records[turn:]]
    assert [encode_record(last.decode(body)) for body in bodies] == [encode_record(record) for record in records]


def test_a_growing_list_is_stored_in_linear_space() -> None:
    """The conversation of an agent: each turn passes all messages so far."""
    values, messages, stored = RunValues(), [], 0
    for turn in range(100):
        messages.append({"role": "user", "content": f"message {turn} " + "words " * 200})
        stored += len(values.encode(_completed(json.dumps(messages).encode())))
    size = len(json.dumps(messages))
    assert size * 50 < sum(len(json.dumps(messages[:turn])) for turn in range(101))
    assert stored < 6 * size


def test_the_usual_record_is_stored_as_it_is() -> None:
    """Without a large payload a body is the plain record, even if many small ones make it long."""
    small = Record(TimerFired(t=1, n=1))
    many = Record(TimerFired(t=1, n=1), tuple(SetState(f"x{n}", Raw(b'"' + b"y" * 1000 + b'"')) for n in range(20)))
    for record in (small, many):
        body = RunValues().encode(record)
        assert body == encode_record(record)
        assert not is_large(body)


@pytest.mark.parametrize("offset", range(4))
def test_blocks_end_between_characters(offset: int) -> None:
    """A character of four bytes that lies across a block's end stays whole."""
    payload = json.dumps("x" * offset + "🦆" * 3000, ensure_ascii=False).encode()
    body = RunValues().encode(_completed(payload))
    blocks = json.loads(body)["blocks"].values()
    assert max(len(block.encode()) for block in blocks) <= LARGE_BYTES
    assert encode_record(RunValues().decode(body)) == encode_record(_completed(payload))


def test_a_writer_that_has_not_seen_the_run_stores_blocks_again() -> None:
    """Its bodies never refer to blocks that only earlier records hold."""
    payload = json.dumps("word " * 2000).encode()
    RunValues().encode(_completed(payload))
    body = RunValues().encode(_completed(payload))
    assert encode_record(RunValues().decode(body)) == encode_record(_completed(payload))


def test_a_missing_block_is_an_error() -> None:
    """A later record alone cannot be decoded."""
    writing = RunValues()
    payload = json.dumps("word " * 2000).encode()
    writing.encode(_completed(payload))
    with pytest.raises(KeyError):
        RunValues().decode(writing.encode(_completed(payload)))


def test_a_run_that_is_not_read_holds_none_of_its_values() -> None:
    """Neither what it has written nor what was read before: only what tells that a block is stored."""
    payload = json.dumps([f"word {number}" for number in range(20_000)]).encode()
    written, read = RunValues(), RunValues()
    read.decode(written.encode(_completed(payload)))
    read.end_reading()
    assert len(payload) > 200_000
    for values in (written, read):
        assert len(pickle.dumps(values)) < len(payload) / 50
        assert len(values.encode(_completed(payload))) < len(payload) / 50


def _completed(payload: bytes) -> Record:
    return Record(StepCompleted(t=1, n=1, value=Raw(payload)))
