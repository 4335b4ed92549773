-- Runs that several processes tell: what the one that began them says of their totals is its own part.
CREATE TABLE joined (trace_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
