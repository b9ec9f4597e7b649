"""Exceptions as data, and back."""

from __future__ import annotations

import builtins
import dataclasses
import json
import sys
from decimal import Decimal
from typing import Any, Self

import pytest
from msgspec import Raw

from wfkit.api.definitions import NonRetryable
from wfkit.core.commands import Failure
from wfkit.core.entries import Record, StepFailed
from wfkit.core.failures import MESSAGE_CHARS_MAX, failure_of, rebuild, type_names
from wfkit.core.records import decode_record, encode_record
from wfkit.errors import StepCancelled, StepError, StepTimeout, WorkerDied


class Declined(Exception):
    pass


class CardDeclined(Declined):
    """One with an `__init__` of its own, and typed attributes."""

    code: int
    amount: Decimal

    def __init__(self, code: int, *, amount: Decimal) -> None:
        super().__init__(f"declined with code {code}")
        self.code = code
        self.amount = amount
        self.connection = object()
        self._secret = "hidden"


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    id: str
    count: int = 0


class Picky(Exception):
    """One that cannot be made without its argument, not even by `__new__`."""

    def __new__(cls, *, reason: str) -> Self:
        return super().__new__(cls, reason)

    def __init__(self, *, reason: str) -> None:
        self.reason = reason


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class DiskError(OSError):
    pass


class Derived(Exception):
    def __init__(self, first: str) -> None:
        super().__init__(first)
        self.first = first

    @property
    def message(self) -> str:
        return self.first.upper()


def travelled(exc: BaseException, *declared: type[BaseException]) -> Any:
    """Return an exception after its journey: as data, as bytes of a journal, as data, as an exception."""
    record = Record(StepFailed(t=0, n=1, error=failure_of(exc)))
    entry = decode_record(encode_record(record)).entry
    assert isinstance(entry, StepFailed)
    return rebuild(entry.error, declared)


BUILTIN: list[BaseException] = [
    ValueError("bad"),
    ValueError(),
    KeyError("missing"),
    KeyError(("a", 1)),
    IndexError("out"),
    ZeroDivisionError("division by zero"),
    ConnectionRefusedError(111, "Connection refused"),
    OSError("only text"),
    OSError(28, "No space left on device"),
    FileNotFoundError(2, "No such file or directory", "a.txt"),
    FileExistsError(17, "File exists", "a", None, "b"),
    TimeoutError("late"),
    UnicodeDecodeError("utf-8", b"\xff\xfe", 0, 1, "invalid start byte"),
    UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range(128)"),
    StopAsyncIteration("x"),
    ImportError("no module"),
    SyntaxError("bad", ("f.py", 1, 2, "x =", 1, 3)),
    RecursionError("deep"),
    AssertionError(),
    NotImplementedError("later"),
    UserWarning("careful"),
]


@pytest.mark.parametrize("exc", [exc for exc in BUILTIN if not isinstance(exc, StopAsyncIteration)], ids=repr)
def test_a_builtin_exception_comes_back_whole(exc: BaseException) -> None:
    """Its class, its text, and the fields that `except` blocks look at."""
    back = travelled(exc)
    assert type(back) is type(exc)
    expected = str(exc) if exc.args != (("a", 1),) else "['a', 1]"
    assert str(back) == expected
    fields = ("errno", "strerror", "filename", "filename2", "encoding", "object", "start", "end", "reason", "msg", "lineno")
    assert {name: getattr(back, name, None) for name in fields} == {name: getattr(exc, name, None) for name in fields}


@pytest.mark.parametrize("exc", [StopIteration(1), StopAsyncIteration(), ExceptionGroup("two", [ValueError(1)])], ids=repr)
def test_what_means_something_to_the_interpreter_is_not_rebuilt(exc: BaseException) -> None:
    """A StopIteration in a coroutine ends something else; a group without its members is none."""
    back = travelled(exc)
    assert type(back) is StepError
    assert back.type == type(exc).__name__


def test_a_declared_exception_comes_back_as_itself() -> None:
    """Its `__init__` is not called; attributes have the types that the class promises, and what has no JSON form is gone."""
    back = travelled(CardDeclined(51, amount=Decimal("9.90")), CardDeclined)
    assert type(back) is CardDeclined
    assert (str(back), back.code, back.amount) == ("declined with code 51", 51, Decimal("9.90"))
    assert not hasattr(back, "connection")
    assert not hasattr(back, "_secret")


def test_an_attribute_of_another_type_than_promised_comes_as_plain_data() -> None:
    """The class changed since: better a number as text than no error."""
    failure = Failure("CardDeclined", "no", data=failure_of(_with(code="51")).data)
    assert rebuild(failure, (CardDeclined,)).code == "51"  # type: ignore[attr-defined]  # set from data


def _with(**attributes: object) -> Exception:
    exc = Exception()
    exc.__dict__.update(attributes)
    return exc


@pytest.mark.parametrize(
    "exc", [Frozen("a", 3), Picky(reason="so"), Derived("text"), DiskError(28, "No space", "disk")], ids=repr
)
def test_an_odd_class_comes_back_too(exc: Exception) -> None:
    """Frozen, with a `__new__` of its own, with properties, derived from one with fields in C."""
    back = travelled(exc, type(exc))
    assert type(back) is type(exc)
    assert str(back) == str(exc)
    assert vars(back) == vars(exc)
    assert getattr(back, "errno", None) == getattr(exc, "errno", None)


class Lost(CardDeclined, ConnectionError):
    """A subclass of what steps declare."""


@pytest.mark.parametrize(
    ("declared", "cls"),
    [
        ((Declined, CardDeclined), CardDeclined),
        ((Declined,), Declined),
        ((OSError, Picky), OSError),
        ((Lost, Declined), Lost),
        ((Picky,), StepError),
        ((Exception,), StepError),
    ],
)
def test_a_subclass_comes_back_as_its_nearest_declared_base(
    declared: tuple[type[Exception], ...], cls: type[Exception]
) -> None:
    """An `except` block that names a class gets its subclasses too, as anywhere; every error is an Exception anyway."""
    back = travelled(Lost(51, amount=Decimal("9.90")), *declared)
    assert type(back) is cls
    assert "declined with code 51" in str(back)


def test_only_a_class_of_the_users_travels_with_its_bases() -> None:
    """A builtin one is looked up by its own name."""
    assert failure_of(Lost(51, amount=Decimal(1))).bases == ("CardDeclined", "Declined", "ConnectionError", "OSError")
    assert failure_of(ConnectionResetError()).bases == ()
    assert failure_of(Declined()).bases == ()


def test_an_undeclared_exception_is_a_step_error() -> None:
    """With its class's name, its text and its data; nothing is ever imported by name."""
    back = travelled(CardDeclined(51, amount=Decimal(1)))
    assert type(back) is StepError
    assert (back.type, back.message) == ("CardDeclined", "declined with code 51")
    assert back.data == {"code": 51, "amount": "1"}
    assert str(back) == "CardDeclined: declined with code 51"


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "JSONDecodeError",
        "json.JSONDecodeError",
        "Declined",
        "Path",
        "print",
        "type",
        "object",
        "__import__",
        "BaseException",
        "SystemExit",
        "int",
        "",
    ],
)
def test_a_name_that_is_no_builtin_exception_makes_nothing(name: str) -> None:
    """Whatever a history from a stranger says, only builtin exceptions and declared ones are looked up."""
    modules = set(sys.modules)
    back = rebuild(Failure(name, "message"))
    assert type(back) is StepError
    assert set(sys.modules) == modules


def test_arguments_that_a_class_no_longer_takes_come_all_the_same() -> None:
    """A failure without its arguments still shows its message, whatever the class wants."""
    for cls in (UnicodeDecodeError, CardDeclined, Picky, DiskError):
        back = rebuild(Failure(cls.__name__, "the message"), (cls,))
        assert (type(back), back.args) == (cls, ("the message",))


def test_a_declared_class_goes_before_a_builtin_one() -> None:
    """A user's own ConnectionError is not the builtin one."""
    own = type("ConnectionError", (Exception,), {})
    assert type(rebuild(Failure("ConnectionError", "x"), (own,))) is own
    assert type(rebuild(Failure("ConnectionError", "x"))) is builtins.ConnectionError


@pytest.mark.parametrize("cls", [StepTimeout, StepCancelled, WorkerDied])
def test_how_wfkit_itself_ends_a_step_comes_back(cls: type[StepError]) -> None:
    """As its own class, which is a StepError."""
    back = rebuild(Failure(cls.__name__, "after 30s"))
    assert type(back) is cls
    assert isinstance(back, StepError)
    assert back.message == "after 30s"
    assert failure_of(back) == Failure(cls.__name__, "after 30s", data=Raw(b"null"))


def test_a_step_error_passes_a_second_workflow_unchanged() -> None:
    """A child's error is its parent's with the same name."""
    first = travelled(CardDeclined(51, amount=Decimal(1)))
    second = travelled(first)
    assert (second.type, second.message, second.data) == (first.type, first.message, first.data)


def test_a_huge_message_is_cut() -> None:
    """Some libraries put a whole response body into it."""
    failure = failure_of(Exception("x" * 1_000_000))
    assert failure.message == "x" * MESSAGE_CHARS_MAX + "..."
    assert len(encode_record(Record(StepFailed(t=0, n=1, error=failure)))) < 3 * MESSAGE_CHARS_MAX


@pytest.mark.parametrize(
    "exc",
    [
        Mute("x"),
        Exception("\udc80 half a pair"),
        Exception(object()),
        Exception(float("nan")),
        Exception(b"\xff"),
        Exception({1, 2}),
    ],
    ids=["mute", "surrogate", "object", "nan", "bytes", "set"],
)
def test_every_exception_has_a_form_that_a_journal_takes(exc: Exception) -> None:
    """One without text, with half a character, with an argument that is no JSON."""
    back = travelled(exc)
    assert isinstance(back, Exception)
    json.dumps(str(back))


def test_the_line_is_the_innermost_of_the_users() -> None:
    """Not one of wfkit or asyncio below it."""

    def fails() -> None:
        raise ValueError("here")

    with pytest.raises(ValueError, match="here") as caught:
        fails()
    line = failure_of(caught.value).line
    assert line is not None
    assert line.startswith(f"{__file__}:")
    assert line.endswith(" in fails")


def test_type_names_are_those_of_the_class_and_its_bases() -> None:
    """So that a policy may name a base."""
    assert type_names(CardDeclined(1, amount=Decimal(1))) == ("CardDeclined", "Declined", "Exception", "BaseException")
    assert "NonRetryable" in type_names(NonRetryable("x"))
