"""No run at all is sampled, and yet a span made by hand is sent, for a run that nobody started."""

import retrace
from retrace import SpanType

with retrace.record(name="unsampled") as run:
    run.end_span(run.start_span("manual", SpanType.ACTION, input=1), output=2)


@retrace.record(name="unsampled-fails")
def fails():
    raise ValueError("unseen")


try:
    fails()
except ValueError:
    pass
