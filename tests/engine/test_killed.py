"""Real processes on a journal file, killed from outside and from inside."""

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("killed_app.py")
ROOT = Path(__file__).parents[2]
DEATHS_MAX = 20


class Lives:
    """The processes that a journal has seen."""

    def __init__(self, folder: Path, what: str) -> None:
        self.journal, self.effects, self.what = folder / "journal.duckdb", folder / "effects", what
        self.effects.touch()
        self.told: list[str] = []

    def start(self) -> "subprocess.Popen[str]":
        command: list[str | Path] = [sys.executable, CHILD, self.journal, self.effects, self.what]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)})

    def end(self, process: "subprocess.Popen[str]") -> int:
        output, _ = process.communicate(timeout=60)
        self.told += output.splitlines()
        return process.returncode

    def live_until_it_survives(self) -> int:
        """Return how many processes died."""
        for deaths in range(DEATHS_MAX):
            if self.end(self.start()) == 0:
                return deaths
        raise AssertionError(f"it died {DEATHS_MAX} times")

    def happened(self) -> list[list[str]]:
        """Return name, run, attempt and key of all that steps did."""
        return [line.split() for line in self.effects.read_text().splitlines()]


def test_a_step_that_kills_the_process_fails_at_the_fifth_death(tmp_path: Path) -> None:
    """One key, five attempts; a step of another run that was in flight with it completes."""
    lives = Lives(tmp_path, "step")
    assert lives.live_until_it_survives() == 5
    deadly = [(attempt, key) for name, _, attempt, key in lives.happened() if name == "deadly"]
    assert [attempt for attempt, _ in deadly] == ["1", "2", "3", "4", "5"]
    assert len({key for _, key in deadly}) == 1
    assert any("the process died 5 times while deadly() ran" in line for line in lives.told)
    assert lives.told[-2:] == ["innocent done", "closed"]


def test_an_activation_that_kills_the_process_is_blocked(tmp_path: Path) -> None:
    """Its run is parked, and those of others complete."""
    lives = Lives(tmp_path, "activation")
    assert 5 <= lives.live_until_it_survives() <= 7
    assert lives.told[-3:] == ["innocent done", "guilty blocked", "closed"]


@pytest.mark.parametrize("seed", range(2))
def test_nothing_acknowledged_is_lost_by_kills_at_random_moments(tmp_path: Path, seed: int) -> None:
    """Starts, signals and results; and no step runs again once its outcome was followed by another step."""
    lives, moments = Lives(tmp_path, "work"), random.Random(seed)
    for _ in range(4):
        process = lives.start()
        assert process.stdout is not None
        lives.told.append(process.stdout.readline().strip())
        time.sleep(moments.uniform(0, 0.15))
        process.kill()
        lives.end(process)
    assert lives.end(lives.start()) == 0
    assert sorted(line for line in lives.told[-11:-1]) == [f"result run-{i} 120" for i in range(10)]
    by_run: dict[str, list[str]] = {}
    for name, run, _, _ in lives.happened():
        by_run.setdefault(run, []).append(name)
    for run, names in by_run.items():
        first_seen = list(dict.fromkeys(names))
        assert len(first_seen) == 20, run
        # A step may run again until the next one has begun, never after.
        assert names == sorted(names, key=first_seen.index), run
        assert max(Counter(names).values()) <= 5
