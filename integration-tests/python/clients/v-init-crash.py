"""A process that dies of an exception."""

import retrace
from retrace import SpanType

run = retrace.init(name="ambient-crash")
run.end_span(run.start_span("step", SpanType.ACTION), output=1)
raise RuntimeError("unhandled")
