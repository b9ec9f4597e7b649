"""What authors of tests and of journals import.

Each name is loaded from its module on first use; neither pytest nor Hypothesis is ever imported here.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wfkit.sim.findings import Finding
    from wfkit.sim.invariants import always, eventually, on, sometimes
    from wfkit.sim.queue import FakeQueue
    from wfkit.sim.recording import Recording
    from wfkit.sim.report import Report
    from wfkit.sim.services import NO_EFFECT, Effect, FakeService, KeyValue, Mailbox, effect
    from wfkit.sim.subject import Declaration, Instance, Replace, extra, ignores, outcome, replace, residue
    from wfkit.sim.volatile import Volatile
    from wfkit.testing.engine import TestEngine
    from wfkit.testing.http import http_transport, http_transport_sync
    from wfkit.testing.strategies import FaultPlan, fault_plans, inputs
    from wfkit.testing.verification import averify, simulate, verify

__all__ = [
    "NO_EFFECT",
    "Declaration",
    "Effect",
    "FakeQueue",
    "FakeService",
    "FaultPlan",
    "Finding",
    "Instance",
    "KeyValue",
    "Mailbox",
    "Recording",
    "Replace",
    "Report",
    "TestEngine",
    "Volatile",
    "always",
    "averify",
    "effect",
    "eventually",
    "extra",
    "fault_plans",
    "http_transport",
    "http_transport_sync",
    "ignores",
    "inputs",
    "on",
    "outcome",
    "replace",
    "residue",
    "simulate",
    "sometimes",
    "verify",
]

_LAZY = {
    "Finding": "wfkit.sim.findings",
    "always": "wfkit.sim.invariants",
    "eventually": "wfkit.sim.invariants",
    "on": "wfkit.sim.invariants",
    "sometimes": "wfkit.sim.invariants",
    "FakeQueue": "wfkit.sim.queue",
    "Recording": "wfkit.sim.recording",
    "Report": "wfkit.sim.report",
    "NO_EFFECT": "wfkit.sim.services",
    "Effect": "wfkit.sim.services",
    "FakeService": "wfkit.sim.services",
    "KeyValue": "wfkit.sim.services",
    "Mailbox": "wfkit.sim.services",
    "effect": "wfkit.sim.services",
    "Declaration": "wfkit.sim.subject",
    "Instance": "wfkit.sim.subject",
    "Replace": "wfkit.sim.subject",
    "extra": "wfkit.sim.subject",
    "ignores": "wfkit.sim.subject",
    "outcome": "wfkit.sim.subject",
    "replace": "wfkit.sim.subject",
    "residue": "wfkit.sim.subject",
    "Volatile": "wfkit.sim.volatile",
    "TestEngine": "wfkit.testing.engine",
    "http_transport": "wfkit.testing.http",
    "http_transport_sync": "wfkit.testing.http",
    "FaultPlan": "wfkit.testing.strategies",
    "inputs": "wfkit.testing.strategies",
    "fault_plans": "wfkit.testing.strategies",
    "averify": "wfkit.testing.verification",
    "simulate": "wfkit.testing.verification",
    "verify": "wfkit.testing.verification",
}

if not TYPE_CHECKING:  # a type checker that saw this would take every name for a public one

    def __getattr__(name: str) -> object:
        """Load a public name from its module."""
        if name not in _LAZY:
            raise AttributeError(f"module 'wfkit.testing' has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
