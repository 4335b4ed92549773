-- Only older clients end a span without saying of which trace, and this index costs every span a page of its own: it is made
-- when the first such end comes.
DROP INDEX spans_by_id;
