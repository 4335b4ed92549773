"""The one step that several of these programs record."""

from retrace import SpanType


def only_step(run):
    run.end_span(run.start_span("only", SpanType.TOOL_CALL, input={"k": 0}), output=0)
