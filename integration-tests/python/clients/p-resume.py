"""The server has a recorded function run again with another input."""

import os
import retrace
from retrace import Span, SpanType

import finish


def p_resume():
    @retrace.record(name="resumable-agent", resumable=True)
    def run(question):
        recorder = retrace.get_active_recorder()
        for k in range(3):
            span = Span(span_type=SpanType.TOOL_CALL, name=f"step-{k}", input={"q": question, "k": k}, output=k)
            span.ended_at = span.started_at
            recorder.add_span(span)
        return [question, 0.0]

    if "POSITIONAL" in os.environ:
        run("old?")
    else:
        run(question="old?")


p_resume()
finish.replay()
