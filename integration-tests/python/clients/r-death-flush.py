"""No WebSocket can be had: at its end the program sends two runs over HTTP, one of them not ended."""

import retrace
from retrace import SpanType

with retrace.record(name="death-flush") as run:
    run.end_span(run.start_span("only", SpanType.TOOL_CALL, input={"k": 0}), output=0)
    run.start_span("left-open", SpanType.TOOL_CALL, input={"k": 1})
    run.output = "done"
other = retrace.TraceRecorder(name="never-ended")
other.start_trace()
other.end_span(other.start_span("s", SpanType.ACTION), output=1)
