"""A question to the enforcement of the receiver, a golden mark before the run is uploaded, and its removal."""

import json
import os
import urllib.request
from datetime import timedelta

import retrace
from retrace import Span, SpanType

retrace.configure(server_enforcement=True)
with retrace.record(name="enforced") as run:
    span = Span(
        span_type=SpanType.TOOL_CALL,
        name="lookup",
        input={"b": 1, "a": "x"},
        output=1,
        input_tokens=3,
        output_tokens=2,
        cost=0.01,
    )
    span.ended_at = span.started_at + timedelta(microseconds=6)
    run.add_span(span)
    retrace.mark_golden(run.trace.id)
run._transport.flush()


def is_golden():
    with urllib.request.urlopen(f"{os.environ['RECEIVER']}/api/v1/traces/{run.trace.id}") as answer:
        return json.load(answer).get("golden", False)


assert is_golden()
retrace.mark_golden(run.trace.id, golden=False)
assert not is_golden()
