"""The server asks for signs of life, complains three times, and says things that nobody knows."""

import threading

import retrace
from retrace import SpanType

signals = []
all_said = threading.Event()


def note(signal):
    signals.append(signal.code)
    if len(signals) == 3:
        all_said.set()


retrace.configure(on_error=note)
with retrace.record(name="signals") as run:
    run.end_span(run.start_span("first", SpanType.TOOL_CALL, input={"k": 0}), output=0)
    assert all_said.wait(10)
    # What comes after the complaints is read in the same thread, one after the other.
    threading.Event().wait(0.5)
    run.end_span(run.start_span("second", SpanType.TOOL_CALL, input={"k": 1}), output=1)
assert signals == ["credits_exhausted", "rate_limited", "error"], signals
