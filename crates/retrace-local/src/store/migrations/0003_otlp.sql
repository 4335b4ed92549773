-- Runs whose spans came over OTLP, as soon as they ended and in any order.
--
-- `otlp` marks a trace that nothing but OTLP has told, and a span likewise: OTLP may tell them anew, and whatever else tells
-- them takes them over. Such a trace is `streamed`. The `seq` of such a span is when it began, in microseconds: it finds its
-- place although it came late.

ALTER TABLE traces ADD COLUMN otlp INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spans ADD COLUMN otlp INTEGER NOT NULL DEFAULT 0;
