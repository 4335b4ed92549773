"""The other provider: a tool that fails and is fed back, and streams: of text, of a call, and one left early."""

import anthropic
import retrace
from retrace import SpanType

from tools import LOOKUP_ORDER

client = anthropic.Anthropic()
TOOL = {
    "name": LOOKUP_ORDER["function"]["name"],
    "description": LOOKUP_ORDER["function"]["description"],
    "input_schema": LOOKUP_ORDER["function"]["parameters"],
}
QUESTION = {"role": "user", "content": "where is my order A-1?"}


def ask(messages, **more):
    return client.messages.create(model="claude-sonnet-4", max_tokens=64, messages=messages, **more)


with retrace.record(name="ant-tools") as run:
    call = ask([QUESTION], tools=[TOOL], extra_body={"temperature": 0.2}).content[0]
    span = run.start_span(call.name, SpanType.TOOL_CALL, input=call.input)
    run.end_span(span, error="TimeoutError: carrier")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "the carrier is silent", "is_error": True}
    asked = {"role": "assistant", "content": [call.model_dump(exclude_none=True)]}
    run.output = ask([QUESTION, asked, {"role": "user", "content": [result]}], tools=[TOOL]).content[0].text
with retrace.record(name="ant-stream"):
    for _ in ask([{"role": "user", "content": "hello"}], stream=True):
        pass
with retrace.record(name="ant-stream-tool"):
    for _ in ask([QUESTION], tools=[TOOL], stream=True):
        pass
with retrace.record(name="ant-stream-abandoned") as run:
    next(iter(ask([{"role": "user", "content": "hello"}], stream=True)))
    run.output = "left early"
