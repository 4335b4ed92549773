"""Spans made by hand: all seven types, nested, one failed, one never closed, one added whole with token ids."""

from datetime import timedelta

import retrace
from retrace import Span, SpanType

with retrace.record(name="nested", input={"goal": "weather"}) as run:
    plan = run.start_span("plan", SpanType.REASONING, input="think")
    call = run.start_span("get_weather", SpanType.TOOL_CALL, input={"city": "Oslo"}, parent_id=plan.id)
    run.end_span(call, output={"temp_c": 4})
    result = run.start_span("get_weather", SpanType.TOOL_RESULT, parent_id=call.id)
    run.end_span(result, output={"temp_c": 4})
    tides = run.start_span("get_tides", SpanType.TOOL_CALL, input={"city": "Oslo"}, parent_id=plan.id)
    run.end_span(tides, error="TimeoutError: upstream")
    run.end_span(plan, output="answer with weather only")
    run.end_span(run.start_span("send_reply", SpanType.ACTION, input={"to": "user"}))
    run.end_span(run.start_span("note", SpanType.ERROR, input="soft failure"))
    run.end_span(run.start_span("fork here", SpanType.FORK_POINT))
    run.end_span(run.start_span("manual-llm", SpanType.LLM_CALL, input="p", model="gpt-4o"), output="done")
    run.start_span("never closed", SpanType.TOOL_CALL, input={"n": 1})
    added = Span(
        span_type=SpanType.LLM_CALL,
        name="added",
        parent_id=plan.id,
        model="gpt-4o",
        input="p",
        output="o",
        input_tokens=11,
        output_tokens=7,
        cost=0.00125,
        metadata={"note": "added via add_span"},
        token_ids=[1, 2, 3],
        logprobs=[-0.1, -0.2, -0.3],
    )
    added.ended_at = added.started_at + timedelta(milliseconds=10)
    run.add_span(added)
    run.output = "ok"
