-- The index by values with numbers: filters, sessions and figures read integers, and sizes that do not depend on the length of names.
-- The tables are derived from the runs, which the receiver indexes again in the background.
DROP TABLE run_index;
DROP TABLE run_parts;
DROP TABLE run_words;

-- Each model, tool, agent, tag, environment, user and session, with the number of runs that have it. A value without runs is removed.
CREATE TABLE run_values (
    id    INTEGER PRIMARY KEY,
    kind  TEXT NOT NULL,
    value TEXT NOT NULL,
    runs  INTEGER NOT NULL,
    UNIQUE (kind, value)
) STRICT;

-- The runs of a value.
CREATE TABLE run_parts (
    value INTEGER NOT NULL, -- `id` of run_values
    key   INTEGER NOT NULL, -- of the trace
    PRIMARY KEY (value, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE run_index (
    key            INTEGER PRIMARY KEY, -- of the trace
    version        INTEGER NOT NULL,    -- that of the rows from which the entry is derived
    started_micros INTEGER,
    status         TEXT,
    name           TEXT NOT NULL,
    micros         INTEGER,             -- duration
    tokens         INTEGER NOT NULL,
    cost           REAL NOT NULL,
    spans          INTEGER NOT NULL,
    failed_spans   INTEGER NOT NULL,
    has_error      INTEGER NOT NULL,
    session        INTEGER,             -- `id` of run_values
    user           INTEGER,             -- likewise
    bytes          INTEGER NOT NULL     -- approximate size of the run's rows
) STRICT;

CREATE INDEX run_index_by_start ON run_index (started_micros);
CREATE INDEX run_index_by_micros ON run_index (micros);
CREATE INDEX run_index_by_tokens ON run_index (tokens);
CREATE INDEX run_index_by_cost ON run_index (cost);
CREATE INDEX run_index_by_spans ON run_index (spans);
CREATE INDEX run_index_by_name ON run_index (name);
CREATE INDEX run_index_by_status ON run_index (status);
CREATE INDEX run_index_by_session ON run_index (session, started_micros) WHERE session IS NOT NULL;
CREATE INDEX run_index_with_error ON run_index (has_error) WHERE has_error = 1;
CREATE INDEX run_index_with_failed_spans ON run_index (failed_spans) WHERE failed_spans > 0;

-- What a run used of each value, packed: figures over many runs read this table alone.
CREATE TABLE run_usage (
    key   INTEGER PRIMARY KEY, -- of the trace
    usage BLOB NOT NULL
) STRICT;

-- The words of a run: names, inputs, outputs and errors of the run and of its spans. The index keeps positions, and no text.
CREATE VIRTUAL TABLE run_words USING fts5 (
    words, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
