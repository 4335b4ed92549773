"""A client that hands its trace on: what it calls joins its run."""

import os
import urllib.request

import retrace
from retrace import SpanType
from retrace.traceparent import inject_traceparent

with retrace.record(name="asks", input="When was the bridge built?") as run:
    span = run.start_span("call", SpanType.ACTION)
    headers = {}
    inject_traceparent(headers)
    assert headers["traceparent"].endswith("-01"), headers
    request = urllib.request.Request(f"{os.environ['PLANNER_URL']}/ask", b"When was the bridge built?", headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
        run.output = answer.read().decode()
    run.end_span(span, output=run.output)
