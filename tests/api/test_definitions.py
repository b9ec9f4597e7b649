"""Workflows and steps as users define them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from tests.laws.driver import Puppet, drive
from wfkit.api.definitions import AsyncStep, NonRetryable, Retry, RetryAfter, SyncStep, run_error, run_step, step, workflow
from wfkit.api.signals import Signal
from wfkit.core.commands import DEFAULT_RETRY, DEFAULT_TIMEOUT, Failure, RetryPolicy, RunStep
from wfkit.core.keys import idempotency_key
from wfkit.errors import (
    CodecError,
    DefinitionError,
    RunCancelled,
    RunFailed,
    RunTerminated,
    RunTimedOut,
    StepError,
    WorkflowLoopError,
)


class Declined(Exception):
    pass


class CardDeclined(Declined):
    pass


@step
async def double(x: int) -> int:
    """Double a number."""
    return 2 * x


@step
def triple(x: int, *, plus: int = 0) -> int:
    return 3 * x + plus


@step(
    name="pay",
    retry=Retry(max_attempts=2, non_retryable=(CardDeclined,)),
    timeout="30s",
    total_timeout="5m",
    raises=(Declined,),
)
async def charge(amount: int) -> str:
    return str(amount)


def asked(of: Any) -> RunStep:
    """Return the only command of a workflow that asks for one step."""
    run = Puppet(of)
    run.machine.evict()
    (command,) = run.commands
    assert isinstance(command, RunStep)
    return command


# -- what is a definition -------------------------------------------------------------------------------------------------


def test_python_names_the_step_that_nobody_awaited() -> None:
    """Its own warning has nothing but the name of the coroutine to go by."""
    with pytest.warns(RuntimeWarning, match="'pay' was never awaited"):
        charge(1)  # type: ignore[unused-coroutine]  # the mistake


def test_a_step_keeps_its_function_and_takes_its_name() -> None:
    """Async or not decides where it runs."""
    assert isinstance(double, AsyncStep)
    assert isinstance(triple, SyncStep)
    assert (double.name, triple.name, charge.name) == ("double", "triple", "pay")
    assert triple.fn(2, plus=1) == 7
    assert (double.is_async, triple.is_async) == (True, False)


def test_outside_of_a_workflow_a_step_is_its_function() -> None:
    """In a unit test, or in another step: no engine is needed, and the answer is awaited in any case."""
    assert asyncio.run(double(2)) == 4
    assert asyncio.run(triple(2, plus=1)) == 7


def test_a_workflow_is_not_called_outside_of_one() -> None:
    """The error says how to start it."""

    @workflow
    async def w() -> None: ...

    with pytest.raises(WorkflowLoopError, match="called outside of a workflow") as caught:
        w().send(None)
    assert "wfkit.run(w, ...)" in caught.value.help


@pytest.mark.parametrize(
    "decorate", [step, workflow, step(name="x"), workflow(name="x")], ids=["step", "workflow", "step()", "workflow()"]
)
@pytest.mark.parametrize("kind", ["method", "class method", "nested"])
def test_methods_are_refused(decorate: Callable[..., Any], kind: str) -> None:
    """Their object would not survive a crash: a resource is what they want."""

    class Bank:
        async def charge(self, amount: int) -> None: ...
        async def open(cls, amount: int) -> None: ...  # noqa: N805  # one before @classmethod is applied

        class Account:
            async def close(self) -> None: ...

    method = {"method": Bank.charge, "class method": Bank.open, "nested": Bank.Account.close}[kind]
    with pytest.raises(DefinitionError, match="is a method; its object would not survive a crash"):
        decorate(method)


def test_a_function_within_a_method_is_a_function() -> None:
    """Only its own first parameter counts."""

    class Tests:
        def test(self) -> Any:
            @step
            async def inner(x: int) -> int:
                return x

            return inner

    assert Tests().test().name == "inner"


@pytest.mark.parametrize("thing", [1, "text", functools.partial(print), print])
def test_a_workflow_is_an_async_def(thing: Any) -> None:
    """A plain function, or none at all, is refused by name."""
    with pytest.raises(DefinitionError, match=r"`async def`|takes a function"):
        workflow(thing)


def test_a_step_is_a_function() -> None:
    """A number is none."""
    with pytest.raises(DefinitionError, match="takes a function"):
        step(1)  # type: ignore[call-overload]  # this is the point


def test_nothing_is_compiled_at_decoration() -> None:
    """A type that cannot travel fails when the app's definitions are collected, with the parameter's name."""

    @step
    async def odd(client: RuntimeError) -> None: ...

    with pytest.raises(CodecError, match="'client'"):
        _ = odd.signature


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"backoff": 0.5},
        {"backoff": float("nan")},
        {"backoff": float("inf")},
        {"jitter": 1.5},
        {"jitter": float("nan")},
        {"initial": "soon"},
        {"max_interval": -1},
    ],
    ids=str,
)
def test_a_policy_out_of_range_fails_at_its_definition(options: dict[str, Any]) -> None:
    """With a ValueError that shows the value."""
    with pytest.raises(ValueError, match=r"max_attempts|backoff|jitter|duration"):
        Retry(**options)


def test_a_timeout_that_is_no_duration_fails_at_definition() -> None:
    """Not in the middle of a run."""
    with pytest.raises(ValueError, match="'soon' is not a duration"):
        step(timeout="soon")(double.fn)
    with pytest.raises(ValueError, match="'soon' is not a duration"):
        workflow(timeout="soon")(double.fn)


def test_a_workflow_says_what_it_takes() -> None:
    """Name, patches, trigger and timeout stand in its definition."""
    paid = Signal("paid", int)

    @workflow(name="audit", on=paid, patches=("a",), timeout="1 day")
    async def audits(amount: int) -> None: ...

    # The decorator for `on=` promises one parameter of the signal's type; the definition behind it is the same.
    assert (audits.name, audits.on, audits.patches, audits.timeout) == ("audit", paid, ("a",), 86_400_000_000)


# -- a call ---------------------------------------------------------------------------------------------------------------


def test_a_call_is_recorded_with_all_that_its_execution_needs() -> None:
    """Policy, timeouts and key are never computed again."""

    @workflow
    async def pays() -> None:
        await charge(5)

    policy = RetryPolicy(2, 1_000_000, 2.0, 60_000_000, 0.0, ("NonRetryable", "CardDeclined"))
    key = idempotency_key("run-1", 1, "pay", 1)
    assert asked(pays) == RunStep(1, "pay", Raw(b"[5]"), key, policy, 30_000_000, 300_000_000)


def test_defaults_take_no_room_in_the_journal() -> None:
    """A step without options is its name, arguments and key."""

    @workflow
    async def doubles() -> None:
        await double(5)

    command = asked(doubles)
    assert (command.retry, command.timeout) == (DEFAULT_RETRY, DEFAULT_TIMEOUT)
    assert set(msgspec.json.decode(msgspec.json.encode(command))) == {"do", "n", "name", "args", "key"}


def test_arguments_are_recorded_in_order_with_their_defaults() -> None:
    """Whatever the call looks like."""

    @workflow
    async def triples() -> None:
        await triple(plus=1, x=2)

    assert asked(triples).args == Raw(b"[2,1]")


def test_options_hold_for_one_call() -> None:
    """The step itself is as it was."""

    @workflow
    async def hurries() -> None:
        await charge.with_options(timeout="1s", total_timeout="2s", retry=Retry(max_attempts=1), key="invoice/7")(5)

    @workflow
    async def does_not() -> None:
        await charge(5)

    command = asked(hurries)
    assert (command.name, command.key, command.timeout, command.total_timeout) == ("pay", "invoice/7", 1_000_000, 2_000_000)
    assert command.retry.max_attempts == 1
    assert asked(does_not).timeout == 30_000_000


def test_options_add_to_what_may_be_caught() -> None:
    """An exception named in the policy of a call comes as itself, like those of the definition."""

    @workflow
    async def catches() -> list[str]:
        out = []
        careful = double.with_options(retry=Retry(non_retryable=(CardDeclined,)))
        for call in (careful, double):
            try:
                await call(1)
            except CardDeclined:
                out.append("declined")
            except StepError as exc:
                out.append(exc.type)
        return out

    run = Puppet(catches)
    for _ in range(2):
        run.fail(double, error=CardDeclined("no"))
    assert run.result == ["declined", "CardDeclined"]


@pytest.mark.parametrize(
    ("error", "caught"), [(Declined("a"), "Declined"), (CardDeclined("b"), "CardDeclined"), (ConnectionError("c"), "OSError")]
)
def test_declared_and_builtin_exceptions_are_caught_as_themselves(error: Exception, caught: str) -> None:
    """Those of `raises=` and of `non_retryable=`; a builtin one also by its base."""

    @workflow
    async def catches() -> str:
        try:
            await charge(1)
        except CardDeclined:
            return "CardDeclined"
        except Declined:
            return "Declined"
        except OSError:
            return "OSError"
        return "none"

    run = Puppet(catches)
    run.fail(charge, error=error)
    assert run.result == caught


def test_the_key_counts_the_calls_of_a_step() -> None:
    """In the order of the commands, each name for itself; a timer in between counts nothing."""

    @workflow
    async def several() -> None:
        await double(1)
        await triple(1)
        await double(1)

    keys = [command.key for command in drive(several).commands if isinstance(command, RunStep)]
    assert keys == [idempotency_key("run-1", 1, name, nth) for name, nth in (("double", 1), ("triple", 1), ("double", 2))]


def test_a_call_that_does_not_fit_blocks_at_the_line() -> None:
    """As if the function itself had been called wrongly."""

    @workflow
    async def wrong() -> None:
        await double()  # type: ignore[call-arg]  # this is the point

    with pytest.raises(Exception, match=r"TypeError: missing a required argument: 'x'.* in wrong"):
        Puppet(wrong)


def test_the_workflow_sees_the_decoded_result() -> None:
    """The same object that a replay would make."""

    @step
    async def pair() -> tuple[int, set[str]]:
        return 1, {"a"}

    @step
    async def untyped():  # type: ignore[no-untyped-def]  # noqa: ANN202  # this is the point
        return (1, {"b", "a"})

    @workflow
    async def looks() -> list[Any]:
        typed: Any = await pair()
        return [type(typed).__name__, type(typed[1]).__name__, await untyped()]

    assert drive(looks).result == ["tuple", "set", [1, ["a", "b"]]]


# -- steps of undecorated functions ---------------------------------------------------------------------------------------


def shout(text: str, times: int = 2) -> str:
    return text.upper() * times


async def whisper(text: str) -> str:
    return text.lower()


class Bank:
    def __init__(self) -> None:
        self.calls: list[int] = []

    def charge(self, amount: int) -> int:
        self.calls.append(amount)
        return amount

    async def refund(self, amount: int) -> int:
        return -amount

    async def __call__(self, amount: int) -> int:
        return amount + 1


bank = Bank()

UNDECORATED: list[tuple[Callable[..., Any], tuple[Any, ...], object]] = [
    (shout, ("a",), "AA"),
    (shout, ("a", 3), "AAA"),
    (whisper, ("A",), "a"),
    (lambda x: x + 1, (1,), 2),
    (bank.charge, (5,), 5),
    (bank.refund, (5,), -5),
    (bank, (5,), 6),
    (functools.partial(shout, times=1), ("a",), "A"),
    (functools.partial(whisper), ("A",), "a"),
    (str.upper, ("a",), "A"),
    (abs, (-1,), 1),
]


@pytest.mark.parametrize(("fn", "args", "result"), UNDECORATED, ids=[str(place) for place in range(len(UNDECORATED))])
def test_any_function_may_be_run_as_a_step(fn: Callable[..., Any], args: tuple[Any, ...], result: object) -> None:
    """A lambda, a bound method, an object that is called, a partial, a builtin: the five-minute path for existing code."""

    @workflow
    async def runs() -> Any:
        return await run_step("named", fn, *args)

    run = drive(runs)
    assert run.result == result
    assert run.steps == ["named"]


def test_a_method_runs_on_its_own_object() -> None:
    """The function that is run is the one that was given."""

    @workflow
    async def charges() -> int:
        return await run_step("charge", other.charge, 7)

    other = Bank()
    drive(charges)
    assert other.calls == [7]


def test_a_function_that_takes_anything_cannot_be_a_step() -> None:
    """Each argument needs a name."""

    @workflow
    async def prints() -> None:
        await run_step("print", print, "x")

    with pytest.raises(CodecError, match=r"\*args"):
        Puppet(prints)


def test_outside_of_a_workflow_run_step_calls_the_function() -> None:
    """Like every step."""
    assert asyncio.run(run_step("shout", shout, "a", 1)) == "A"


# -- how runs end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "cls", "text"),
    [
        ("failed", Failure("ValueError", "bad", Raw(b'["bad"]')), RunFailed, "order-77 failed with ValueError: bad"),
        ("failed", Failure("Odd", "bad"), RunFailed, "order-77 failed with Odd: bad"),
        ("cancelled", Failure("Cancelled", "by hand"), RunCancelled, "order-77 was cancelled: by hand"),
        ("cancelled", None, RunCancelled, "order-77 was cancelled"),
        ("terminated", Failure("Terminated", "enough"), RunTerminated, "order-77 was terminated: enough"),
        ("timed_out", None, RunTimedOut, "order-77 reached its timeout"),
    ],
)
def test_each_ending_has_its_error(status: str, error: Failure | None, cls: type[Exception], text: str) -> None:
    """With what was recorded."""
    made = run_error(status, "order-77", error)
    assert type(made) is cls
    assert str(made) == text


def test_a_failed_run_carries_its_exception() -> None:
    """As its cause too, so that a traceback shows both."""
    made = run_error("failed", "w", Failure("ValueError", "bad", Raw(b'["bad"]')))
    assert isinstance(made, RunFailed)
    assert isinstance(made.error, ValueError)
    assert made.__cause__ is made.error


def test_a_step_may_ask_for_a_wait() -> None:
    """In the words of durations."""
    assert RetryAfter("30s").wait == 30_000_000
    with pytest.raises(ValueError, match="not a duration"):
        RetryAfter("soon")
    assert str(NonRetryable("enough")) == "enough"
