"""Every error that wfkit raises, grouped by who must act.

An error has a stable code, one line of cause (its message) and one line of help. ``wfkit explain CODE`` prints the
class docstring, so a docstring here says what happened, the usual causes, and what to do.
"""

from __future__ import annotations

from typing import Any, ClassVar


class WfkitError(Exception):
    """Base of every error that a caller may handle."""

    code: ClassVar[str] = "WF000"
    help: str = ""

    def __init__(self, message: str = "", *, help: str | None = None) -> None:
        super().__init__(message)
        if help is not None:
            self.help = help

    def render(self) -> str:
        """Return the error as the command line prints it: code and cause, then help."""
        text = f"error[{self.code}]: {self}"
        return f"{text}\n  help  {self.help}" if self.help else text


# -- the caller of a command must act --------------------------------------------------------------------------------


class DuplicateRun(WfkitError):
    """The run id is in use: by another workflow, by other input, or (if asked for) by a finished run.

    A run id names one business fact, so ``start`` with the same id, workflow and input attaches to the run that
    exists. Anything else under the same id is refused, since it would be silently lost.
    """

    code = "WF011"
    help = "use another id, or the same workflow and input to attach to the run that exists"


class UnknownRun(WfkitError):
    """No run of this id is in the journal, or a prefix of an id fits more than one run."""

    code = "WF012"
    help = "list the runs: wfkit runs"


class UnknownWorkflow(WfkitError):
    """No workflow of this name is loaded.

    The name is that of the function, or the `name=` given to `@workflow`.
    """

    code = "WF013"
    help = "list what the app defines: wfkit workflows APP"


class AppError(WfkitError):
    """The app could not be loaded: it does not import, or it defines no workflow.

    APP is `file.py`, `package.module`, or `[tool.wfkit] app = "..."` in pyproject.toml.
    """

    code = "WF014"
    help = "fix the app, then run the command again"


class RunEnded(WfkitError):
    """The run is finished, so nothing can be sent to it any more."""

    code = "WF015"
    help = "start a new run; from Python, start(..., if_finished='restart') begins this one again"


class FilterError(WfkitError):
    """A filter for runs is not understood."""

    code = "WF016"
    help = 'write filters as status:failed wf:order_* after:10m step:ship error:"503" "text"'


class BadRequest(WfkitError):
    """An engine's control API got a request that it does not understand, or one that is over 4 MiB.

    A request is one JSON object, sent by POST to `/v1/` and its path. The message names what is wrong with it.
    """

    code = "WF017"
    help = "see the requests: python -c 'import wfkit.control.messages as m; help(m)'"


class SqlRefused(WfkitError):
    """A query is not answered: it is not one SELECT, it reaches for files or addresses, it fails, or it takes too long.

    Queries read the views `runs`, `history`, `steps`, `attempts` and `signals`, and change nothing.
    """

    code = "WF018"
    help = "see what can be asked: wfkit sql --help"


# -- the author of the workflow must act -----------------------------------------------------------------------------


class NonDeterminismError(WfkitError):
    """History and code disagree: replay asked for something that the history does not hold.

    Usual causes: the code was edited while runs were in flight; a branch on the wall clock, on random numbers or on
    the environment; iteration over a set. The run is blocked and nothing is lost: fix the code, or guard the new
    branch with `has_patch("...")`, declared in `@workflow(patches=("...",))`, and the run goes on.
    """

    code = "WF021"
    help = "guard the change: if has_patch('...'): ...   or bring the old code back"

    def render(self) -> str:
        """Return the error as the command line prints it, with its help in the column of the other lines."""
        return super().render().replace("\n  help  ", "\n  help         ")


class WorkflowLoopError(WfkitError):
    """The workflow used something that cannot be replayed: a thread, a socket, an executor, another run's future.

    Workflow code only orchestrates. What touches the outside belongs in a step.
    """

    code = "WF022"
    help = "do this in a step"


class DeterminismViolation(WorkflowLoopError):
    """The determinism guard stopped a call whose answer differs from one execution to the next.

    Files, sockets, processes, threads, the environment and secrets are for steps. `with unsafe("reason"):` lifts
    the guard where you know better.
    """

    code = "WF023"


class StuckRun(WorkflowLoopError):
    """The workflow waits for something that no step, timer, signal or child will ever bring.

    A bare future, an event that nobody sets, a queue that nobody fills: after a restart it could never go on.
    """

    code = "WF024"
    help = "await a step, a signal, a child or a timer; or set the future from another task of this run"


class CodecError(WfkitError):
    """A value cannot be written as JSON by its type hint, or what was recorded does not fit the hint."""

    code = "WF025"
    help = "pass plain data: dataclasses, Structs, TypedDicts, enums, numbers, text, dates and containers of these"


class PayloadTooLarge(WfkitError):
    """A value is over 2 MiB when encoded. Histories hold facts, not files.

    Store the bulk elsewhere (a file, a bucket, a table) in a step, and pass its address.
    """

    code = "WF026"
    help = "store the bulk elsewhere in a step, and pass its address"


class DuplicateName(WfkitError):
    """Two different definitions carry one name. Names are journaled, so each must mean one thing."""

    code = "WF027"
    help = "rename one: @step(name='...') or @workflow(name='...')"


class DefinitionError(WfkitError):
    """A workflow, step, signal, resource, or handler of a fake service is declared in a way that cannot work."""

    code = "WF028"


class ProgrammingError(WfkitError):
    """The workflow's own code raised an error that only an edit can fix: NameError, TypeError, AttributeError, ...

    The run is blocked, not failed: its history is intact, and it is tried again when the engine opens.
    """

    code = "WF029"
    help = "fix the code; the run goes on from the same place"


# -- how a run ended -------------------------------------------------------------------------------------------------


class RunFailed(WfkitError):
    """The workflow raised. `error` is its exception as it was recorded, `saga_failures` what could not be undone."""

    code = "WF031"

    def __init__(self, message: str = "", *, error: BaseException | None = None, saga_failures: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.error = error
        self.saga_failures = saga_failures


class RunCancelled(WfkitError):
    """The run was cancelled, and its cleanup ran to its end."""

    code = "WF032"


class RunTerminated(WfkitError):
    """The run was stopped at once, without cleanup."""

    code = "WF033"


class RunTimedOut(WfkitError):
    """The run reached the `timeout=` of its workflow; compensations and cleanup ran."""

    code = "WF034"


# -- how a step ended ------------------------------------------------------------------------------------------------


class StepError(WfkitError):
    """A step failed for good with an exception that is neither builtin nor declared in `raises=` or `non_retryable=`.

    `type` is the name of the exception's class, `message` its text, `data` its JSON arguments.
    """

    code = "WF041"

    def __init__(self, type: str = "", message: str = "", data: Any = None) -> None:
        super().__init__(f"{type}: {message}" if message else type)
        self.type = type
        self.message = message
        self.data = data


class StepTimeout(StepError):
    """A step exceeded its `timeout=` (one attempt) or `total_timeout=` (all attempts), and had no attempt left.

    Whether it took effect is unknown: the call may have reached the other side.
    """

    code = "WF042"


class StepCancelled(StepError):
    """A step was cancelled before it ended."""

    code = "WF043"


class WorkerDied(StepError):
    """The process died five times while this step ran, so the step is held to be the cause.

    The step has failed, as after its last attempt; the run fails unless the workflow catches that. Typical: out of memory, a
    crash in a C extension, `os._exit`.
    """

    code = "WF044"


# -- whoever runs the machine must act -------------------------------------------------------------------------------


class JournalLocked(WfkitError):
    """Another process holds the journal. One journal has one writer."""

    code = "WF051"
    help = "stop that process, or choose another journal"


class JournalCorrupt(WfkitError):
    """The journal file is damaged in a way that wfkit does not repair by itself. Nothing was changed."""

    code = "WF052"
    help = "copy the file, then: wfkit store repair"


class JournalFull(WfkitError):
    """The disk is full. Nothing acknowledged is lost; the engine stopped acting and goes on when there is room."""

    code = "WF053"
    help = "free some space: the engine goes on by itself; then repeat the call, which attaches if it was recorded"


class JournalTooNew(WfkitError):
    """The journal was written by a newer wfkit. It was not touched."""

    code = "WF054"
    help = "install that version of wfkit, or choose another journal"


class JournalUnusable(WfkitError):
    """The journal cannot be opened or written where it is: no permission, a read-only disk, no file, or it was moved."""

    code = "WF057"
    help = "choose a folder that can be written: --store PATH"


class EngineClosed(WfkitError):
    """The engine is closed, or closes: it takes no requests."""

    code = "WF055"
    help = "open the engine again"


class EngineUnreachable(WfkitError):
    """No engine answers: none runs here, or it has just ended.

    What it acknowledged is kept. Whether it did what it was asked last is not known: ask again, under the same id or dedupe
    id, which is done once.
    """

    code = "WF058"
    help = "start one: wfkit serve APP"


class EngineRunning(WfkitError):
    """Another engine serves the control socket in this folder. One folder has one engine."""

    code = "WF059"
    help = "stop that engine, or keep this journal in a folder of its own: --store PATH"


class UnsupportedPlatform(WfkitError):
    """wfkit runs on Linux and macOS, on CPython 3.11 or newer."""

    code = "WF056"


# -- what verification finds --------------------------------------------------------------------------------------------


class FaultSyntaxError(WfkitError):
    """A fault is written as `kind@point`, such as `crash@2:step.effect_done_not_journaled:charge`.

    The point is `<run>:<n>:<phase>:<label>:<occurrence>`; the run may be left out if it is the main one, the number where
    there is none, the occurrence if it is the first. A parameter stands in parentheses: `crash_long(3h)@1:timer.set:sleep`.
    """

    code = "WF060"
    help = "write it as kind@point, such as crash@2:step.effect_done_not_journaled:charge"


class VerificationFailed(WfkitError, AssertionError):
    """Verification found something; the message is its story. Each kind of finding has a code of its own."""

    code = "WF061"


class ReplayFinding(VerificationFailed):
    """Replaying a history did not ask for the commands that it holds.

    So a run that meets a crash there cannot go on. Usual causes: a clock, random numbers, the environment or a module's
    variable read in the workflow; iteration over a set of strings; an edit of the code without `has_patch`.
    """

    code = "WF062"


class LedgerFinding(VerificationFailed):
    """Something happened outside more often than without faults, or one key was used for two different things.

    A step runs at least once: it runs again when the process dies before its result is recorded, and when its answer is
    lost. Give the service `step_info().idempotency_key`, which is the same on every attempt.
    """

    code = "WF063"


class DifferenceFinding(VerificationFailed):
    """The outcome, the effects or the state outside differ from those without faults, or a run swallows a failure."""

    code = "WF064"


class SagaFinding(VerificationFailed):
    """A run ended neither complete nor compensated: something was done and not undone, or undone in the wrong order."""

    code = "WF065"


class LivenessFinding(VerificationFailed):
    """A run never ends after the last fault, and waits for nothing that it also waits for without faults."""

    code = "WF066"


class SignalsFinding(VerificationFailed):
    """A signal that a run takes without faults was refused, or left unread."""

    code = "WF067"


class DanglingFinding(VerificationFailed):
    """A workflow returned while what it started was under way, and cut it short; or a call was never awaited."""

    code = "WF068"


class AmbientFinding(VerificationFailed):
    """A workflow, or a step under test, uses what lies outside of the simulation: a clock, a thread, a socket."""

    code = "WF069"


class ResourceFinding(VerificationFailed):
    """A history or a payload grows without bound, or a failure makes many more calls than the retry policy says."""

    code = "WF070"


class UpgradeFinding(VerificationFailed):
    """A run of the old code does not go on under the new one."""

    code = "WF071"


class InvariantFinding(VerificationFailed):
    """An invariant of yours does not hold."""

    code = "WF072"


class UnsimulatedIO(WfkitError):
    """A step opened a real socket in a simulation, which must not touch the real world thousands of times.

    Put a fake in the place of its client: `verify(..., world=World, resources=[replace(client, lambda w: w.bank)])`. Or
    allow blocking clients in `def` steps with `io="allow"`; what the step does is then done again in every schedule.
    """

    code = "WF073"
    help = 'give a world: verify(..., world=World, resources=[replace(client, lambda w: w.bank)]), or io="allow"'


class SimulationBounds(WfkitError):
    """A simulated run did not come to an end within its bounds of entries, time or memory."""

    code = "WF074"
    help = 'bound it with until="30 days", or look for a loop that never ends'


class HarnessLeak(WfkitError):
    """The same schedule goes another way each time: something that the simulation does not control decides what the code does.

    The message names the step, its line, and what it came to in two executions. Values that merely differ are no such error:
    they are left out of the comparison, and the report names the step. Usual causes: a branch on chance of a library in C, on
    the address of an object, on a real file or a real clock.
    """

    code = "WF075"
    help = "let it decide by random or time, which the simulation controls; or put what it asks into the world= factory"


class FailureFileError(WfkitError):
    """A failure file cannot be replayed: it is damaged, of a newer version, or its origin is not in this project."""

    code = "WF076"


class ReportNotWritten(WfkitError):
    """A report or a failure file could not be written: no room, or no permission. What was found is still shown."""

    code = "WF077"
    help = "make room, or permit writing: reports go to .wfkit in the working directory"


class FindingsIgnored(VerificationFailed):
    """A test let `sim.verify(...)` look for faults, something was found, and the test never asked: it could not fail.

    `verify` raises nothing for what it finds. End with `.assert_ok()`, or look at `.ok` or `.findings` yourself.
    """

    code = "WF078"


# -- faults in an engine of `wfkit dev` ---------------------------------------------------------------------------------


class NoChaos(WfkitError):
    """A fault was to be injected where that cannot be, or must not.

    Only `wfkit dev` injects faults. It moves the clock forward only with `--ephemeral`: a journal that is kept would hold
    times that have not come yet, and the next engine would wait for them.
    """

    code = "WF084"
    help = "faults are for an engine that you play with: wfkit dev --ephemeral"


class ChaosProfileError(WfkitError):
    """What `wfkit dev --chaos` is to inject was not understood.

    It is `calm`, `rough` or `storm`, or a list of faults, each with the time between two of them on average:
    `kill:20s,delay:5s,dup:10s,jump:1m`. Either may end with a seed: `rough@7`.
    """

    code = "WF085"
    help = "write --chaos calm, rough or storm, or faults and how often: --chaos kill:20s,delay:5s,dup:10s,jump:1m"


# -- wfkit's own authors must act ------------------------------------------------------------------------------------


class InternalError(WfkitError):
    """An invariant of wfkit itself is broken. Never caused by user code: report it."""

    code = "WF090"
    help = "this is a bug in wfkit: report it with this message and the history (wfkit runs export ID)"


def _family(root: type[WfkitError]) -> list[type[WfkitError]]:
    return [root, *(found for child in root.__subclasses__() for found in _family(child))]


def by_code() -> dict[str, type[WfkitError]]:
    """Return every error class by its code, for ``wfkit explain``; of those that share one, the class that defines it."""
    return {error.code: error for error in _family(WfkitError) if error is not WfkitError and "code" in vars(error)}


def restored(code: str, message: str, help: str | None = None) -> WfkitError:
    """Return an error that another process told, or a history holds, by its parts.

    Args:
        code: its code; of one that is not known here, as of a newer wfkit, a plain `WfkitError` is made.
        message: the cause.
        help: what to do; that of its class unless given.
    """
    kind = by_code().get(code, WfkitError)
    error = kind.__new__(kind, message)  # some classes are made of more than a message
    if help is not None:
        error.help = help
    return error
