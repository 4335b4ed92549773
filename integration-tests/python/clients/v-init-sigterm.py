"""A process that is told to end."""

import signal

import retrace
from retrace import SpanType

run = retrace.init(name="ambient")
run.end_span(run.start_span("step", SpanType.ACTION), output=1)
print("ready", flush=True)
signal.pause()
