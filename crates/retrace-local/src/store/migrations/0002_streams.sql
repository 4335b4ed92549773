-- Runs that are told event by event (PROTOCOL.md sections 5 and 6).
--
-- `streamed` marks a trace that began over a WebSocket. `clocks` says which number each field was said with, so that an
-- event that comes again after later ones undoes nothing; NULL where nothing came with a number. `version` grows with
-- every commit that touches the row: a reader asks for what is newer than what it has.

ALTER TABLE traces ADD COLUMN streamed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE traces ADD COLUMN clocks TEXT;
ALTER TABLE traces ADD COLUMN version INTEGER NOT NULL DEFAULT 0;

-- `seq` is the number of a span's start: spans are in this order however they arrive. 0 for those of an upload.
ALTER TABLE spans ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spans ADD COLUMN clocks TEXT;
ALTER TABLE spans ADD COLUMN version INTEGER NOT NULL DEFAULT 0;

DROP INDEX spans_by_trace;
CREATE INDEX spans_by_trace ON spans (trace_id, seq);
CREATE INDEX spans_by_version ON spans (trace_id, version);
-- Older clients end a span without saying of which trace.
CREATE INDEX spans_by_id ON spans (id) WHERE clocks IS NOT NULL;

-- Ends whose span has not started yet, merged like spans; an empty `trace_id` where the end does not say it.
CREATE TABLE early_ends (
    trace_id TEXT NOT NULL,
    id       TEXT NOT NULL,
    fields   TEXT NOT NULL,
    clocks   TEXT NOT NULL,
    PRIMARY KEY (trace_id, id)
) STRICT, WITHOUT ROWID;
