"""The server stops the recording in the middle of a run; what the program does then is not recorded."""

import threading

import retrace
from retrace import SpanType

halted = threading.Event()
retrace.configure(on_error=lambda signal: halted.set() if signal.fatal else None)

with retrace.record(name="halted") as run:
    run.end_span(run.start_span("first", SpanType.TOOL_CALL, input={"k": 0}), output=0)
    assert halted.wait(10)
    run.end_span(run.start_span("second", SpanType.TOOL_CALL, input={"k": 1}), output=1)
with retrace.record(name="after-halt"):
    pass
