"""The tables of a journal file, and the views of schema `v` that people query.

`entries` has no key and no index: a history is found by DuckDB's zone maps, and a key would cost half of a large commit
and triple the replay of the log. `runs` is the projection; `meta` says how far it goes, and who wrote the file.
"""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

from wfkit.core.entries import FORMAT, KINDS

if TYPE_CHECKING:
    import duckdb

_TABLES = """
CREATE TABLE meta(key VARCHAR, value VARCHAR);
CREATE TABLE entries(pos BIGINT, run BIGINT, seq INTEGER, kind UTINYINT, t BIGINT, body BLOB);
CREATE TABLE runs(
    run BIGINT, id VARCHAR, generation INTEGER, workflow VARCHAR, status VARCHAR, started BIGINT, updated BIGINT,
    seq INTEGER, wake_at BIGINT, state BLOB
);
CREATE SCHEMA v;
"""

# A body is one record as JSON. Where it holds large values (`values.py`), the record is in its member `record`, and each
# large value is null in there.
_VIEWS = """
CREATE VIEW v.records AS
SELECT pos, run, seq, kind, t, coalesce(body -> '$.record', body) AS record
FROM (SELECT * REPLACE (decode(body)::JSON AS body) FROM main.entries);

CREATE VIEW v.ids AS
SELECT run, record ->> '$.entry.id' AS id, record ->> '$.entry.workflow' AS workflow FROM v.records WHERE kind = {started};

CREATE VIEW v.runs AS
SELECT run, id, generation, workflow, status, make_timestamp(started) AS started, make_timestamp(updated) AS updated,
    seq AS records, make_timestamp(wake_at) AS wake_at, decode(state)::JSON AS state
FROM main.runs WHERE run > 0;

CREATE VIEW v.history AS
SELECT r.pos, r.run, i.id, r.seq, make_timestamp(r.t) AS t, r.record ->> '$.entry.kind' AS kind,
    r.record -> '$.entry' AS entry, r.record -> '$.commands' AS commands
FROM v.records r LEFT JOIN v.ids i USING (run);

CREATE VIEW v.commands AS
SELECT run, seq, t, unnest(from_json(record -> '$.commands', '["JSON"]')) AS command
FROM v.records WHERE (record -> '$.commands') IS NOT NULL;

CREATE VIEW v.steps AS
SELECT c.run, i.id, (c.command ->> '$.n')::INTEGER AS n, c.command ->> '$.name' AS step, c.command -> '$.args' AS args,
    CASE o.kind WHEN {completed} THEN 'completed' WHEN {failed} THEN 'failed' ELSE 'pending' END AS status,
    make_timestamp(c.t) AS requested, make_timestamp(o.t) AS ended,
    coalesce((o.record ->> '$.entry.attempt')::INTEGER, CASE WHEN o.kind IS NOT NULL THEN 1 END) AS attempt,
    o.record -> '$.entry.value' AS value, o.record -> '$.entry.error' AS error
FROM v.commands c
LEFT JOIN (SELECT *, (record ->> '$.entry.n')::INTEGER AS n FROM v.records WHERE kind IN ({completed}, {failed})) o
    ON o.run = c.run AND o.n = (c.command ->> '$.n')::INTEGER
LEFT JOIN v.ids i ON i.run = c.run
WHERE (c.command ->> '$.do') = 'RunStep';

CREATE VIEW v.attempts AS
SELECT r.run, i.id, (r.record ->> '$.entry.n')::INTEGER AS n, coalesce((r.record ->> '$.entry.attempt')::INTEGER, 1) AS attempt,
    make_timestamp(r.t) AS t,
    CASE r.kind WHEN {attempt_started} THEN 'started' WHEN {completed} THEN 'completed' ELSE 'failed' END AS event,
    r.record -> '$.entry.error' AS error, make_timestamp((r.record ->> '$.entry.due')::BIGINT) AS next_due
FROM v.records r LEFT JOIN v.ids i USING (run)
WHERE r.kind IN ({attempt_started}, {attempt_failed}, {completed}, {failed});

CREATE VIEW v.signals AS
SELECT r.pos, r.run, i.id, make_timestamp(r.t) AS t, r.record ->> '$.entry.name' AS signal,
    r.record -> '$.entry.payload' AS payload,
    r.kind = {published} OR coalesce((r.record ->> '$.entry.published')::BOOLEAN, false) AS published,
    r.record ->> '$.entry.dedupe' AS dedupe,
    CASE r.kind WHEN {published} THEN coalesce((r.record ->> '$.entry.receivers')::INTEGER, 0) END AS receivers
FROM v.records r LEFT JOIN v.ids i USING (run)
WHERE r.kind IN ({received}, {published});
"""

_KIND_NUMBERS = {entry.__name__: number for entry, number in KINDS.items()}


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables and views of an empty journal."""
    connection.execute(_TABLES)
    connection.execute(
        _VIEWS.format(
            started=_KIND_NUMBERS["RunStarted"],
            completed=_KIND_NUMBERS["StepCompleted"],
            failed=_KIND_NUMBERS["StepFailed"],
            attempt_started=_KIND_NUMBERS["AttemptStarted"],
            attempt_failed=_KIND_NUMBERS["AttemptFailed"],
            received=_KIND_NUMBERS["SignalReceived"],
            published=_KIND_NUMBERS["SignalPublished"],
        )
    )
    meta = {"format": str(FORMAT), "wfkit": wfkit_version(), "epoch": "0", "projected": "0"}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))


def read_meta(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    return dict(connection.execute("SELECT key, value FROM meta").fetchall())


def wfkit_version() -> str:
    try:
        return importlib.metadata.version("wfkit")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
