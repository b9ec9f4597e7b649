"""What schedules without faults do: what all others are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wfkit.sim.recording import Recording
from wfkit.sim.subject import Subject


class Reference:
    """The schedules of a subject without faults. Made by `Reference.of`."""

    def __init__(
        self, subject: Subject, base: Recording[Any], orders: Sequence[Recording[Any]], redrawn: Sequence[Recording[Any]]
    ) -> None:
        self.subject = subject
        self.base = base
        self.orders = orders
        self.redrawn = redrawn

    @classmethod
    def of(
        cls,
        subject: Subject,
        base: Recording[Any],
        orders: Sequence[Recording[Any]] = (),
        redrawn: Sequence[Recording[Any]] = (),
    ) -> Reference:
        """Make a reference.

        Args:
            subject: what is simulated.
            base: the schedule without faults.
            orders: the same under other orders of arrival.
            redrawn: the same with another seed and another start, to know which values are drawn anew each time.
        """
        return cls(subject, base, orders, redrawn)
