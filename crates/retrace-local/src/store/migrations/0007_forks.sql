-- Forks of runs, and the executions of each (PROTOCOL.md section 19).
--
-- `mode` is `strict`, `lenient` or `live`; `modified_input` and `substitutions` are JSON texts, NULL when absent. `version` is that of
-- the latest commit that touched the fork or one of its executions. A fork has the status of its newest execution, and is `created`
-- without one.
CREATE TABLE forks (
    key            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    trace_id       TEXT NOT NULL,
    span_id        TEXT NOT NULL,
    modified_input TEXT,
    substitutions  TEXT,
    mode           TEXT NOT NULL,
    created_micros INTEGER NOT NULL, -- since 1970 UTC, as all times here
    version        INTEGER NOT NULL
) STRICT;

CREATE INDEX forks_by_trace ON forks (trace_id);

-- `status` is `running`, `completed`, `failed`, `superseded` or `expired`. An execution that runs beyond `lease_micros` counts as
-- expired, whether its row states so yet or not. `trace_id` is the run that it recorded.
CREATE TABLE fork_executions (
    key            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    fork_id        TEXT NOT NULL,
    status         TEXT NOT NULL,
    started_micros INTEGER NOT NULL,
    claimed_micros INTEGER,
    lease_micros   INTEGER NOT NULL,
    trace_id       TEXT,
    error          TEXT
) STRICT;

CREATE INDEX fork_executions_by_fork ON fork_executions (fork_id);
CREATE INDEX fork_executions_by_run ON fork_executions (trace_id) WHERE trace_id IS NOT NULL;
