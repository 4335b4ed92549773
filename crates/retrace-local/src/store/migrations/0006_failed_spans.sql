-- The runs in which something failed, whether the run itself failed or not. In a text of JSON the quotes are escaped, so that
-- these characters are the field's name wherever they stand.
CREATE INDEX spans_failed ON spans (trace_id) WHERE instr(head, '"error":') > 0;
