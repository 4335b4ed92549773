"""A small agent: it asks a model, runs the tool that the model asks for, and asks again."""

import json

import openai
import retrace
from retrace import SpanType

QUESTION = "Weather in Oslo?"
GET_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

client = openai.OpenAI()


def ask(messages):
    answer = client.chat.completions.create(
        model="gpt-4o-mini", messages=messages, tools=[GET_WEATHER], temperature=0.2
    )
    return answer.choices[0].message


with retrace.agent("weather", role="weather"):
    with retrace.record(name="weather", input=QUESTION, session_id="session-1") as run:
        messages = [{"role": "user", "content": QUESTION}]
        asks = ask(messages)
        call = asks.tool_calls[0]
        span = run.start_span(call.function.name, SpanType.TOOL_CALL, input=json.loads(call.function.arguments))
        weather = {"temp_c": 4}
        run.end_span(span, output=weather)
        messages.append(asks.model_dump(exclude_none=True))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(weather)})
        run.output = ask(messages).content
