"""More events than the SDK keeps, of which it is told how many: some are lost, or lost sight of."""

import os
import queue
import time

import retrace
from retrace import SpanType
from retrace.recorder import _get_shared_transport

transport = _get_shared_transport()
if "QUEUE" in os.environ:
    transport._send_queue = queue.Queue(maxsize=int(os.environ["QUEUE"]))
transport._unacked_cap = int(os.environ.get("UNCONFIRMED", transport._unacked_cap))

with retrace.record(name="lossy") as run:
    # The first event is on its way before the others come.
    time.sleep(0.4)
    spans = []
    for k in range(5):
        spans.append(run.start_span(f"s{k}", SpanType.ACTION, input=k))
        if k != 1:
            run.end_span(spans[k], output=k)
    run.end_span(spans[1], output="late end")
    time.sleep(1.6)
    run.output = "done"
with retrace.record(name="next-run-is-clean"):
    pass
