"""What holds for every test: how Hypothesis runs here, and that in CI nothing is skipped unnoticed."""

import gc
import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

IN_CI = bool(os.environ.get("CI"))

# A slow machine is no finding, and what CI finds must be found again by the next run.
settings.register_profile("wfkit", deadline=None, derandomize=IN_CI)
settings.load_profile("wfkit")


def pytest_collection_finish() -> None:
    """Leave out of all further garbage collection what collecting thousands of tests has made: it stays to the end."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Let no test keep Ctrl-C for itself: that changes what all later ones in its process show."""
    before = signal.getsignal(signal.SIGINT)
    yield
    after = signal.getsignal(signal.SIGINT)
    if after is not before:
        signal.signal(signal.SIGINT, before)
        pytest.fail(f"the test has left {after} to answer SIGINT, and not {before}")


ALLOWED = "platform:"
"""How the reason of a skip begins that may stand in CI: this machine cannot show the fact, whatever is installed on it."""


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure, unless its reason begins with `ALLOWED` or the test is expected to fail."""
    if not report.skipped or hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return
    path, line, reason = report.longrepr
    if not reason.removeprefix("Skipped: ").startswith(ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"{path}:{line}: skipped in CI, which hides what was not tested: {reason}"


if IN_CI:

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        refuse_skip(report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        refuse_skip(report)
        return report
