"""What clients say to an engine, and what it answers: one Struct for each request, and one for each answer.

A request travels as JSON, by POST, to the path `/v1/` and its `path`; one that only reads may also come by GET, with its
fields as the query. `Request[Answer]` names what answers it. A member may be added to either; one that changes its meaning
or goes makes version 2.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar, get_args

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from wfkit.core.commands import Command, Failure, Json
from wfkit.core.entries import Entry, Record
from wfkit.core.state import RunState

VERSION = 1
BODY_BYTES_MAX = 4 * 1024 * 1024
"""Of a request. The largest value that a history takes is half of this."""
JOURNAL_HEADER = "wfkit-journal"
"""With it a client says which journal it means: a folder may hold several, and the engine has one of them."""
AHEAD_HEADER = "wfkit-ahead"
"""With it an engine answers whose clock was moved by chaos: by so many microseconds."""
END_SECONDS_MAX = 20.0
"""How long one request waits for a run's end; whoever wants to wait longer asks again."""

A = TypeVar("A")

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]
Position: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
Reason: TypeAlias = Annotated[str, Meta(max_length=10_000)]
Sort: TypeAlias = Literal["started", "updated", "id", "workflow", "status", "wake_at"]


class Request(Struct, Generic[A], frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request that `A` answers."""

    path: ClassVar[str]
    acts: ClassVar[bool] = False
    """It changes something; what it changed is durable when it is answered."""


class Done(Struct, frozen=True):
    """It is done, and durable."""


class Refusal(Struct, frozen=True):
    """Why a request was refused: what a `WfkitError` says."""

    code: str
    message: str
    help: str = ""


class Refused(Struct, frozen=True):
    """The body of every answer whose HTTP status is not 200."""

    error: Refusal


# -- runs, from the journal: an engine's or a file -----------------------------------------------------------------------


class RunList(Struct, frozen=True):
    runs: list[RunState]
    """Without the dedupe ids of their signals."""
    more: bool
    """There are more than the limit."""


class ListRuns(Request[RunList], frozen=True, kw_only=True):
    path: ClassVar[str] = "runs"

    filter: str | tuple[str, ...] = ""
    """In the language of the command line; as one text, or split into terms as a shell does."""
    sort: Sort = "started"
    limit: Count = 50
    offset: Position = 0
    """So many are left out first."""


class RunGroup(Struct, frozen=True):
    key: str
    count: int
    statuses: dict[str, int]
    last: RunState
    """The one that changed last."""


class RunGroups(Struct, frozen=True):
    groups: list[RunGroup]
    """The largest first."""


class GroupRuns(Request[RunGroups], frozen=True, kw_only=True):
    """Counts runs by their error, by the step that they are at, or by workflow."""

    path: ClassVar[str] = "runs/groups"

    by: Literal["error", "step", "workflow"]
    filter: str | tuple[str, ...] = ""


class RunFound(Struct, frozen=True):
    run: RunState


class FindRun(Request[RunFound], frozen=True, kw_only=True):
    path: ClassVar[str] = "runs/find"

    run: Name
    """Here and in the other requests that read: an id, the beginning of exactly one, `@last` or `@failed`."""


class RunPage(Struct, frozen=True):
    run: RunState
    records: list[Record]
    children: list[RunState]
    result: Json = UNSET
    """Not set if it has not completed."""


class GetRun(Request[RunPage], frozen=True, kw_only=True):
    path: ClassVar[str] = "runs/get"

    run: Name
    generation: Count | None = None
    """Here and in the other requests that have it: the newest unless given."""


class RunHistory(Struct, frozen=True):
    run: RunState
    records: list[Record]
    """Those after `after`; record number `seq` is at index `seq - 1 - after`."""


class GetHistory(Request[RunHistory], frozen=True, kw_only=True):
    path: ClassVar[str] = "runs/history"

    run: Name
    after: Position = 0
    generation: Count | None = None


class RunFamily(Struct, frozen=True):
    run: RunState
    records: list[Record]
    children: dict[str, RunState]
    """Those that it has open, by id."""
    top: RunState
    """The unfinished run at the top of its family."""


class GetFamily(Request[RunFamily], frozen=True, kw_only=True):
    """Asks for what tells why a run does not go on."""

    path: ClassVar[str] = "runs/why"

    run: Name


class RunTree(Struct, frozen=True):
    run: RunState
    children: list[RunTree]


class GetTree(Request[RunTree], frozen=True, kw_only=True):
    path: ClassVar[str] = "runs/tree"

    run: Name


class RunResult(Struct, frozen=True):
    run: RunState
    result: Json = UNSET
    """Not set if it has not completed."""


class GetResult(Request[RunResult], frozen=True, kw_only=True):
    path: ClassVar[str] = "runs/result"

    run: Name
    generation: Count | None = None


# -- runs, of a live engine ----------------------------------------------------------------------------------------------


class Message(Struct, frozen=True):
    """A signal on its way."""

    signal: Name
    payload: Raw


class Started(Struct, frozen=True):
    run: str


class StartRun(Request[Started], frozen=True, kw_only=True):
    path: ClassVar[str] = "runs/start"
    acts: ClassVar[bool] = True

    workflow: Name
    input: Raw | UnsetType = UNSET
    """An object is the only parameter, or parameters by name; an array is parameters in order; anything else is the only
    parameter."""
    id: str | None = None
    if_finished: Literal["attach", "fail", "restart"] = "attach"
    send: Message | None = None


class CancelRun(Request[Done], frozen=True, kw_only=True):
    path: ClassVar[str] = "runs/cancel"
    acts: ClassVar[bool] = True

    run: Name
    """Here and in the other requests to a live engine: a whole id."""
    reason: Reason = ""


class TerminateRun(Request[Done], frozen=True, kw_only=True):
    path: ClassVar[str] = "runs/terminate"
    acts: ClassVar[bool] = True

    run: Name
    reason: Reason = ""


class RunStatus(Struct, frozen=True):
    status: str


class GetStatus(Request[RunStatus], frozen=True, kw_only=True):
    path: ClassVar[str] = "runs/status"

    run: Name


class RunValue(Struct, frozen=True):
    value: Json = UNSET


class GetState(Request[RunValue], frozen=True, kw_only=True):
    path: ClassVar[str] = "runs/state"

    run: Name
    name: Name


class Records(Struct, frozen=True):
    records: list[Record]


class GetRecords(Request[Records], frozen=True, kw_only=True):
    path: ClassVar[str] = "runs/records"

    run: Name


class RunEnd(Struct, frozen=True):
    """How a run ended; without a status it has not ended yet."""

    status: str | None = None
    value: Json = UNSET
    error: Failure | None = None
    saga_failures: tuple[str, ...] = ()


class AwaitEnd(Request[RunEnd], frozen=True, kw_only=True):
    path: ClassVar[str] = "runs/end"

    run: Name
    seconds: Annotated[float, Meta(ge=0, le=END_SECONDS_MAX)] = END_SECONDS_MAX


# -- signals and timers --------------------------------------------------------------------------------------------------


class SendSignal(Request[Done], frozen=True, kw_only=True):
    path: ClassVar[str] = "signals/send"
    acts: ClassVar[bool] = True

    run: Name
    signal: Name
    payload: Raw = Raw(b"null")
    dedupe: Name | None = None


class PublishSignal(Request[Done], frozen=True, kw_only=True):
    path: ClassVar[str] = "signals/publish"
    acts: ClassVar[bool] = True

    signal: Name
    payload: Raw = Raw(b"null")
    dedupe: Name | None = None


class SignalSeen(Struct, frozen=True):
    """A signal that arrived at a run, or that was published."""

    pos: int
    t: int
    name: str
    payload: Raw
    run: str | None
    """Its receiver; None for the publication itself."""
    published: bool
    receivers: int | None
    """Of a publication: how many runs took delivery, or were started by it."""
    dedupe: str | None


class SignalAwaited(Struct, frozen=True):
    """A wait or a subscription that is open."""

    name: str
    run: str
    workflow: str
    since: int
    subscription: bool
    where: Json = UNSET


class SignalList(Struct, frozen=True):
    signals: list[SignalSeen]
    """The latest first."""
    awaited: list[SignalAwaited]
    """Those that wait longest first."""


class ListSignals(Request[SignalList], frozen=True, kw_only=True):
    path: ClassVar[str] = "signals"

    name: str = ""
    """Only those of this name."""
    limit: Count = 50


class Timer(Struct, frozen=True):
    due: int
    run: str
    workflow: str
    kind: Literal["timer", "retry", "timeout"]
    name: str
    """Of a retry, the step; of a timer, how long it is."""
    since: int


class TimerList(Struct, frozen=True):
    timers: list[Timer]
    """The next one first."""
    more: bool


class ListTimers(Request[TimerList], frozen=True, kw_only=True):
    path: ClassVar[str] = "timers"

    limit: Count = 50


# -- code ----------------------------------------------------------------------------------------------------------------


class Parameter(Struct, frozen=True):
    """A parameter of a workflow, or a field of a type."""

    name: str
    type: str
    required: bool
    default: Json = UNSET
    """Not set if there is none, or one that is too long to be shown."""


class TypeFacts(Struct, frozen=True):
    """A type with named fields, as it is written in JSON."""

    name: str
    fields: list[Parameter]


class SignalFacts(Struct, frozen=True):
    name: str
    type: str
    """Of what it carries."""


class WorkflowFacts(Struct, frozen=True):
    name: str
    parameters: list[Parameter]
    signals: list[SignalFacts]
    """Those that its code names, with what they carry."""
    on: str | None
    timeout_us: int | None
    patches: list[str]
    where: str
    """`file:line`."""
    code: str
    """Hash of its source, as runs record it at their start."""
    types: list[TypeFacts] = []
    """Those that its parameters and their fields have."""


class StepFacts(Struct, frozen=True):
    name: str
    where: str
    is_async: bool
    undoes: str | None


class WorkflowList(Struct, frozen=True):
    workflows: list[WorkflowFacts]


class ListWorkflows(Request[WorkflowList], frozen=True, kw_only=True):
    path: ClassVar[str] = "workflows"


class StepList(Struct, frozen=True):
    steps: list[StepFacts]


class ListSteps(Request[StepList], frozen=True, kw_only=True):
    path: ClassVar[str] = "steps"


class CodeVersion(Struct, frozen=True):
    """The unfinished runs of a workflow that began on one version of its source."""

    workflow: str
    code: str
    runs: int
    blocked: list[RunState]


class CodeFacts(Struct, frozen=True):
    app: str | None
    """What the engine runs; None if no engine was asked."""
    workflows: list[WorkflowFacts]
    steps: list[StepFacts]
    versions: list[CodeVersion]


class GetCode(Request[CodeFacts], frozen=True, kw_only=True):
    path: ClassVar[str] = "code"


# -- the engine as a whole -----------------------------------------------------------------------------------------------


class EngineFacts(Struct, frozen=True):
    pid: int
    wfkit: str
    app: str
    journal: str
    epoch: int
    pos: int
    """Of the journal's last durable row."""
    started: int
    trouble: Refusal | None
    """Why the journal does not accept anything just now."""
    chaos: bool = False
    """Faults may be injected into it: it is the engine of `wfkit dev`."""


class GetEngine(Request[EngineFacts], frozen=True, kw_only=True):
    path: ClassVar[str] = "engine"


class LogLine(Struct, frozen=True):
    number: int
    """It only grows, as long as the engine lives."""
    t: int
    level: str
    logger: str
    text: str
    run: str | None = None
    step: str | None = None


class LogLines(Struct, frozen=True):
    lines: list[LogLine]
    """The newest last."""


class GetLogs(Request[LogLines], frozen=True, kw_only=True):
    path: ClassVar[str] = "logs"

    after: Position = 0
    run: str = ""
    """Only those of this run: a whole id."""
    limit: Count = 1000
    """The newest ones, if there are more."""


class StoreFacts(Struct, frozen=True):
    path: str
    file_bytes: int
    log_bytes: int
    records: int
    runs: dict[str, int]
    format: int
    wfkit: str
    epoch: int


class GetStore(Request[StoreFacts], frozen=True, kw_only=True):
    path: ClassVar[str] = "store"


class BackUp(Request[Done], frozen=True, kw_only=True):
    path: ClassVar[str] = "store/backup"
    acts: ClassVar[bool] = True

    file: str
    """A whole path, of a new file."""


class Report(Struct, frozen=True):
    name: str
    """Its path below the journal's folder."""
    bytes: int
    modified: int


class ReportList(Struct, frozen=True):
    reports: list[Report]
    """The newest first."""


class ListReports(Request[ReportList], frozen=True, kw_only=True):
    path: ClassVar[str] = "reports"


class ReportText(Struct, frozen=True):
    name: str
    text: str


class GetReport(Request[ReportText], frozen=True, kw_only=True):
    path: ClassVar[str] = "reports/get"

    name: str


class Table(Struct, frozen=True):
    columns: list[str]
    types: list[str]
    rows: list[list[Raw]]
    more: bool


class Sql(Request[Table], frozen=True, kw_only=True):
    path: ClassVar[str] = "sql"

    query: Annotated[str, Meta(max_length=100_000)]
    limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000


# -- faults, in an engine of `wfkit dev` --------------------------------------------------------------------------------

Fault: TypeAlias = Literal["kill", "delay", "dup", "jump"]
"""The worker is killed; the next result of a step is held; a signal is delivered again; the clock goes forward."""


class Struck(Struct, frozen=True):
    """One line of what chaos did, and of what came of it."""

    number: int
    """From 1, in one session of `wfkit dev`, whatever becomes of its workers."""
    t: int
    text: str
    fault: Fault | None = None
    """None: it tells of recovery."""


class ChaosFacts(Struct, frozen=True):
    profile: str
    """What strikes by itself, with its seed; empty if nothing does."""
    jumps: bool
    """The clock may go forward, since the journal does not outlive the session."""
    ahead: int
    """How far the clock has gone forward, in microseconds."""
    strikes: int
    struck: list[Struck]
    """The latest, the newest last."""


class GetChaos(Request[ChaosFacts], frozen=True, kw_only=True):
    path: ClassVar[str] = "chaos"


class Told(Struct, frozen=True):
    text: str


class Strike(Request[Told], frozen=True, kw_only=True):
    """Injects a fault now."""

    path: ClassVar[str] = "chaos/strike"
    acts: ClassVar[bool] = True

    fault: Fault
    run: str = ""
    """Of `dup`, whose last signal is meant: a whole id. Otherwise the last signal of all."""
    us: Annotated[int, Meta(ge=1, le=100 * 366 * 86_400_000_000)] | None = None
    """How long `delay` holds the result, otherwise 3 s, and how far `jump` goes, otherwise 1 h; in microseconds."""


# -- the live feed -------------------------------------------------------------------------------------------------------

FEED_PATH = "feed"


class FeedEvent(Struct, frozen=True):
    """One durable record. Large values in it are null."""

    pos: int
    run: int
    """The run's number; 0 is the bus of published signals."""
    id: str | None
    seq: int
    entry: Entry
    commands: tuple[Command, ...] | None = None


def _all(base: type[Request[Any]]) -> list[type[Request[Any]]]:
    return [found for child in base.__subclasses__() for found in [child, *_all(child)]]


REQUESTS: dict[str, type[Request[Any]]] = {request.path: request for request in _all(Request) if hasattr(request, "path")}
"""Every request by its path."""


def answer_type(request: type[Request[A]]) -> type[A]:
    """Return what answers a request."""
    answer: type[A] = get_args(request.__orig_bases__[0])[0]  # type: ignore[attr-defined]  # as every generic base has
    return answer
