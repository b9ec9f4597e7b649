"""The pytest plugin: terms for `verify` in tests, findings told as stories, failure files collected as tests.

It loads nothing of wfkit but errors until a test uses more.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from _pytest.runner import runtestprotocol  # as plugins that run tests again use it: there is no public name

from wfkit.errors import FailureFileError, VerificationFailed, WfkitError
from wfkit.testing.caller import Caller, Replayed, calling

if TYPE_CHECKING:
    from wfkit.testing import Recording, Report

FOLDER = ".wfkit"
"""Where files go, below the root of the project."""
TERMS = ("budget", "seed", "jobs")
"""What the marker and the command line may say of calls of `verify`."""


class Known(NamedTuple):
    """A failure file, as it was when the session began."""

    path: str
    origin: dict[str, Any]
    """Empty if it could not be read."""

    @property
    def test(self) -> str:
        """Node id of the test that made it; empty if that was no test."""
        return str(self.origin.get("pytest", ""))


_KNOWN = pytest.StashKey[list[Known]]()
_ASKED = pytest.StashKey[list[Known]]()
"""Those that the command line names."""
_ONLY = pytest.StashKey[bool]()
"""Whether it names nothing else."""
_TOLD = pytest.StashKey[str]()
"""The story that a test has ended with: its failure file need not tell that again."""
_SIM = pytest.StashKey["Sim"]()
_VERDICT = "wfkit_replay"
"""The property of a report that tells what a replay came to."""


class Sim:
    """`verify` and `simulate` of `wfkit.testing`, on the terms of a test."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def verify(self, workflow: Callable[..., Any], *args: Any, **options: Any) -> Report:
        """As `wfkit.testing.verify`."""
        from wfkit.testing import verify

        self.reports.append(verify(workflow, *args, **options))
        return self.reports[-1]

    async def averify(self, workflow: Callable[..., Any], *args: Any, **options: Any) -> Report:
        """As `wfkit.testing.averify`."""
        from wfkit.testing import averify

        report = await averify(workflow, *args, **options)
        self.reports.append(report)
        return report

    def simulate(self, workflow: Callable[..., Any], *args: Any, **options: Any) -> Recording[Any]:
        """As `wfkit.testing.simulate`."""
        from wfkit.testing import simulate

        return simulate(workflow, *args, **options)


@pytest.fixture
def sim(request: pytest.FixtureRequest) -> Sim:
    """Proves workflows by simulation: `sim.verify(order, ORDER).assert_ok()`.

    What is found is kept in `.wfkit/failures`, and is a test from then on. A test that never asks what was found fails then.
    Terms for `verify` come from `@pytest.mark.wfkit(budget="30s")` and from the command line.
    """
    made = request.node.stash[_SIM] = Sim()
    return made


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("wfkit", "wfkit: workflows proved by simulation")
    group.addoption("--wfkit-budget", metavar="DURATION", help="How long each verify() may search, such as 30s.")
    group.addoption("--wfkit-seed", type=int, metavar="N", help="Where the chance of each verify() comes from.")
    group.addoption("--wfkit-jobs", type=int, metavar="N", help="How many processes each verify() may use.")
    group.addoption(
        "--wfkit-no-files", action="store_true", help="Write nothing to .wfkit, and collect no failure files from there."
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "wfkit(budget=..., seed=..., jobs=...): terms for each verify() in the test.")
    jobs = config.getoption("--wfkit-jobs")
    if jobs is not None and jobs < 1:
        raise pytest.UsageError(f"--wfkit-jobs: {jobs} processes are too few")
    budget = config.getoption("--wfkit-budget")
    if budget is not None:
        from wfkit.core.durations import microseconds

        try:
            microseconds(budget)
        except ValueError as error:
            raise pytest.UsageError(f"--wfkit-budget: {error}") from None
    if hasattr(config, "workerinput"):
        config.stash[_KNOWN] = [Known(*each) for each in config.workerinput["wfkit_failures"]]
    else:
        config.stash[_KNOWN] = [] if config.getoption("--wfkit-no-files") else list(_known(config.rootpath))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Let the workers of xdist collect what this process has seen: they must agree, also one that starts later."""
    node.workerinput["wfkit_failures"] = [tuple(known) for known in node.config.stash[_KNOWN]]


def _known(root: Path) -> Iterator[Known]:
    for path in sorted(root.joinpath(FOLDER, "failures").glob("*.json")):
        try:
            origin = json.loads(path.read_bytes())["origin"]
        except (OSError, ValueError, KeyError, TypeError):
            origin = {}
        yield Known(str(path), origin if isinstance(origin, dict) else {})


# -- collecting ----------------------------------------------------------------------------------------------------------


class FailureFile(pytest.File):
    """A file in `.wfkit/failures`."""

    def __init__(self, *, known: Known, origin: pytest.Item | None, **node: Any) -> None:
        super().__init__(**node)
        self._known = known
        self._origin = origin

    def collect(self) -> list[Failure]:
        return [Failure.from_parent(self, name=self.path.stem, known=self._known, origin=self._origin)]


class Failure(pytest.Item):
    """A failure file as a test: the test that made it, with this schedule alone."""

    def __init__(self, *, known: Known, origin: pytest.Item | None, **node: Any) -> None:
        super().__init__(**node)
        self.known = known
        self.origin = origin
        if origin is not None:
            self.own_markers += origin.iter_markers()
            self.keywords.update({mark.name: mark for mark in self.own_markers})

    def runtest(self) -> None:
        """Replay a file that no test made."""
        if "wfkit" not in self.known.origin:
            made_by = f"{self.known.test} made it, which is not there any more" if self.known.test else "nobody is named"
            told = f"{self.path.name} cannot be replayed: {made_by}"
            raise FailureFileError(told, help="bring the test back, or delete the file")
        command = [sys.executable, "-m", "wfkit", "verify", "--replay", str(self.path), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.stdout:
            raise FailureFileError(f"{self.path.name} cannot be replayed\n{done.stderr}")
        told = json.loads(done.stdout)
        raise Replayed(told["verdict"], told["text"])

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Where failure files are named on the command line, collect the tests that made them."""
    config = session.config
    asked = {arg: list(_asked(config, arg)) for arg in config.args}
    tests = [known.test.partition("::")[0] for each in asked.values() for known in each]
    paths = {str(path) for test in tests if test and (path := config.rootpath / test).is_file()}
    session.stash[_ASKED] = [known for each in asked.values() for known in each]
    session.stash[_ONLY] = all(asked.values())
    config.args[:] = [*(arg for arg, each in asked.items() if not each), *sorted(paths)]


def _asked(config: pytest.Config, arg: str) -> Iterator[Known]:
    """Yield the failure files that an argument names."""
    path = config.invocation_params.dir.joinpath(arg.partition("::")[0]).resolve()
    for known in config.stash[_KNOWN]:
        file = Path(known.path).resolve()
        if path in (file, file.parent):
            yield known


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the failure files of the tests that were collected."""
    tests = {item.nodeid: item for item in items}
    modules = {nodeid.partition("::")[0] for nodeid in tests}
    everything = config.args_source is not pytest.Config.ArgsSource.ARGS
    asked = session.stash[_ASKED]

    def wanted(known: Known) -> bool:
        if session.stash[_ONLY] or known in asked:
            return known in asked
        if known.test in tests:
            return True
        module = known.test.partition("::")[0]
        gone = module in modules or not (config.rootpath / module).is_file()
        return everything and ("wfkit" in known.origin or (module != "" and gone))

    if session.stash[_ONLY] and items:
        config.hook.pytest_deselected(items=list(items))
        items.clear()
    for known in [known for known in config.stash[_KNOWN] if wanted(known)]:
        file = FailureFile.from_parent(session, path=Path(known.path), known=known, origin=tests.get(known.test))
        items += file.collect()
        report = pytest.CollectReport(file.nodeid, "passed", longrepr=None, result=[*file.collect()])
        config.hook.pytest_collectreport(report=report)


# -- running -------------------------------------------------------------------------------------------------------------


def pytest_itemcollected(item: pytest.Item) -> None:
    for mark in item.iter_markers("wfkit"):
        if mark.args or not mark.kwargs.keys() <= set(TERMS):
            told = ", ".join([*map(repr, mark.args), *mark.kwargs])
            raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.wfkit takes {', '.join(TERMS)} by name, not {told}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let calls of `verify` know for which test they are, and on what terms."""
    with calling(_caller(item)):
        return (yield)


def _caller(item: pytest.Item) -> Caller:
    config = item.config
    terms: dict[str, Any] = {}
    for mark in item.iter_markers("wfkit"):
        terms = {**mark.kwargs, **terms}
    terms |= {name: value for name in TERMS if (value := config.getoption(f"--wfkit-{name}")) is not None}
    folder = None if config.getoption("--wfkit-no-files") else config.rootpath / FOLDER
    return Caller({"pytest": item.nodeid}, folder, **terms)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that has had something verified, and passes whatever is found."""
    result = yield
    sim = item.stash.get(_SIM, None)
    for report in sim.reports if sim is not None else ():
        report.assert_asked()
    return result


@pytest.hookimpl(specname="pytest_runtest_protocol", tryfirst=True)
def pytest_runtest_protocol_of_failure(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Replay a failure file: run the test that made it, and report what it comes to under the name of the file."""
    if not isinstance(item, Failure) or item.origin is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    item.origin._report_sections.clear()  # what it printed when it ran before
    with calling(Caller({"pytest": item.known.test}, replay=item.path)):
        reports = runtestprotocol(item.origin, log=False, nextitem=nextitem)
    for report in reports:
        if report.when == "call" and report.passed and _verdict(report) is None:
            report.outcome, report.longrepr = "failed", "diverges: the test does not verify this any more"
            report.user_properties.append((_VERDICT, "diverges"))
        if report.when == "teardown":  # whose properties are those that --junitxml writes
            report.user_properties += [(_VERDICT, verdict) for each in reports if (verdict := _verdict(each))]
        report.nodeid, report.location = item.nodeid, item.location
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a finding as its story, and what came of a replay as its verdict."""
    report = yield
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, Replayed):
        report.user_properties.append((_VERDICT, error.verdict))
        if error.verdict == "fixed":
            report.outcome, report.longrepr = "passed", None
        else:
            title = error.text.partition("\n")[0]
            told = item.stash.get(_TOLD, "").startswith(title)
            report.longrepr = f"{error.verdict}: {title if told else error.text}"
    elif report.failed and isinstance(error, (FailureFileError, VerificationFailed)):
        assert call.excinfo is not None
        item.stash[_TOLD] = str(error)
        shown = call.excinfo.getrepr(style="value")
        if shown.reprcrash is not None:
            shown.reprcrash.message = str(error).partition("\n")[0]  # for the short summary
        report.longrepr = shown
    elif report.failed and isinstance(error, WfkitError) and error.help:
        report.sections.append((f"Help for {error.code}", error.help))
    return report


def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
    verdict = _verdict(report) if isinstance(report, pytest.TestReport) else None
    if verdict is None or report.when != "call":
        return None
    return ("passed", ".", verdict.upper()) if report.passed else ("failed", "F", verdict.upper())


def _verdict(report: pytest.TestReport) -> str | None:
    """Return what a replay came to; None if there was none."""
    return next((str(value) for name, value in report.user_properties if name == _VERDICT), None)
