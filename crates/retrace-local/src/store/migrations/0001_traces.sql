-- Traces and their spans, as sent.
--
-- `head` is the record as a JSON object without its content; `input`, `output` and `metadata` are JSON texts, NULL when
-- absent. `key` grows with every row, so it tells the order of arrival. Spans name their trace by id and not by key, so
-- that one may be stored before its trace is known.

CREATE TABLE traces (
    key            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    started_micros INTEGER, -- since 1970 UTC
    status         TEXT,
    head           TEXT NOT NULL,
    input          TEXT,
    output         TEXT,
    metadata       TEXT
) STRICT;

CREATE INDEX traces_by_start ON traces (started_micros);
CREATE INDEX traces_by_status ON traces (status, started_micros);

CREATE TABLE spans (
    key      INTEGER PRIMARY KEY,
    trace_id TEXT NOT NULL,
    id       TEXT NOT NULL,
    head     TEXT NOT NULL,
    input    TEXT,
    output   TEXT,
    metadata TEXT,
    UNIQUE (trace_id, id)
) STRICT;

-- Every index ends in the row's key: this one yields the spans of a trace in order of arrival.
CREATE INDEX spans_by_trace ON spans (trace_id);

-- Marks outlive and precede the traces they are about: the official client marks a run before it uploads it.
CREATE TABLE golden (
    trace_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
