"""The determinism guard: what workflow code gets in place of the clock and of chance, and what raises.

`install` puts it in place, once per process; it acts only in workflow code, on the thread of the activation. Steps,
other threads and other event loops keep what they had. Importing this package changes nothing.

Workflow code gets, equal in every replay:

* `time.time`, `monotonic` and `perf_counter`, each also as `_ns`: the time of the last entry. `monotonic` and
  `perf_counter` count from the start of the run, as `loop.time()` does;
* `random.*`, `uuid.uuid4` and the seed of a `random.Random()`: values of the run's own generator, that of `wfkit.rng()`.

What touches the outside raises `DeterminismViolation`, which also voids the activation if the code swallows it: files,
folders, sockets, processes, `time.sleep`, threads, executors, environment variables, `secrets`, `os.urandom`,
`random.SystemRandom`, `random.seed`, `uuid.uuid1`. In code that is closed because its run leaves memory, these raise
`Evicted` instead: its `finally` blocks touch nothing.

It is lifted

* in `unsafe` blocks;
* in what an import runs, also the top level of a user's module that a workflow imports late. A module is loaded once in
  a process, at whatever moment, so it gets the real clock and real chance, and may open what it likes. What a workflow
  must not do, it must not do through names that such a module computed;
* in logging (handlers, formatters and filters included), reading of time zones, source lines for tracebacks and warnings,
  and the debugger. Records of the log carry the run's time, but a filter that draws lots does not disturb the run.

It stands in for functions and listens to audit events; it neither watches every call nor reads the source. So it does
not see:

* names bound before `install` by `from time import time`, `sleep` or their like, `from random import random`,
  `getrandbits`, `seed`, `getstate` or `setstate`, `from os import urandom`, and a `uuid1` bound so and called with
  arguments. Names of other functions of `random`, of `uuid4`, and of all that raises by an audit event (`open`, sockets,
  processes, from Python 3.13 on `sleep` as well) are seen;
* C extensions that do their own input and output: they raise no audit events;
* `datetime.now`, `utcnow` and `today`, and `date.today`;
* reading of a `.py` file, which Python itself does to show where an exception came from;
* other readers of the clock (`time.localtime`, `gmtime`, `ctime` and `strftime` without an argument, `process_time`,
  `thread_time`, `clock_gettime`), and what else differs between processes and raises no audit event: `os.stat` and
  `os.path.exists`, `os.getcwd`, `os.getpid`, reads and writes of files opened elsewhere, `id`, `hash` of text, the order
  of sets, the local time zone.
"""

from wfkit.guard import chance, clock, refused


def install() -> None:
    """Put the guard in place; what is there already stays.

    Outside of workflow code it costs 50 to 90 ns for a use of what is replaced, and 150 ns for an audit event.
    """
    clock.install()
    chance.install()
    refused.install()
