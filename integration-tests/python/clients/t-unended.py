"""A run that has not ended when the process does."""

import retrace
from retrace import SpanType

run = retrace.TraceRecorder(name="never-ended")
run.start_trace()
run.end_span(run.start_span("closed", SpanType.ACTION), output=1)
run.start_span("open", SpanType.ACTION)
