"""The end-to-end kill test: the shop's front dies by SIGKILL at random moments, and at each fsync that it makes.

Customers, payment provider, stock and mailbox are other processes and live on. Afterwards all books are compared: no
acknowledged start, signal or result is lost, no completed step runs again, every order is paid once or undone.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from fixtures.shop.audit import Books, audit, collect
from fixtures.shop.notebook import OrderEnded
from fixtures.shop.premises import Premises
from fixtures.shop.services.process import Program
from wfkit.core.entries import AttemptFailed

SETTLE_S = 120.0
"""How long all that is under way may take at the end: far more than it does, so that a slow machine fails no test."""

STRACE = ["strace", "--follow-forks", "--quiet=all", "--trace=fsync,fdatasync"]

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.mark.parametrize("kills", [20, pytest.param(300, marks=pytest.mark.torture)])
def test_fifty_concurrent_orders_survive_kills_at_random_moments(tmp_path: Path, kills: int) -> None:
    """Every other kill comes while the front starts and recovers, the rest while it works."""
    rng = Random(20)
    startup_s = 0.0
    with Premises(tmp_path) as shop:
        customers = shop.customers(orders=None, at_once=50, seed=20)
        customers.start()
        for kill in range(kills):
            started = time.monotonic()
            if kill % 2 == 0:
                shop.unfinished()
                startup_s = time.monotonic() - started
                time.sleep(rng.uniform(0.0, 0.8))
            else:
                time.sleep(rng.uniform(0.0, startup_s))
            shop.front.kill()
            shop.front.start()
        books = closed(shop, customers)

    assert audit(books) == []
    assert ended(books) > 50
    assert interrupted(books) > 0


@needs_strace
def test_what_is_acknowledged_is_written_however_slow_the_disk(tmp_path: Path) -> None:
    """Each write to the journal takes 20 ms longer: an answer that does not wait for it is lost in a kill."""
    rng = Random(5)
    with writing_slowly(Premises(tmp_path)) as shop:
        customers = shop.customers(orders=None, at_once=20, seed=5)
        customers.start()
        for life in range(5):
            shop.unfinished()
            time.sleep(rng.uniform(0.0, 0.8))
            shop.front.kill()
            (shop if life < 4 else surviving(shop)).front.start()
        books = closed(shop, customers)

    assert audit(books) == []
    assert interrupted(books) > 0


@needs_strace
def test_orders_survive_a_kill_at_each_fsync_of_creation_recovery_and_work(tmp_path: Path) -> None:
    """One shop, many lives of its front: it dies while it makes its journal, then while it recovers and works."""
    creation, work = (1, 5, 20, 22), (1, 8, 2, 16, 3, 6, 4, 24, 11)  # short lives among longer ones, in which steps complete
    with dying_at_fsync(Premises(tmp_path), creation[0]) as shop:
        customers = shop.customers(orders=None, at_once=8, seed=7)
        customers.start()
        for when in (*creation[1:], *work):
            assert death(shop, customers) == -signal.SIGKILL
            dying_at_fsync(shop, when).front.start()
        assert death(shop, customers) == -signal.SIGKILL
        surviving(shop).front.start()
        books = closed(shop, customers)

    assert audit(books) == []
    assert ended(books) >= 8


@needs_strace
@pytest.mark.torture
def test_a_new_shop_survives_a_kill_at_each_fsync_of_its_first_orders(tmp_path: Path) -> None:
    """Three orders in a new shop, killed at its first fsync; in another one, killed at its second; and so on to the last."""
    count = fsyncs_of_three_orders(tmp_path)
    for when in range(1, count + 1):
        folder = tmp_path / f"killed-at-{when}"
        folder.mkdir()
        with dying_at_fsync(Premises(folder), when) as shop:
            customers = shop.customers(orders=3, at_once=3, seed=when)
            customers.start()
            death(shop, customers)
            surviving(shop).front.start()
            books = closed(shop, customers)

        assert audit(books) == [], f"killed at fsync {when} of {count}"


def dying_at_fsync(shop: Premises, when: int) -> Premises:
    """Let the next life of the front end by SIGKILL at this fsync, counted in the thread that makes it."""
    shop.front.under = [*STRACE, "--output=/dev/null", f"--inject=fsync,fdatasync:signal=KILL:when={when}"]
    return shop


def writing_slowly(shop: Premises) -> Premises:
    """Let all lives of the front wait 20 ms before each write to the journal's log."""
    slow = ["--trace=write,pwrite64", "--inject=write,pwrite64:delay_enter=20ms", f"--trace-path={shop.journal}.wal"]
    shop.front.under = ["strace", "--follow-forks", "--quiet=all", "--output=/dev/null", *slow]
    return shop


def surviving(shop: Premises) -> Premises:
    """Let the next life of the front be undisturbed."""
    shop.front.under = ()
    return shop


def death(shop: Premises, customers: Program) -> int:
    """Wait until the front is killed, or the customers need it no more, and return its exit status."""
    while shop.front.alive and customers.alive:
        time.sleep(0.02)
    shop.front.tell_to_stop()
    return shop.front.wait(SETTLE_S)


def fsyncs_of_three_orders(folder: Path) -> int:
    """Return how many fsyncs the busiest thread of the front makes for three orders in a new shop, when nobody kills it."""
    (folder / "counted").mkdir()
    shop = Premises(folder / "counted")
    trace = folder / "trace"
    shop.front.under = [*STRACE, f"--output={trace}"]
    with shop:
        customers = shop.customers(orders=3, at_once=3, seed=1)
        customers.start()
        assert audit(closed(shop, customers)) == []
    threads = Counter(line.split()[0] for line in trace.read_text().splitlines() if "sync(" in line)
    return max(threads.values())


def closed(shop: Premises, customers: Program) -> Books:
    """Let the customers finish what they began, and return the books."""
    customers.tell_to_stop()
    assert customers.wait(SETTLE_S) == 0, customers.last_words()
    shop.settle(SETTLE_S)
    shop.front.stop()
    return asyncio.run(collect(shop))


def ended(books: Books) -> int:
    """Return how many orders came to an end that their customer was told of."""
    return sum(isinstance(line, OrderEnded) for line in books.promised)


def interrupted(books: Books) -> int:
    """Return how many attempts of steps were cut off by a kill."""
    return sum(isinstance(record.entry, AttemptFailed) and record.entry.died for run in books.runs for record in run.history)
