"""wfkit: durable workflows, developed and proved on one machine.

This is the front door. Importing it loads the errors and nothing else: every other public name is loaded from its module
on first use, so that a pytest plugin or a command that touches no workflow pays nothing.
"""

from typing import TYPE_CHECKING

from wfkit.errors import (
    AmbientFinding,
    AppError,
    BadRequest,
    ChaosProfileError,
    CodecError,
    DanglingFinding,
    DefinitionError,
    DeterminismViolation,
    DifferenceFinding,
    DuplicateName,
    DuplicateRun,
    EngineClosed,
    EngineRunning,
    EngineUnreachable,
    FailureFileError,
    FaultSyntaxError,
    FilterError,
    FindingsIgnored,
    HarnessLeak,
    InternalError,
    InvariantFinding,
    JournalCorrupt,
    JournalFull,
    JournalLocked,
    JournalTooNew,
    JournalUnusable,
    LedgerFinding,
    LivenessFinding,
    NoChaos,
    NonDeterminismError,
    PayloadTooLarge,
    ProgrammingError,
    ReplayFinding,
    ReportNotWritten,
    ResourceFinding,
    RunCancelled,
    RunEnded,
    RunFailed,
    RunTerminated,
    RunTimedOut,
    SagaFinding,
    SignalsFinding,
    SimulationBounds,
    SqlRefused,
    StepCancelled,
    StepError,
    StepTimeout,
    StuckRun,
    UnknownRun,
    UnknownWorkflow,
    UnsimulatedIO,
    UnsupportedPlatform,
    UpgradeFinding,
    VerificationFailed,
    WfkitError,
    WorkerDied,
    WorkflowLoopError,
)

if TYPE_CHECKING:
    from wfkit.api.attempt import StepInfo, step_info
    from wfkit.api.definitions import (
        Expect,
        NonRetryable,
        Retry,
        RetryAfter,
        Step,
        Workflow,
        run_step,
        step,
        workflow,
    )
    from wfkit.api.primitives import (
        RunInfo,
        State,
        has_patch,
        info,
        logger,
        now,
        rng,
        sleep,
        sleep_until,
        start_child,
        timeout,
        unsafe,
        uuid4,
    )
    from wfkit.api.resources import Resource, resource
    from wfkit.api.saga import Saga, Undone, saga, undoes
    from wfkit.api.signals import Received, Signal, Waitable, publish, send, subscribe, wait_any, wait_signal
    from wfkit.control.opening import Engine
    from wfkit.control.remote import connect
    from wfkit.core.durations import Duration
    from wfkit.engine.client import Client, Run
    from wfkit.engine.engine import run

    __version__: str

__all__ = [
    "AmbientFinding",
    "AppError",
    "BadRequest",
    "ChaosProfileError",
    "Client",
    "CodecError",
    "DanglingFinding",
    "DefinitionError",
    "DeterminismViolation",
    "DifferenceFinding",
    "DuplicateName",
    "DuplicateRun",
    "Duration",
    "Engine",
    "EngineClosed",
    "EngineRunning",
    "EngineUnreachable",
    "Expect",
    "FailureFileError",
    "FaultSyntaxError",
    "FilterError",
    "FindingsIgnored",
    "HarnessLeak",
    "InternalError",
    "InvariantFinding",
    "JournalCorrupt",
    "JournalFull",
    "JournalLocked",
    "JournalTooNew",
    "JournalUnusable",
    "LedgerFinding",
    "LivenessFinding",
    "NoChaos",
    "NonDeterminismError",
    "NonRetryable",
    "PayloadTooLarge",
    "ProgrammingError",
    "Received",
    "ReplayFinding",
    "ReportNotWritten",
    "Resource",
    "ResourceFinding",
    "Retry",
    "RetryAfter",
    "Run",
    "RunCancelled",
    "RunEnded",
    "RunFailed",
    "RunInfo",
    "RunTerminated",
    "RunTimedOut",
    "Saga",
    "SagaFinding",
    "Signal",
    "SignalsFinding",
    "SimulationBounds",
    "SqlRefused",
    "State",
    "Step",
    "StepCancelled",
    "StepError",
    "StepInfo",
    "StepTimeout",
    "StuckRun",
    "Undone",
    "UnknownRun",
    "UnknownWorkflow",
    "UnsimulatedIO",
    "UnsupportedPlatform",
    "UpgradeFinding",
    "VerificationFailed",
    "Waitable",
    "WfkitError",
    "WorkerDied",
    "Workflow",
    "WorkflowLoopError",
    "connect",
    "has_patch",
    "info",
    "logger",
    "now",
    "publish",
    "resource",
    "rng",
    "run",
    "run_step",
    "saga",
    "send",
    "sleep",
    "sleep_until",
    "start_child",
    "step",
    "step_info",
    "subscribe",
    "timeout",
    "undoes",
    "unsafe",
    "uuid4",
    "wait_any",
    "wait_signal",
    "workflow",
]

_LAZY = {
    "StepInfo": "wfkit.api.attempt",
    "step_info": "wfkit.api.attempt",
    "NonRetryable": "wfkit.api.definitions",
    "Expect": "wfkit.api.definitions",
    "Retry": "wfkit.api.definitions",
    "RetryAfter": "wfkit.api.definitions",
    "Step": "wfkit.api.definitions",
    "Workflow": "wfkit.api.definitions",
    "run_step": "wfkit.api.definitions",
    "step": "wfkit.api.definitions",
    "workflow": "wfkit.api.definitions",
    "RunInfo": "wfkit.api.primitives",
    "State": "wfkit.api.primitives",
    "has_patch": "wfkit.api.primitives",
    "info": "wfkit.api.primitives",
    "logger": "wfkit.api.primitives",
    "now": "wfkit.api.primitives",
    "rng": "wfkit.api.primitives",
    "sleep": "wfkit.api.primitives",
    "sleep_until": "wfkit.api.primitives",
    "start_child": "wfkit.api.primitives",
    "timeout": "wfkit.api.primitives",
    "unsafe": "wfkit.api.primitives",
    "uuid4": "wfkit.api.primitives",
    "Resource": "wfkit.api.resources",
    "resource": "wfkit.api.resources",
    "Saga": "wfkit.api.saga",
    "Undone": "wfkit.api.saga",
    "saga": "wfkit.api.saga",
    "undoes": "wfkit.api.saga",
    "Received": "wfkit.api.signals",
    "Signal": "wfkit.api.signals",
    "Waitable": "wfkit.api.signals",
    "publish": "wfkit.api.signals",
    "send": "wfkit.api.signals",
    "subscribe": "wfkit.api.signals",
    "wait_any": "wfkit.api.signals",
    "wait_signal": "wfkit.api.signals",
    "Engine": "wfkit.control.opening",
    "connect": "wfkit.control.remote",
    "Duration": "wfkit.core.durations",
    "Client": "wfkit.engine.client",
    "Run": "wfkit.engine.client",
    "run": "wfkit.engine.engine",
}


if not TYPE_CHECKING:  # a type checker that saw this would take every name for a public one

    def __getattr__(name: str) -> object:
        """Load a public name from its module; `__version__` is that of the installed distribution."""
        if name == "__version__":
            from importlib.metadata import version

            value = version("wfkit")
        elif name in _LAZY:
            from importlib import import_module

            value = getattr(import_module(_LAZY[name]), name)
        else:
            raise AttributeError(f"module 'wfkit' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
