"""Writes the histories of the corpus to stdout, as JSON: `python -m tests.laws.produce [JUNK]`.

JUNK is how many objects of random sizes are allocated beforehand, and now and then between: another heap in each process.
"""

from __future__ import annotations

import json
import os
import sys

from tests.laws.corpus import SCENARIOS, SEEDS
from tests.laws.driver import Driver, history_bytes

_junk: list[object] = []


class _Thing:
    """An instance of the size that futures and tasks have, about."""


def _litter(count: int) -> None:
    sizes = os.urandom(count)
    _junk.extend(bytearray(size) if size % 2 else [_Thing() for _ in range(size % 7)] for size in sizes)
    del _junk[:: 2 + len(_junk) % 5]


def main(junk: int = 0) -> None:
    _litter(junk)
    disturb = (lambda: _litter(os.urandom(1)[0] % 8)) if junk else (lambda: None)
    json.dump(
        {
            f"{scenario.name}/{seed}": history_bytes(Driver(scenario, seed, disturb=disturb).run().history).decode()
            for scenario in SCENARIOS
            for seed in SEEDS
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
