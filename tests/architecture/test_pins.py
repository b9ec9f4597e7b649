"""The pinned requirements: complete, by hash, from no particular index, and all at one version."""

import re
from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / ".ci"
FILES = ["requirements.txt", "requirements-demo.txt", "requirements-dev.txt"]


def pins(file: str) -> dict[str, str]:
    """Return the version of each package of a requirement file."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (CI / file).read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("file", FILES)
def test_every_package_is_pinned_by_hash(file: str) -> None:
    """Pip then refuses whatever is not byte for byte what was resolved."""
    text = re.sub(r"\\\n\s*", "", (CI / file).read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(pins(file)) > 0
    assert [
        line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[^ ]+( ; [^-]+?)? *(--hash=sha256:[0-9a-f]{64} *)+", line)
    ] == []


@pytest.mark.parametrize("file", FILES)
def test_no_index_is_named(file: str) -> None:
    """Where packages come from is the business of the machine."""
    assert re.findall(r"https?:|file:|--index|--find-links|--extra", (CI / file).read_text(encoding="utf-8")) == []


def test_one_environment_serves_all_three() -> None:
    """Tests run against the versions that users and the demo get."""
    development = pins("requirements-dev.txt")
    for file in FILES:
        assert pins(file).items() <= development.items()


def test_the_demo_installs_no_tool_for_development() -> None:
    """Whoever wants to see the shop run waits for that alone."""
    assert pins("requirements-demo.txt").keys().isdisjoint({"pytest", "mypy", "ruff", "hypothesis", "textual", "pyright", "uv"})
