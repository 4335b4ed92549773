"""A tool that a model asks for, run by the application and fed back; and a result that only looks like an error."""

import json

import openai
import retrace
from retrace import SpanType

from tools import LOOKUP_ORDER

client = openai.OpenAI()


def ask(messages, **more):
    return client.chat.completions.create(model="gpt-4o", messages=messages, **more).choices[0].message


def asked_for(call_id, name, arguments):
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


with retrace.record(name="oai-tools") as run:
    messages = [{"role": "user", "content": "where is my order A-1?"}]
    call = ask(messages, tools=[LOOKUP_ORDER]).tool_calls[0]
    arguments = json.loads(call.function.arguments)
    span = run.start_span(call.function.name, SpanType.TOOL_CALL, input=arguments)
    found = {"carrier": "DHL"}
    run.end_span(span, output=found)
    messages.append(asked_for(call.id, call.function.name, arguments))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(found)})
    answer = ask(messages, tools=[LOOKUP_ORDER])
    messages.append({"role": "assistant", "content": answer.content})
    messages.append({"role": "user", "content": "thanks"})
    run.output = ask(messages).content
with retrace.record(name="oai-tool-error"):
    ask(
        [
            {"role": "user", "content": "check"},
            asked_for("call_9", "check_db", {}),
            {"role": "tool", "tool_call_id": "call_9", "content": "0 errors found"},
        ]
    )
