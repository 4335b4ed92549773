"""The WebSocket is lost after the run's start was acknowledged: its end goes over HTTP."""

import time

import retrace
from retrace import SpanType

with retrace.record(name="death-flush-partial") as run:
    run.start_span("acked-open", SpanType.TOOL_CALL, input={"k": 0})
    time.sleep(0.6)
    run.end_span(run.start_span("lost", SpanType.TOOL_CALL, input={"k": 1}), output=1)
    run.output = "done"
