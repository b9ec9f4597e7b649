"""The messages of version 1, as clients know them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct, inspect

from wfkit.control import messages as m

REQUESTS = {
    "runs": ("RunList", "filter sort limit offset", "runs more"),
    "runs/groups": ("RunGroups", "by filter", "groups"),
    "runs/find": ("RunFound", "run", "run"),
    "runs/get": ("RunPage", "run generation", "run records children result"),
    "runs/history": ("RunHistory", "run after generation", "run records"),
    "runs/why": ("RunFamily", "run", "run records children top"),
    "runs/tree": ("RunTree", "run", "run children"),
    "runs/result": ("RunResult", "run generation", "run result"),
    "runs/start": ("Started", "workflow input id if_finished send", "run"),
    "runs/cancel": ("Done", "run reason", ""),
    "runs/terminate": ("Done", "run reason", ""),
    "runs/status": ("RunStatus", "run", "status"),
    "runs/state": ("RunValue", "run name", "value"),
    "runs/records": ("Records", "run", "records"),
    "runs/end": ("RunEnd", "run seconds", "status value error saga_failures"),
    "signals": ("SignalList", "name limit", "signals awaited"),
    "signals/send": ("Done", "run signal payload dedupe", ""),
    "signals/publish": ("Done", "signal payload dedupe", ""),
    "timers": ("TimerList", "limit", "timers more"),
    "workflows": ("WorkflowList", "", "workflows"),
    "steps": ("StepList", "", "steps"),
    "code": ("CodeFacts", "", "app workflows steps versions"),
    "engine": ("EngineFacts", "", "pid wfkit app journal epoch pos started trouble chaos"),
    "chaos": ("ChaosFacts", "", "profile jumps ahead strikes struck"),
    "chaos/strike": ("Told", "fault run us", "text"),
    "logs": ("LogLines", "after run limit", "lines"),
    "store": ("StoreFacts", "", "path file_bytes log_bytes records runs format wfkit epoch"),
    "store/backup": ("Done", "file", ""),
    "reports": ("ReportList", "", "reports"),
    "reports/get": ("ReportText", "name", "name text"),
    "sql": ("Table", "query limit", "columns types rows more"),
}
"""For each path what answers it, the members of the request, and those of the answer."""


def test_there_are_these_requests() -> None:
    """A request that goes, or changes its path, makes another version."""
    assert set(m.REQUESTS) == set(REQUESTS)
    assert m.VERSION == 1


@pytest.mark.parametrize("path", sorted(m.REQUESTS))
def test_a_message_has_these_members(path: str) -> None:
    """One may be added at the end; none may go."""
    request = m.REQUESTS[path]
    answer = m.answer_type(request)
    assert (answer.__name__, members(request), members(answer)) == REQUESTS[path]


def members(struct: type[Any]) -> str:
    assert issubclass(struct, Struct)
    return " ".join(field.encode_name for field in inspect.type_info(struct).fields)  # type: ignore[attr-defined]  # of Structs


def test_only_requests_that_change_something_say_so() -> None:
    """Such a one never comes by GET."""
    acting = {path for path, request in m.REQUESTS.items() if request.acts}
    assert acting == {
        *("runs/start", "runs/cancel", "runs/terminate"),
        *("signals/send", "signals/publish", "store/backup", "chaos/strike"),
    }
