"""The clock of workflow code: the run's own time."""

from __future__ import annotations

import time
from collections.abc import Callable

from wfkit.core.loop import RunLoop
from wfkit.guard.scope import IMPORTS, guarded
from wfkit.guard.stand_in import Make, shadow


def install() -> None:
    shadow(time, "time", _clock(lambda loop: loop.now / 1e6))
    shadow(time, "time_ns", _clock(lambda loop: loop.now * 1000))
    for name in ("monotonic", "perf_counter"):
        shadow(time, name, _clock(RunLoop.time))
        shadow(time, f"{name}_ns", _clock(lambda loop: (loop.now - loop.started) * 1000))


def _clock(of_run: Callable[[RunLoop], float]) -> Make:
    def make(real: Callable[[], float]) -> Callable[[], float]:
        def clock() -> float:
            loop = guarded(IMPORTS)
            return real() if loop is None else of_run(loop)

        return clock

    return make
