"""A small agent on the OpenAI client: asks, runs the tool that is called for, and asks again."""

import json

from openai import OpenAI

QUESTION = "Weather in Oslo?"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def run(tracer):
    with tracer.start_as_current_span("weather-agent"):
        client, messages = OpenAI(), [{"role": "user", "content": QUESTION}]
        while True:
            answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=TOOLS)
            message = answer.choices[0].message
            if not message.tool_calls:
                return
            messages.append(message.model_dump(exclude_none=True))
            for call in message.tool_calls:
                weather = {"city": json.loads(call.function.arguments)["city"], "degrees": 4}
                messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(weather)})
