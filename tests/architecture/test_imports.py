"""Who may import what, also inside functions and by name, where the layers of import-linter do not look."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {
    ".".join(path.relative_to(top).with_suffix("").parts).removesuffix(".__init__"): path
    for top in (ROOT, ROOT / "tui")
    for package in ("wfkit", "wfkit_tui")
    for path in sorted((top / package).rglob("*.py"))
}
INSIDE = [module for module in MODULES if module != "wfkit"]
CORE = [module for module in MODULES if module.startswith("wfkit.core")]
ENGINE = [module for module in MODULES if module.startswith("wfkit.engine")]

ACTS = {
    *("_thread", "concurrent", "multiprocessing", "signal", "subprocess", "threading"),
    *("asyncio.subprocess", "select", "selectors", "socket", "ssl"),
    *("io", "os", "shutil", "sqlite3", "duckdb", "tempfile"),
    *("secrets", "time"),
}
"""Modules whose use is a clock, a thread, a file, a socket or entropy."""

CALLS_THAT_ACT = re.compile(
    r"open|input|print|random\.(?!Random$)\w+|(.*\.)?(SystemRandom|uuid1|uuid4|utcnow|today|read_text|write_text|read_bytes)"
    r"|(datetime\.)?datetime\.now"
)
"""Calls that act although their modules are harmless."""

READS_THE_WORLD = re.compile(r"(time\.)?(time|time_ns)|(datetime\.)?datetime\.(now|utcnow|today)|os\.urandom")
"""Calls that read the wall clock or entropy. A monotonic clock may measure; what it measures decides nothing durable."""

ASYNCIO_INTERNALS = re.compile(
    r"_asyncio(\..*)?|asyncio\.(.*\.)?_.*"
    r"|asyncio\.(\w+_events|coroutines|events|futures|locks|queues|runners|taskgroups|tasks|timeouts)(\..*)?"
)


def syntax(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted name of everything that is imported anywhere in `tree`, by statement or by a literal name."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom(level=level) if level:
                raise AssertionError(f"line {node.lineno}: a relative import hides what is imported")
            case ast.Call(func=ast.Name(id="import_module" | "__import__"), args=[ast.Constant(value=str(name)), *_]):
                yield name
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name
            case _:
                pass


def uses(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield every dotted name in `tree` that begins with `package`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name.startswith(f"{package}."):
                yield name


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("module", INSIDE)
def test_nothing_inside_imports_the_front_door(module: str) -> None:
    """The public names of `wfkit` are for users: inside, each is imported from the module that defines it."""
    of_wfkit = [name for name in imports(syntax(module)) if within(name, "wfkit")]
    assert [name for name in of_wfkit if not any(within(name, known) for known in INSIDE)] == []


@pytest.mark.parametrize("module", [module for module in INSIDE if module != "wfkit.core.loop"])
def test_only_the_loop_imports_the_internals_of_asyncio(module: str) -> None:
    """A submodule or a private name of asyncio may change with any Python: one file is to be looked at then."""
    tree = syntax(module)
    names = [*imports(tree), *uses(tree, "asyncio")]
    assert [name for name in names if ASYNCIO_INTERNALS.fullmatch(name)] == []


@pytest.mark.parametrize("module", CORE)
def test_core_imports_no_clock_thread_file_socket_or_entropy(module: str) -> None:
    """The core is a function of the entries that it is fed."""
    assert [name for name in imports(syntax(module)) if any(within(name, acting) for acting in ACTS)] == []


@pytest.mark.parametrize("module", CORE)
def test_core_calls_nothing_that_acts(module: str) -> None:
    """A module may be imported for a type, such as `Path`, `UUID` or `datetime`, and still not be used to act."""
    calls = [ast.unparse(node.func) for node in ast.walk(syntax(module)) if isinstance(node, ast.Call)]
    assert [call for call in calls if CALLS_THAT_ACT.fullmatch(call)] == []


@pytest.mark.parametrize("module", [module for module in ENGINE if module != "wfkit.engine.ports"])
def test_the_engine_reads_its_world_through_its_ports_alone(module: str) -> None:
    """A simulation that supplies another clock and other entropy must not meet the real ones anywhere."""
    tree = syntax(module)
    entropy = [name for name in imports(tree) if any(within(name, source) for source in ("random", "secrets", "uuid"))]
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert entropy + [call for call in calls if READS_THE_WORLD.fullmatch(call)] == []
