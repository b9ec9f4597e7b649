"""Workflows that look at more than their history, each beside one that may."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import time
import uuid
from datetime import UTC, date, datetime
from os import urandom
from random import random as lot
from time import time as wall

from wfkit import now, rng, sleep, step, unsafe, uuid4, workflow

SEEN: set[str] = set()
COUNTS: dict[int, float] = {}
NUMBERS = itertools.count()
REGION = os.environ.get("REGION", "eu")


class Parcel:
    def __init__(self, name: str) -> None:
        self.name = name


@step
async def note(what: str) -> str:
    return what


@step
async def load(what: str) -> str:
    return what


@workflow
async def unsafe_clock(n: int) -> str:
    with unsafe("it is only a test"):
        began = time.time()
    await sleep("2h")
    with unsafe("it is only a test"):
        slow = time.time() - began > 3600
    return await (load if slow else note)("done")


@workflow
async def bound_clock(n: int) -> str:
    began = wall()
    await sleep("2h")
    return await (load if wall() - began > 3600 else note)("done")


@workflow
async def wall_date(n: int) -> str:
    began = datetime.now()  # noqa: DTZ005
    await sleep("2h")
    return await (load if (datetime.now() - began).total_seconds() > 3600 else note)("done")  # noqa: DTZ005


@workflow
async def rush_hour(n: int) -> str:
    return await (load if datetime.now().hour == 7 else note)("done")  # noqa: DTZ005


@workflow
async def christmas(n: int) -> str:
    return await (load if datetime.now(UTC).month == 12 else note)("done")


@workflow
async def kept_list(n: int) -> str:
    SEEN.add(str(len(SEEN)))
    return await note(", ".join(sorted(SEEN)))


@workflow
async def weekday(n: int) -> str:
    with unsafe("it is only a test"):
        today = time.localtime().tm_wday
    return await (load if today == 5 else note)("done")


@workflow
async def local_hour(n: int) -> str:
    hour = datetime.fromtimestamp(now().timestamp()).hour  # noqa: DTZ006
    return await (load if hour > 12 else note)("done")


@workflow
async def local_day(n: int) -> str:
    return await (load if date.today().day == 2 else note)("done")  # noqa: DTZ011


@workflow
async def local_day_as_argument(n: int) -> None:
    await note(f"it is {datetime.today().date()} here")  # noqa: DTZ002


@workflow
async def only_logged(n: int) -> str:
    with unsafe("for the log"):
        began = time.time()
    text = f"at {began}"
    await note("done")
    return "ok" if text else ""


@workflow
async def late_deadline(n: int) -> None:
    deadline = now().timestamp() + 86_400
    await note("a")
    await asyncio.sleep(deadline - wall())
    await note("b")


@workflow
async def bound_chance(n: int) -> None:
    await note(urandom(8).hex())


@workflow
async def bound_chance_in_long_text(n: int) -> None:
    await note(f"{'very ' * 30}long, and then {urandom(8).hex()} and {'very ' * 30}much more")


@workflow
async def rare_lot(n: int) -> str:
    return await (load if lot() < 1e-9 else note)("done")


@workflow
async def own_chance(n: int) -> str:
    await note(str(uuid4()))
    await note(str(random.randint(0, 1000)))
    return await (load if rng().random() < 0.5 else note)("done")


@workflow
async def seen_before(n: int) -> None:
    if "configuration" not in SEEN:
        await load("configuration")
        SEEN.add("configuration")
    await note("done")


@workflow
async def numbered(n: int) -> None:
    if next(NUMBERS) % 2 == 0:
        await load("even")
    await note("done")


@workflow
async def environment(n: int) -> str:
    with unsafe("it is only a test"):
        region = os.environ.get("WFKIT_TEST_REGION", "eu")
    return await (note if region == "eu" else load)(region)


@workflow
async def environment_at_import(n: int) -> str:
    return await (note if REGION == "eu" else load)("done")


@workflow
async def set_of_text(n: int) -> None:
    for region in {"eu", "us", "ap", "sa", "af"}:  # noqa: PLC0208
        await (load if region in ("eu", "us") else note)(region)


@workflow
async def sorted_set(n: int) -> None:
    for region in sorted({"eu", "us", "ap", "sa", "af"}):
        await (load if region in ("eu", "us") else note)(region)


@workflow
async def set_of_objects(n: int) -> None:
    for parcel in {Parcel("a"), Parcel("b"), Parcel("c"), Parcel("d")}:
        await (load if parcel.name in "ab" else note)(parcel.name)


@workflow
async def set_of_tasks(n: int) -> None:
    tasks = [asyncio.create_task(note(name)) for name in "abcd"]
    done, _ = await asyncio.wait(tasks)
    for task in done:
        await load(task.result())


@workflow
async def unsafe_uuid(n: int) -> str:
    with unsafe("it is only a test"):
        order = str(uuid.uuid4())
    await note(order)
    return order


@workflow
async def logged_and_seen(n: int) -> None:
    with unsafe("for the log"):
        began = time.time()
    if n not in COUNTS:
        COUNTS[n] = began
        await load("first")
    await note("done")


@workflow
async def logged_and_numbered(n: int) -> None:
    with unsafe("for the log"):
        time.time()
    if next(NUMBERS) % 2 == 0:
        await load("even")
    await note("done")


@workflow
async def parent(n: int) -> str:
    return await unsafe_clock(n)


@workflow
async def blocked_at_once(n: int) -> None:
    raise TypeError("a programming error")


MODE = "dry run"


class World:
    """The tests' settings take the place of the module's."""

    replaces = {f"{__name__}:MODE": lambda _world: "live"}  # noqa: RUF012  # nobody writes to it


@workflow
async def by_setting(n: int) -> str:
    return await (load if MODE == "live" else note)(MODE)


@workflow
async def unsafe_log(n: int) -> str:
    with unsafe("it is only a log"):
        logging.getLogger(__name__).error("at work")
    return await note("done")


@workflow
async def local_hour_as_argument(n: int) -> None:
    await note(f"it is {now().astimezone().hour} here")


@workflow
async def object_as_argument(n: int) -> None:
    await note(f"{Parcel('a')}")
