-- What lists, searches and figures read of a run: derived from its rows, and made anew whenever they change. Nothing here is
-- written when something is received; `key` is that of the trace.

CREATE TABLE run_index (
    key            INTEGER PRIMARY KEY,
    version        INTEGER NOT NULL, -- that of the rows it was made from
    started_micros INTEGER,
    status         TEXT,
    name           TEXT NOT NULL,
    micros         INTEGER,          -- how long it took
    tokens         INTEGER NOT NULL,
    cost           REAL NOT NULL,
    spans          INTEGER NOT NULL,
    failed_spans   INTEGER NOT NULL,
    has_error      INTEGER NOT NULL,
    session        TEXT,
    user           TEXT,
    environment    TEXT,
    bytes          INTEGER NOT NULL  -- of its rows, about
) STRICT;

CREATE INDEX run_index_by_start ON run_index (started_micros);
CREATE INDEX run_index_by_micros ON run_index (micros);
CREATE INDEX run_index_by_tokens ON run_index (tokens);
CREATE INDEX run_index_by_cost ON run_index (cost);
CREATE INDEX run_index_by_session ON run_index (session, started_micros) WHERE session IS NOT NULL;

-- Models, tools, agents and tags of a run, with what it used of each. `kind` is one of `model`, `tool`, `agent` and `tag`.
CREATE TABLE run_parts (
    kind          TEXT NOT NULL,
    value         TEXT NOT NULL,
    key           INTEGER NOT NULL,
    calls         INTEGER NOT NULL,
    errors        INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost          REAL NOT NULL,
    micros        INTEGER NOT NULL,
    PRIMARY KEY (kind, value, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX run_parts_by_run ON run_parts (key);

-- The words of a run: names, inputs, outputs and errors of it and of its spans. Only which words are where is kept.
CREATE VIRTUAL TABLE run_words USING fts5 (
    words, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
