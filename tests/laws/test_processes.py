"""The corpus's histories are the same bytes in every process: whatever its hash seed, its heap, its Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.laws.interpreters import produce, pythons, ready

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    """The histories as a process of this Python makes them."""
    return produce(Path(sys.executable), hash_seed="0")


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Return the names of the histories that both have and that differ."""
    return sorted(name for name in one.keys() & other.keys() if one[name] != other[name])


@pytest.mark.parametrize("hash_seed", ["0", "1", "2", "random"])
def test_histories_do_not_depend_on_the_hash_seed(reference: dict[str, str], hash_seed: str) -> None:
    """Text hashes differently in each process, and no history shows it."""
    assert differing(reference, produce(Path(sys.executable), hash_seed=hash_seed)) == []


@pytest.mark.parametrize("junk", [1_000, 30_000])
def test_histories_do_not_depend_on_the_heap(reference: dict[str, str], junk: int) -> None:
    """Objects have other addresses among other objects, and no history shows it."""
    assert differing(reference, produce(Path(sys.executable), hash_seed="random", junk=junk)) == []


@pytest.mark.parametrize("minor", pythons())
def test_histories_do_not_depend_on_the_python(reference: dict[str, str], minor: str, pytestconfig: pytest.Config) -> None:
    """The corpus holds no construct of which two versions of Python make different histories."""
    folder = Path(pytestconfig.cache.mkdir("pythons"))
    python = ready(pythons()[minor], minor, folder)
    if python is None:
        pytest.skip(f"platform: Python {minor} has no msgspec, and none can be fetched")
    histories = produce(python, hash_seed="random", junk=1_000)
    assert differing(reference, histories) == []
    # A newer Python has constructs of its own (`async for` over `as_completed`, from 3.13).
    assert len(reference.keys() & histories.keys()) >= 60
